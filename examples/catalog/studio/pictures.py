"""A product's picture, from its description in written/*.toml."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from PIL import Image, ImageOps

from . import home, packs, scenes, tech, wear
from .damage import DAMAGES
from .easel import Easel
from .scenes import SCENES, Words

Photos = Mapping[str, Image.Image]


def draw(shape: dict[str, str], photos: Photos) -> Image.Image:
    """The product alone, on a transparent square."""
    easel, paint = Easel(), _shapes()[shape["shape"]]
    arguments: dict[str, Any] = {"photo": None} | {"name": "", "line": ""} | shape
    if arguments["photo"]:
        arguments["photo"] = photos[arguments["photo"]]
    paint(easel, **{name: arguments[name] for name in inspect.signature(paint).parameters if name != "e"})
    return easel.image


def compose(
    product: Image.Image, scene: dict[str, str], color: str, size: tuple[int, int], photos: Photos
) -> Image.Image:
    """The product in its scene, at `size`."""
    if scene["style"] == "cutout":
        return ImageOps.contain(product, size)
    words = Words(scene.get("headline", ""), scene.get("subline", ""), scene.get("badge", ""))
    color, double = scene.get("color", color), (size[0] * scenes.DOUBLE, size[1] * scenes.DOUBLE)
    if scene["style"] == "outdoors":
        sheet = scenes.outdoors(product, color, words, double, photos[scene["photo"]])
    else:
        sheet = SCENES[scene["style"]](product, color, words, double)
    return sheet.resize(size, Image.Resampling.LANCZOS)


def picture(
    shape: dict[str, str] | None,
    photo: str | None,
    scene: dict[str, str],
    size: tuple[int, int],
    damage: str | None,
    photos: Photos,
) -> Image.Image:
    """The finished creative, spoilt if `damage` says so."""
    product = photos[photo] if photo else draw(shape or {}, photos)
    color = (shape or {}).get("color", "#b8bec7")
    finished = compose(product, scene, color, size, photos)
    return DAMAGES[damage](finished) if damage else finished


def _shapes() -> dict[str, Any]:
    modules: tuple[ModuleType, ...] = (packs, home, tech, wear)
    return {
        name: value
        for module in modules
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    }
