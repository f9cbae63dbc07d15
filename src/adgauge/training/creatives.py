"""Ad creatives drawn around photographs: full pictures, posters, products on a light ground, packaging.

Every function takes a seeded `Random`, so that a seed and a list of photographs decide every pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont, ImageOps

LONG_SIDE = 512
"""Pixels of the long side of every creative: the scale on which damages are defined."""

Picture = Image.Image
Colour = tuple[int, int, int]

_WHITE, _INK = (255, 255, 255), (20, 20, 20)
_GROUNDS: tuple[Colour, ...] = (_WHITE,) * 5 + ((245, 245, 245), (238, 240, 242))
_WORDS = (
    "the night river golden last summer storm silent house wild broken road king dream light fire shadow "
    "garden island train heart blue moon city ghost winter promise stone pure fresh classic active natural "
    "original premium studio sport home kids organic"
)
_SHIRT = (
    "30 0 42 6 58 6 70 0 100 22 88 42 76 33 76 100 24 100 24 33 12 42 0 22"  # corners, per cent of the sides
)
_BOTTLE = "40 0 60 0 60 20 80 35 80 100 20 100 20 35 40 20"


@dataclass(frozen=True)
class Creative:
    """A rendered picture, RGB with a long side of LONG_SIDE, and what its small original costs it."""

    picture: Picture
    drop: float


def open_photo(path: Path) -> Picture:
    """A photograph as RGB, or RGBA trimmed to what is opaque, at most 1000 pixels long."""
    with Image.open(path) as file:
        file.draft("RGB", (1200, 1200))
        photo = file.convert("RGBA" if file.has_transparency_data else "RGB")
    if photo.mode == "RGBA":
        photo = photo.crop(photo.getchannel("A").getbbox())
    photo.thumbnail((1000, 1000))
    return photo


def render_creative(rng: Random, photo: Picture) -> Creative:
    """A creative that shows the photograph; half of them were small originals, as thumbnails are."""
    layout = _on_ground if photo.mode == "RGBA" else rng.choice(_LAYOUTS)
    picture = fit(layout(rng, photo).convert("RGB"), LONG_SIDE)
    if rng.random() < 0.5:
        return Creative(picture, 0.0)
    small = round(math.exp(rng.uniform(math.log(100), math.log(340))))
    enlarged = fit(fit(picture, small), LONG_SIDE, rng.choice(_ENLARGERS))
    return Creative(enlarged, 0.45 * max(0.0, 1 - (small - 100) / 240))


def fit(picture: Picture, long_side: int, resample: Image.Resampling = Image.Resampling.BICUBIC) -> Picture:
    """The picture scaled, either way, to the given long side."""
    scale = long_side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, resample)


def random_colour(rng: Random, low: int = 0, high: int = 255) -> Colour:
    """Each channel between `low` and `high`."""
    return rng.randint(low, high), rng.randint(low, high), rng.randint(low, high)


def draw_text(rng: Random, picture: Picture, box: tuple[float, float, float, float], colour: Colour) -> None:
    """One to three lines of words that fill `box` (shares of width and height), in place."""
    draw = ImageDraw.Draw(picture)
    left, top, right, bottom = (share * side for share, side in zip(box, picture.size * 2, strict=True))
    lines = rng.choice((1, 2, 2, 3))
    for line in range(lines):
        words = " ".join(rng.choices(_WORDS.split(), k=rng.choice((1, 1, 2, 3))))
        words = words.upper() if rng.random() < 0.6 else words
        size = max(9.0, (bottom - top) / lines * 0.8)
        size *= min(1.0, (right - left) / draw.textlength(words, ImageFont.load_default(size)))
        font = ImageFont.load_default(max(8.0, size))
        x = left + (right - left - draw.textlength(words, font)) * rng.choice((0.0, 0.5, 0.5, 1.0))
        outline = rng.choice((0, 0, 0, 1))
        at = (x, top + (bottom - top) / lines * line)
        draw.text(at, words, colour, font, stroke_width=outline, stroke_fill=(0, 0, 0))


def _crop(rng: Random, photo: Picture, aspect: float, smallest: float) -> Picture:
    """A random part of the photograph with the given width / height, at least `smallest` of what fits."""
    width, height = photo.size
    zoom = rng.uniform(smallest, 1)
    w, h = min(width, height * aspect) * zoom, min(height, width / aspect) * zoom
    x, y = rng.uniform(0, width - w), rng.uniform(0, height - h)
    return photo.crop((int(x), int(y), max(int(x + w), int(x) + 1), max(int(y + h), int(y) + 1)))


def _gradient(rng: Random, size: tuple[int, int], first: Colour, second: Colour) -> Picture:
    ramp = np.linspace(0, 1, 64)
    share = (rng.random() * ramp[:, None] + rng.random() * ramp)[..., None]
    share /= share.max()
    colours = (np.array(first) * (1 - share) + np.array(second) * share).astype(np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR)


def _random_gradient(rng: Random, size: tuple[int, int]) -> Picture:
    return _gradient(rng, size, random_colour(rng), random_colour(rng))


def _full(rng: Random, photo: Picture) -> Picture:
    """The photograph fills the creative."""
    return _crop(rng, photo, rng.choice((1, 1, 0.75, 0.67, 0.8, 1.33)), 0.55)


def _poster(rng: Random, photo: Picture) -> Picture:
    """A graded photograph with a title, as films and books have."""
    size = rng.choice(((342, 512), (384, 512), (512, 512)))
    picture = _graded(rng, _crop(rng, photo, size[0] / size[1], 0.5).resize(size, Image.Resampling.BICUBIC))
    if rng.random() < 0.3:
        picture = _framed(rng, picture)
    colour = rng.choice((_WHITE, (255, 230, 120), (230, 40, 40), _INK, random_colour(rng)))
    top = rng.choice((0.04, 0.3, 0.62, 0.7))
    draw_text(rng, picture, (0.06, top, 0.94, top + rng.uniform(0.12, 0.26)), colour)
    if rng.random() < 0.7:
        draw_text(rng, picture, (0.1, 0.92, 0.9, 0.98), colour)
    return picture


def _graded(rng: Random, picture: Picture) -> Picture:
    """Two-toned, washed with colour, faded into the dark, or as it is."""
    style = rng.random()
    if style < 0.25:
        grey = ImageOps.autocontrast(picture.convert("L"), 1)
        return ImageOps.colorize(grey, random_colour(rng, 0, 60), random_colour(rng, 150, 255))
    if style < 0.45:
        return Image.blend(picture, _random_gradient(rng, picture.size), rng.uniform(0.2, 0.6))
    if style < 0.65:
        fade = Image.linear_gradient("L").resize(picture.size)
        fade = ImageOps.flip(fade) if rng.random() < 0.5 else fade
        return Image.composite(picture, Image.new("RGB", picture.size, random_colour(rng, 0, 30)), fade)
    return picture


def _framed(rng: Random, picture: Picture) -> Picture:
    share = rng.uniform(0.55, 0.85)
    frame = Image.new("RGB", picture.size, rng.choice((_WHITE, (0, 0, 0), random_colour(rng))))
    inner = picture.resize((int(picture.width * share), int(picture.height * share)))
    at = (frame.width - inner.width) // 2, int((frame.height - inner.height) * rng.random())
    frame.paste(inner, at)
    return frame


def _on_ground(rng: Random, product: Picture) -> Picture:
    """The product with margins on white or nearly white, sometimes on colour, sometimes with a shadow."""
    size = rng.choice(((512, 512), (512, 512), (412, 512), (384, 512)))
    ground = _ground(rng, size)
    share = rng.uniform(0.55, 0.95)
    scale = min(size[0] * share / product.width, size[1] * share / product.height)
    placed = product.resize((max(1, int(product.width * scale)), max(1, int(product.height * scale))))
    at = (
        int((size[0] - placed.width) * rng.uniform(0.35, 0.65)),
        int((size[1] - placed.height) * rng.uniform(0.35, 0.65)),
    )
    if placed.mode == "RGB":
        ground.paste(placed, at)
        return ground
    if rng.random() < 0.4:
        _cast_shadow(rng, ground, placed, at)
    ground.paste(placed, at, placed)
    return ground


def _ground(rng: Random, size: tuple[int, int]) -> Picture:
    style = rng.random()
    if style < 0.2:
        return _gradient(rng, size, random_colour(rng, 225, 255), random_colour(rng, 200, 255))
    return Image.new("RGB", size, random_colour(rng) if style < 0.3 else rng.choice(_GROUNDS))


def _cast_shadow(rng: Random, ground: Picture, product: Picture, at: tuple[int, int]) -> None:
    shadow = Image.new("L", ground.size, 0)
    darkness = product.getchannel("A").point(lambda alpha: alpha * 90 // 255)
    shadow.paste(darkness, (at[0] + rng.randint(-6, 10), at[1] + rng.randint(2, 14)))
    ground.paste((0, 0, 0), mask=shadow.filter(ImageFilter.GaussianBlur(rng.uniform(3, 12))))


def _boxed(rng: Random, photo: Picture) -> Picture:
    """A rectangular part of the photograph with margins: framed art, a screen, a flat product."""
    return _on_ground(rng, _crop(rng, photo, rng.choice((0.75, 1, 1.3)), 0.4))


def _cut_out(rng: Random, photo: Picture) -> Picture:
    """A product whose outline is ours and whose surface is the photograph's."""
    product = fit(_crop(rng, photo, rng.choice((0.7, 1, 1.4)), 0.3), 420).convert("RGBA")
    width, height = 2 * product.width, 2 * product.height
    mask = Image.new("L", (width, height), 0)
    draw, shape = ImageDraw.Draw(mask), rng.randrange(4)
    if shape == 0:
        draw.ellipse((0, 0, width - 1, height - 1), 255)
    elif shape == 1:
        draw.rounded_rectangle(
            (0, 0, width - 1, height - 1), min(width, height) * rng.uniform(0.05, 0.3), 255
        )
    else:
        corners = [int(share) for share in (_SHIRT if shape == 2 else _BOTTLE).split()]
        pairs = zip(corners[::2], corners[1::2], strict=True)
        draw.polygon([(width * x / 100, height * y / 100) for x, y in pairs], 255)
    product.putalpha(mask.resize(product.size))
    return _on_ground(rng, product)


def _packaging(rng: Random, photo: Picture) -> Picture:
    """A printed box with words and a picture on it."""
    size = rng.choice(((300, 420), (360, 360), (260, 460)))
    box = _random_gradient(rng, size) if rng.random() < 0.6 else Image.new("RGB", size, random_colour(rng))
    inset = _crop(rng, photo, 1.2, 0.4).resize((int(size[0] * 0.8), int(size[0] * 0.66)))
    at = int(size[0] * 0.1), int(size[1] * 0.4)
    round_mask = Image.new("L", inset.size, 0)
    ImageDraw.Draw(round_mask).ellipse((0, 0, *inset.size), 255)
    box.paste(inset, at, round_mask if rng.random() < 0.5 else None)
    draw_text(rng, box, (0.08, 0.06, 0.92, 0.34), rng.choice((_WHITE, _INK, random_colour(rng))))
    return _on_ground(rng, box)


_LAYOUTS: tuple[Callable[[Random, Picture], Picture], ...] = (
    *(_full,) * 4,
    *(_poster,) * 4,
    _boxed,
    _cut_out,
    _packaging,
)
_ENLARGERS = (Image.Resampling.BICUBIC, Image.Resampling.LANCZOS, Image.Resampling.BILINEAR)
