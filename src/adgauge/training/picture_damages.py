"""What goes wrong with pictures, each kind from slight to bad, with how many points it costs before scaling.

Lossy compression and motion blur are left out on purpose: they measure what the model makes of damage that
it never saw (`benchmarks/ranking.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter, ImageOps

from adgauge.training.creatives import Picture, draw_text, fit, random_colour

_RESIZERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
_PLAIN = ((255, 255, 255), (0, 0, 0), (220, 220, 220), (128, 128, 128))


@dataclass(frozen=True)
class PictureDamage:
    """A kind of damage: what it does at a strength in [0, 1] and its drop, `least` + `more` · strength."""

    apply: Callable[[Random, Picture, float], Picture]
    least: float
    more: float


def damage_picture(rng: Random, picture: Picture, kind: str) -> tuple[Picture, float]:
    """The damaged picture, of the same size, and its drop; `kind` is a key of PICTURE_DAMAGES."""
    damage, strength = PICTURE_DAMAGES[kind], rng.random()
    return damage.apply(rng, picture, strength), damage.least + damage.more * strength


def _blur(rng: Random, picture: Picture, strength: float) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(2 + 6 * strength))


def _box_blur(rng: Random, picture: Picture, strength: float) -> Picture:
    return picture.filter(ImageFilter.BoxBlur(2.5 + 8 * strength))


def _dark(rng: Random, picture: Picture, strength: float) -> Picture:
    return ImageEnhance.Brightness(picture).enhance(0.5 - 0.4 * strength)


def _overexposed(rng: Random, picture: Picture, strength: float) -> Picture:
    return picture.point(lambda value: min(255, int(value * (1.5 + 1.5 * strength) + 30 * strength)))


def _flat(rng: Random, picture: Picture, strength: float) -> Picture:
    """Hardly any contrast."""
    grey = Image.new("RGB", picture.size, (rng.randint(60, 200),) * 3)
    return Image.blend(picture, grey, 0.5 + 0.4 * strength)


def _small(rng: Random, picture: Picture, strength: float) -> Picture:
    """Shrunk to 96 … 24 pixels and enlarged again."""
    shrunk = fit(picture, int(96 * 0.25**strength), rng.choice(_RESIZERS))
    return shrunk.resize(picture.size, rng.choice(_RESIZERS[:2]))


def _blocky(rng: Random, picture: Picture, strength: float) -> Picture:
    """Shrunk and enlarged without smoothing."""
    shrunk = fit(picture, int(110 * 0.27**strength), Image.Resampling.BOX)
    return shrunk.resize(picture.size, Image.Resampling.NEAREST)


def _colour_blocks(rng: Random, picture: Picture, strength: float) -> Picture:
    """Colour at a much lower resolution than light."""
    light, *colours = picture.convert("YCbCr").split()
    smoothing = rng.choice((Image.Resampling.NEAREST, Image.Resampling.BILINEAR))
    small = [fit(colour, int(40 * 0.25**strength), Image.Resampling.BOX) for colour in colours]
    return Image.merge("YCbCr", (light, *(c.resize(picture.size, smoothing) for c in small))).convert("RGB")


def _noisy(rng: Random, picture: Picture, strength: float) -> Picture:
    """Sensor noise, in colour or grey."""
    channels = rng.choice((3, 3, 1))
    generator = np.random.default_rng(rng.getrandbits(32))
    noise = generator.normal(0, 15 + 50 * strength, (picture.height, picture.width, channels))
    return Image.fromarray(np.clip(np.asarray(picture) + noise, 0, 255).astype(np.uint8))


def _few_colours(rng: Random, picture: Picture, strength: float) -> Picture:
    if rng.random() < 0.5:
        return ImageOps.posterize(picture, 3 - round(2 * strength))
    dither = rng.choice((Image.Dither.NONE, Image.Dither.FLOYDSTEINBERG))
    return picture.quantize(int(14 - 10 * strength), dither=dither).convert("RGB")


def _smeared(rng: Random, picture: Picture, strength: float) -> Picture:
    """Texture lost in flat patches."""
    size = 2 * int(2 + 4 * strength) + 1
    patches = ImageFilter.MedianFilter(size) if rng.random() < 0.6 else ImageFilter.ModeFilter(size)
    return picture.filter(patches)


def _oversharpened(rng: Random, picture: Picture, strength: float) -> Picture:
    return picture.filter(ImageFilter.UnsharpMask(3 + 6 * strength, int(300 + 500 * strength), 0))


def _bad_crop(rng: Random, picture: Picture, strength: float) -> Picture:
    """A corner of the picture, enlarged."""
    share = 0.45 - 0.27 * strength
    width, height = picture.width * share, picture.height * share
    x, y = rng.choice((0.0, picture.width - width)), rng.choice((0.0, picture.height - height))
    return picture.resize(picture.size, Image.Resampling.BICUBIC, (x, y, x + width, y + height))


def _lost_in_space(rng: Random, picture: Picture, strength: float) -> Picture:
    """The creative tiny on an empty ground."""
    ground = Image.new("RGB", picture.size, rng.choice(_PLAIN[:3]))
    tiny = fit(picture, int(max(picture.size) * (0.3 - 0.2 * strength)))
    free = picture.width - tiny.width, picture.height - tiny.height
    ground.paste(tiny, (int(free[0] * rng.random()), int(free[1] * rng.random())))
    return ground


def _placeholder(rng: Random, picture: Picture, strength: float) -> Picture:
    """No creative at all: one colour, mostly with a few grey words."""
    plain = Image.new("RGB", picture.size, rng.choice((*_PLAIN, random_colour(rng))))
    if rng.random() < 0.7:
        draw_text(rng, plain, (0.2, 0.42, 0.8, 0.55), rng.choice(((120,) * 3, (60,) * 3)))
    return plain


PICTURE_DAMAGES: Mapping[str, PictureDamage] = {
    "blur": PictureDamage(_blur, 0.9, 1.0),
    "box_blur": PictureDamage(_box_blur, 0.8, 1.0),
    "dark": PictureDamage(_dark, 0.8, 1.0),
    "overexposed": PictureDamage(_overexposed, 0.7, 0.9),
    "flat": PictureDamage(_flat, 0.5, 0.8),
    "small": PictureDamage(_small, 1.1, 0.8),
    "blocky": PictureDamage(_blocky, 0.9, 1.0),
    "colour_blocks": PictureDamage(_colour_blocks, 0.4, 0.5),
    "noisy": PictureDamage(_noisy, 0.5, 1.0),
    "few_colours": PictureDamage(_few_colours, 0.7, 0.8),
    "smeared": PictureDamage(_smeared, 0.7, 0.7),
    "oversharpened": PictureDamage(_oversharpened, 0.6, 0.6),
    "bad_crop": PictureDamage(_bad_crop, 0.5, 0.6),
    "lost_in_space": PictureDamage(_lost_in_space, 0.8, 0.6),
    "placeholder": PictureDamage(_placeholder, 2.2, 0.0),
}
