"""Products for `golden.jsonl`: drawn pictures, good and bad, one or several, and texts of every sort.

Between them they use everything that a contract can ask for: every mode and damage, missing and broken
pictures, categories that are known and not, prices, and a text for every rung of every ladder.
"""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.data_url import data_url
from adgauge.canonical.golden import GoldenRecord, canonicalize_golden
from adgauge.contract import ModelContract
from adgauge.product import parse_product
from adgauge.records import CanonicalInput
from adgauge.training.creatives import Picture, fit, random_colour, render_creative
from adgauge.training.picture_damages import damage_picture

LONG_SIDE = 96
"""Pixels: small enough to live in git, large enough for damage to show."""
FURTHER_LONG_SIDE = 48
"""Of every picture but the first."""

Fields = dict[str, Any]

_BROKEN = data_url(b"no picture at all", "image/png")
_TEXT: Fields = {
    "main_category": "Sports & Outdoors",
    "title": "Pinewick trail backpack, 20 litres",
    "features": ["Water-repellent canvas", "Padded straps and two side pockets"],
    "description": ["A light pack for day hikes: room for a jacket, lunch and a bottle."],
}
_LISTED: Fields = {
    **_TEXT,
    "main_category": "Amazon Fashion Outlet",  # a store's department: the shop's tree tells the category
    "categories": ["Clothing, Shoes & Jewelry", "Luggage", "Backpacks"],
    "store": "Pinewick",
    "price": "$1,299.00",
    "details": {"Material": "Canvas", "Capacity": "20 l", "Weight": "640 g"},
}
_TEXTS: tuple[Fields, ...] = (
    {"title": "Backpack", "price": 19.5},
    {},
    {**_TEXT, "title": "WOW BACKPACK!!! BEST PRICE!!!", "description": ["BUY NOW!!! CHEAP!!! " * 6]},
    {**_TEXT, "title": "Piwenick tarli bcapakck", "features": ["Wtaer-rplelenet cnvaas"], "description": []},
    {**_TEXT, "title": "Sac à dos de randonnée – 20 l", "description": ["Léger & solide, pour la journée."]},
    {
        "title": "登山バックパック",
        "description": ["軽くて丈夫な日帰り用。"],
        "main_category": "Garden Gnomes",
    },
    {**_TEXT, "description": ["<p>Light &amp; <b>sturdy</b>.</p><script>track()</script>"]},
    {**_TEXT, "features": ["Pocket"] * 12, "description": ["A light pack for day hikes, again. " * 14]},
    {**_LISTED, "description": ["A light pack for day hikes, again and again. " * 30]},
    {**_LISTED, "description": ["A light pack for day hikes, again and again. " * 60]},
    {**_LISTED, "description": ["A light pack for day hikes, again and again. " * 260]},
)
_DAMAGES = (None, "blur", "dark", "small", "placeholder", "noisy", "bad_crop")
_MODES = ("RGB", "RGBA", "L", "P", "1")


def golden_products() -> list[Fields]:
    """Twenty-three products in the item schema, with their pictures as `data:` URLs; always the same ones."""
    drawn = [(_TEXT, [_picture(number, kind)]) for number, kind in enumerate(_DAMAGES)]
    written = [
        (text, [_picture(len(drawn) + number, None, _MODES[number % len(_MODES)])])
        for number, text in enumerate(_TEXTS)
    ]
    products = [*drawn, *written, *_of_several_pictures(len(drawn) + len(written)), (_TEXT, [])]
    return [_product(number, text, pictures) for number, (text, pictures) in enumerate(products)]


def golden_inputs(contract: ModelContract, folder: Path) -> list[CanonicalInput]:
    """The golden products as a model sees them; `folder` holds the tokenizer. Raises ContractMismatch."""
    products = (parse_product(json.dumps(each).encode(), 1 << 20) for each in golden_products())
    records = [GoldenRecord(product, "", 0.0) for product in products]
    return canonicalize_golden(Canonicalizer(contract, folder), records)


def _of_several_pictures(number: int) -> list[tuple[Fields, list[str]]]:
    """A collage filled, one filled in part, one without its first picture, and more than any model sees."""
    first, further = (
        _picture(number, None),
        [_further(number, kind) for kind in (None, "dark", "placeholder")],
    )
    return [
        (_LISTED, [first, *further[:2]]),
        (_TEXT, [first, further[2]]),
        ({**_LISTED, "price": None}, [_BROKEN, *further[:2]]),
        (_LISTED, [further[2], _BROKEN, first, *further[:2]]),
    ]


def _product(number: int, text: Fields, urls: list[str]) -> Fields:
    variants = ("MAIN", *(f"PT{at:02}" for at in range(1, len(urls))))
    images = [{"large": url, "variant": variant} for url, variant in zip(urls, variants, strict=False)]
    return {"parent_asin": f"GOLDEN-{number:02}", **text, "images": images}


def _picture(number: int, damage: str | None, mode: str = "RGB") -> str:
    return _drawn(f"golden {number}", damage, mode, LONG_SIDE)


def _further(number: int, damage: str | None) -> str:
    return _drawn(f"golden {number} {damage}", damage, "RGB", FURTHER_LONG_SIDE)


def _drawn(seed: str, damage: str | None, mode: str, long_side: int) -> str:
    rng = Random(seed)  # noqa: S311  # pictures, not secrets
    picture = render_creative(rng, _scene(rng)).picture
    if damage is not None:
        picture, _ = damage_picture(rng, picture, damage)
    file = BytesIO()
    fit(picture, long_side).convert(mode).save(file, "PNG", optimize=True)
    return data_url(file.getvalue(), "image/png")


def _scene(rng: Random) -> Picture:
    """Something to look at that is nobody's photograph: coloured shapes, large ones behind small ones."""
    scene = Image.new("RGB", (480, 480), random_colour(rng))
    draw = ImageDraw.Draw(scene)
    for step in range(24):
        reach = 240 * (1 - step / 26)
        x, y = rng.uniform(0, 480 - reach), rng.uniform(0, 480 - reach)
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + reach, y + reach * rng.uniform(0.4, 1)), random_colour(rng))
    return scene
