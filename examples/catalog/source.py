"""Reads the hand-written part of the catalog, written/*.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

HERE = Path(__file__).parent
WRITTEN = HERE / "written"

ImagesForm = Literal["list", "columns", "video", "missing", "dead_url"]
Encoding = Literal[
    "jpeg",
    "truncated",
    "exif_rotated",
    "cmyk",
    "palette_alpha",
    "sixteen_bit",
    "animated_webp",
    "animated_gif",
]
SUFFIX: dict[Encoding, str] = {
    "palette_alpha": "png",
    "sixteen_bit": "png",
    "animated_webp": "webp",
    "animated_gif": "gif",
}


@dataclass(frozen=True)
class Product:
    """One `[[product]]`: its text as the record will carry it, and how its picture is made."""

    id: int
    title: str | None = None
    main_category: str | None = None
    category: str | None = None
    store: str | None = None
    price: float | str | None = None
    rating: tuple[float, int] | None = None
    features: list[str] = field(default_factory=list)
    description: list[str] = field(default_factory=list)
    categories: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    draw: dict[str, str] | None = None  # a shape of studio/ and its arguments
    photo: str | None = None  # or a cut-out photograph of photos.toml
    more: list[str] = field(default_factory=list)  # further photographs, PT01, PT02 …
    scene: dict[str, str] = field(default_factory=lambda: {"style": "plain"})
    size: tuple[int, int] = (500, 500)
    damage: str | None = None
    encoding: Encoding = "jpeg"
    images_form: ImagesForm = "list"
    details_form: Literal["mapping", "repr"] = "mapping"
    odd: str | None = None

    @property
    def asin(self) -> str:
        """The id as records carry it."""
        return f"AGB{self.id:07d}"

    @property
    def pictures(self) -> list[str]:
        """Paths of the pictures relative to the catalog, MAIN first; a missing one is named all the same."""
        suffix = SUFFIX.get(self.encoding, "jpg")
        names = [f"images/{self.asin.lower()}.{suffix}"] if self.draw or self.photo else []
        return names + [f"images/{self.asin.lower()}_{number + 1}.jpg" for number in range(len(self.more))]


def products() -> list[Product]:
    """Every product, in the order of their ids."""
    found = []
    for path in sorted(WRITTEN.glob("*.toml")):
        text = tomllib.loads(path.read_text())
        shared = {key: text[key] for key in ("main_category", "category") if key in text}
        for entry in text.get("product", []):
            found.append(Product(**(entry if entry.get("odd") == "all_null" else shared | entry)))
    return sorted(found, key=lambda product: product.id)


def changes() -> dict[str, list[dict[str, Any]]]:
    """What follows the products: `update`, `delete` and `raw` lines."""
    return tomllib.loads((WRITTEN / "changes.toml").read_text())


def photos() -> dict[str, dict[str, str]]:
    """Photographs by alias: member (end of a path in tools/photos.toml) and photographer."""
    return tomllib.loads((WRITTEN / "photos.toml").read_text())
