"""Products for `golden.jsonl`: drawn pictures, good and bad, in several modes, and texts of every sort."""

from __future__ import annotations

from io import BytesIO
from random import Random
from typing import Any

from PIL import Image, ImageDraw

from adgauge.canonical.data_url import data_url
from adgauge.training.creatives import Picture, fit, random_colour, render_creative
from adgauge.training.picture_damages import damage_picture

LONG_SIDE = 96
"""Pixels: small enough to live in git, large enough for damage to show."""

_TEXT = {
    "main_category": "Sports & Outdoors",
    "title": "Pinewick trail backpack, 20 litres",
    "features": ["Water-repellent canvas", "Padded straps and two side pockets"],
    "description": ["A light pack for day hikes: room for a jacket, lunch and a bottle."],
}
_TEXTS: list[dict[str, Any]] = [
    _TEXT,
    {"title": "Backpack"},
    {},
    {**_TEXT, "title": "WOW BACKPACK!!! BEST PRICE!!!", "description": ["BUY NOW!!! CHEAP!!! BUY NOW!!!"]},
    {**_TEXT, "title": "Piwenick tarli bcapakck", "features": ["Wtaer-rplelenet cnvaas"], "description": []},
    {**_TEXT, "title": "Sac à dos de randonnée – 20 l", "description": ["Léger & solide, pour la journée."]},
    {**_TEXT, "title": "登山バックパック", "description": ["軽くて丈夫な日帰り用。"]},
    {**_TEXT, "description": ["<p>Light &amp; <b>sturdy</b>.</p><script>track()</script>"]},
    {**_TEXT, "description": ["A light pack for day hikes, again and again. " * 60]},
]
_DAMAGES = (None, "blur", "dark", "small", "placeholder", "noisy", "bad_crop")
_MODES = ("RGB", "RGBA", "L", "P", "1")


def golden_products() -> list[dict[str, Any]]:
    """Sixteen products in the item schema, with their pictures as `data:` URLs; always the same ones."""
    products = [_product(number, _TEXT, _picture(number, kind)) for number, kind in enumerate(_DAMAGES)]
    products += [
        _product(len(products) + number, text, _picture(number, None, _MODES[number % len(_MODES)]))
        for number, text in enumerate(_TEXTS[1:])
    ]
    return [*products, _product(len(products), _TEXT, None)]


def _product(number: int, text: dict[str, Any], url: str | None) -> dict[str, Any]:
    images = [] if url is None else [{"large": url, "variant": "MAIN"}]
    return {"parent_asin": f"GOLDEN-{number:02}", **text, "images": images}


def _picture(number: int, damage: str | None, mode: str = "RGB") -> str:
    rng = Random(f"golden {number}")  # noqa: S311  # pictures, not secrets
    picture = render_creative(rng, _scene(rng)).picture
    if damage is not None:
        picture, _ = damage_picture(rng, picture, damage)
    file = BytesIO()
    fit(picture, LONG_SIDE).convert(mode).save(file, "PNG", optimize=True)
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
