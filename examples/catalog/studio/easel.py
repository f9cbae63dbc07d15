"""A transparent square on which lit shapes are painted; every product is drawn on one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Literal

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFont, ImageOps

SIDE = 1040  # pixels; pictures are delivered at about half of it, which smooths every edge
UNIT = SIDE / 1000  # coordinates run from 0 to 1000, from the top left

Light = Literal["flat", "round", "down", "ball", "sheen"]
Point = tuple[float, float]
RGB = tuple[int, int, int]


def rgb(color: str) -> RGB:
    """`"#2a9d8f"` or a CSS name as three numbers."""
    return ImageColor.getrgb(color)[:3]


def mix(first: str, second: str, share: float) -> str:
    """`first` with `share` of `second` in it."""
    pairs = zip(rgb(first), rgb(second), strict=True)
    return "#{:02x}{:02x}{:02x}".format(*(round(a + (b - a) * share) for a, b in pairs))


def darker(color: str, share: float = 0.25) -> str:
    """A shade."""
    return mix(color, "#000000", share)


def lighter(color: str, share: float = 0.4) -> str:
    """A tint."""
    return mix(color, "#ffffff", share)


def ink_on(color: str) -> str:
    """Black or white, whichever reads better on `color`."""
    red, green, blue = rgb(color)
    return "#1d1d22" if 0.3 * red + 0.59 * green + 0.11 * blue > 150 else "#ffffff"


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """The typeface that Pillow carries, so that no font needs to be installed."""
    loaded = ImageFont.load_default(size)
    assert isinstance(loaded, ImageFont.FreeTypeFont)  # noqa: S101 - Pillow was built without FreeType
    return loaded


def smooth(line: Sequence[Point], rounds: int = 4, *, closed: bool = True) -> list[Point]:
    """Round the corners of a line (Chaikin's corner cutting)."""
    points = list(line)
    for _ in range(rounds):
        ends = [*points[1:], *points[:1]] if closed else points[1:]
        cut = [
            (a[0] * near + b[0] * (1 - near), a[1] * near + b[1] * (1 - near))
            for a, b in zip(points, ends, strict=False)
            for near in (0.75, 0.25)
        ]
        points = cut if closed else [points[0], *cut, points[-1]]
    return points


def arc(x: float, y: float, radius: float, start: float, stop: float) -> list[Point]:
    """Points on a circle, degrees clockwise from three o'clock."""
    steps = [math.radians(start + (stop - start) * i / 40) for i in range(41)]
    return [(x + radius * math.cos(step), y + radius * math.sin(step)) for step in steps]


@cache
def _tones(light: Light) -> Image.Image:
    """How a surface takes the light: 128 shows its own colour, more is lit, less lies in shade."""
    across = Image.linear_gradient("L").rotate(90)
    if light == "round":
        return across.point([_cylinder(i / 255) for i in range(256)])
    if light == "down":
        return Image.linear_gradient("L").point([round(158 - 62 * i / 255) for i in range(256)])
    if light == "ball":
        glow = Image.radial_gradient("L").resize((400, 400)).crop((90, 110, 346, 366))
        return glow.point([max(40, round(205 - 0.85 * i)) for i in range(256)])
    if light == "sheen":
        diagonal = ImageChops.add(across, Image.linear_gradient("L"), scale=2)
        return diagonal.point([round(118 + 55 * math.exp(-(((i - 90) / 26) ** 2))) for i in range(256)])
    return Image.new("L", (256, 256), 128)


def _cylinder(x: float) -> int:
    key = 78 * math.exp(-(((x - 0.28) / 0.13) ** 2))
    rim = 26 * math.exp(-(((x - 0.93) / 0.04) ** 2))
    return round(128 + key + rim - 78 * abs(2 * x - 1) ** 3)


class Easel:
    """What is painted so far; later shapes lie on earlier ones."""

    def __init__(self) -> None:
        self.image = Image.new("RGBA", (SIDE, SIDE))

    def box(
        self, x0: float, y0: float, x1: float, y1: float, color: str, light: Light = "flat", radius: float = 0
    ) -> None:
        """A rectangle, with round corners if wanted."""
        place, r = _scaled([(x0, y0), (x1, y1)]), radius * UNIT
        self._paint(lambda pen: pen.rounded_rectangle(place, r, fill=255), color, light)

    def oval(self, x0: float, y0: float, x1: float, y1: float, color: str, light: Light = "flat") -> None:
        """An ellipse in the given box."""
        place = _scaled([(x0, y0), (x1, y1)])
        self._paint(lambda pen: pen.ellipse(place, fill=255), color, light)

    def blob(self, points: Sequence[Point], color: str, light: Light = "flat", rounds: int = 0) -> None:
        """A polygon; `rounds` of corner cutting make it soft."""
        place = _scaled(smooth(points, rounds))
        self._paint(lambda pen: pen.polygon(place, fill=255), color, light)

    def stroke(self, points: Sequence[Point], color: str, width: float, light: Light = "flat") -> None:
        """A line with round ends."""
        place, half = _scaled(points), width * UNIT / 2

        def draw(pen: ImageDraw.ImageDraw) -> None:
            pen.line(place, fill=255, width=round(2 * half), joint="curve")
            for x, y in (place[0], place[-1]):
                pen.ellipse((x - half, y - half, x + half, y + half), fill=255)

        self._paint(draw, color, light)

    def write(
        self, text: str, x: float, y: float, size: float, color: str, bold: float = 0, anchor: str = "mm"
    ) -> None:
        """Text of `size` at a point; `bold` thickens it, as the typeface has one weight."""
        pen, weight = ImageDraw.Draw(self.image), round(bold * UNIT)
        place = (x * UNIT, y * UNIT)
        pen.text(place, text, color, font(round(size * UNIT)), anchor=anchor, stroke_width=weight)

    def fit(
        self, text: str, x: float, y: float, width: float, size: float, color: str, bold: float = 0
    ) -> None:
        """Centred text, made smaller until it is no wider than `width`."""
        while size > 12 and font(round(size * UNIT)).getlength(text) > width * UNIT:
            size -= 2
        self.write(text, x, y, size, color, bold)

    def paste(self, picture: Image.Image, x0: float, y0: float, x1: float, y1: float) -> None:
        """A picture, cropped to fill the box."""
        (left, top), (right, bottom) = _scaled([(x0, y0), (x1, y1)])
        size = (round(right - left), round(bottom - top))
        self.image.paste(ImageOps.fit(picture.convert("RGB"), size), (round(left), round(top)))

    def turn(self, degrees: float) -> None:
        """Rotate everything painted so far about the middle, counter-clockwise."""
        self.image = self.image.rotate(degrees, Image.Resampling.BICUBIC)

    def _paint(self, draw: Callable[[ImageDraw.ImageDraw], None], color: str, light: Light) -> None:
        mask = Image.new("L", self.image.size)
        draw(ImageDraw.Draw(mask))
        bounds = mask.getbbox()
        if bounds is None:
            return
        tone = _tones(light).resize((bounds[2] - bounds[0], bounds[3] - bounds[1]))
        body = ImageOps.colorize(tone, darker(color, 0.6), lighter(color, 0.75), mid=color, midpoint=128)
        layer = Image.new("RGBA", self.image.size)
        layer.paste(body, bounds[:2], mask.crop(bounds))
        self.image.alpha_composite(layer)


def _scaled(points: Sequence[Point]) -> list[Point]:
    return [(x * UNIT, y * UNIT) for x, y in points]
