"""Ad layouts: a product (transparent square) and words become a picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from .easel import darker, font, ink_on, lighter, rgb

DOUBLE = 2  # layouts are painted at twice their final size


@dataclass(frozen=True)
class Words:
    """What an ad says; empty strings are not shown."""

    headline: str = ""
    subline: str = ""
    badge: str = ""


Scene = Callable[[Image.Image, str, Words, tuple[int, int]], Image.Image]
Box = tuple[float, float, float, float]  # shares of width and height: left, top, right, bottom


def plain(product: Image.Image, color: str, words: Words, size: tuple[int, int]) -> Image.Image:
    """The shop's standard: the product on white."""
    sheet = Image.new("RGB", size, "#ffffff")
    return _place(sheet, product, (0.1, 0.08, 0.9, 0.92))


def studio(product: Image.Image, color: str, words: Words, size: tuple[int, int]) -> Image.Image:
    """A tinted backdrop that turns into a floor."""
    sheet = _fade(size, lighter(color, 0.9), lighter(color, 0.62))
    floor = _fade((size[0], size[1] // 4), lighter(color, 0.52), lighter(color, 0.78))
    sheet.paste(floor, (0, size[1] - floor.height), _feather(floor.size))
    return _place(sheet, product, (0.14, 0.1, 0.86, 0.9))


def poster(product: Image.Image, color: str, words: Words, size: tuple[int, int]) -> Image.Image:
    """A strong colour, a disc behind the product, the headline above."""
    sheet = _fade(size, color, darker(color, 0.3))
    width, height = size
    _disc(sheet, width * 0.5, height * 0.62, min(size) * 0.36, lighter(color, 0.28))
    _write(sheet, words.headline, (0.07, 0.06, 0.93, 0.2), ink_on(color), bold=True)
    _write(sheet, words.subline, (0.1, 0.2, 0.9, 0.265), ink_on(color))
    _place(sheet, product, (0.16, 0.29, 0.84, 0.94))
    return _badge(sheet, words.badge, color, (0.84, 0.86))


def split(product: Image.Image, color: str, words: Words, size: tuple[int, int]) -> Image.Image:
    """Words on a coloured half, the product on a pale one."""
    sheet = _fade(size, "#ffffff", lighter(color, 0.8))
    width, height = size
    sheet.paste(_fade((round(width * 0.43), height), color, darker(color, 0.22)), (0, 0))
    _write(sheet, words.headline, (0.04, 0.2, 0.39, 0.58), ink_on(color), bold=True, largest=0.105)
    _write(sheet, words.subline, (0.05, 0.6, 0.38, 0.76), ink_on(color), largest=0.054)
    _place(sheet, product, (0.46, 0.1, 0.97, 0.9))
    return _badge(sheet, words.badge, color, (0.88, 0.13))


def night(product: Image.Image, color: str, words: Words, size: tuple[int, int]) -> Image.Image:
    """A dark stage with a glow of the product's colour."""
    sheet = _fade(size, "#1c1e26", "#0b0c10")
    glow = (
        ImageOps.invert(Image.radial_gradient("L")).resize(size).point([round(i * 0.75) for i in range(256)])
    )
    sheet.paste(Image.new("RGB", size, darker(color, 0.1)), (0, 0), glow)
    _write(sheet, words.headline, (0.06, 0.05, 0.94, 0.17), "#ffffff", bold=True)
    _write(sheet, words.subline, (0.1, 0.88, 0.9, 0.95), "#d8dbe2")
    _place(sheet, product, (0.16, 0.19, 0.84, 0.86))
    return _badge(sheet, words.badge, color, (0.86, 0.27))


def outdoors(
    product: Image.Image, color: str, words: Words, size: tuple[int, int], photo: Image.Image
) -> Image.Image:
    """The product before an out-of-focus photograph."""
    sheet = ImageOps.fit(photo.convert("RGB"), size).filter(ImageFilter.GaussianBlur(size[0] / 110))
    sheet = Image.blend(sheet, Image.new("RGB", size, lighter(color, 0.85)), 0.22)
    dusk = (
        Image.linear_gradient("L")
        .transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        .point([i * 2 // 3 for i in range(256)])
    )
    top = (size[0], size[1] * 3 // 10)
    sheet.paste(darker(color, 0.75), (0, 0), dusk.resize(top))
    _write(sheet, words.headline, (0.05, 0.04, 0.95, 0.16), "#ffffff", bold=True)
    return _place(sheet, product, (0.17, 0.2, 0.83, 0.93))


SCENES: dict[str, Scene] = {
    "plain": plain,
    "studio": studio,
    "poster": poster,
    "split": split,
    "night": night,
}


def _fade(size: tuple[int, int], top: str, bottom: str) -> Image.Image:
    return ImageOps.colorize(Image.linear_gradient("L").resize(size), top, bottom)


def _feather(size: tuple[int, int]) -> Image.Image:
    """A mask that comes in over the upper third."""
    return Image.linear_gradient("L").point([min(255, i * 3) for i in range(256)]).resize(size)


def _disc(sheet: Image.Image, x: float, y: float, radius: float, color: str) -> None:
    ImageDraw.Draw(sheet).ellipse((x - radius, y - radius, x + radius, y + radius), color)


def _place(sheet: Image.Image, product: Image.Image, box: Box) -> Image.Image:
    """Stand the product in the box, on its shadow; a photograph with its own background fills the sheet."""
    if product.getchannel("A").getextrema()[0] == 255:
        return ImageOps.fit(product.convert("RGB"), sheet.size)
    left, top, right, bottom = _pixels(sheet, box)
    cut = ImageOps.contain(
        product.crop(product.getbbox()), (right - left, bottom - top), Image.Resampling.LANCZOS
    )
    x = (left + right - cut.width) // 2
    y = bottom - cut.height - (bottom - top - cut.height) // 2
    if not _casts_its_own(cut):
        _shadow(sheet, x, y + cut.height, cut.size)
    sheet.paste(cut, (x, y), cut.getchannel("A"))
    return sheet


def _casts_its_own(cut: Image.Image) -> bool:
    """A photographed cut-out brings its shadow along, as half-transparent pixels."""
    half = sum(cut.getchannel("A").histogram()[8:200])
    return half > 0.03 * cut.width * cut.height


def _shadow(sheet: Image.Image, x: int, foot: int, size: tuple[int, int]) -> None:
    mask, deep = Image.new("L", sheet.size), max(10, size[1] // 22)
    ImageDraw.Draw(mask).ellipse((x + size[0] * 0.04, foot - deep, x + size[0] * 0.96, foot + deep), 120)
    sheet.paste("#14161c", (0, 0), mask.filter(ImageFilter.GaussianBlur(sheet.width / 70)))


def _badge(sheet: Image.Image, text: str, color: str, center: tuple[float, float]) -> Image.Image:
    if text:
        x, y, radius = sheet.width * center[0], sheet.height * center[1], min(sheet.size) * 0.105
        _disc(sheet, x, y, radius, "#ffffff" if rgb(color)[:2] > (220, 190) else "#ffd23f")
        place = ((x - radius * 0.82) / sheet.width, (y - radius * 0.4) / sheet.height)
        _write(
            sheet,
            text,
            (*place, (x + radius * 0.82) / sheet.width, (y + radius * 0.4) / sheet.height),
            "#1d1d22",
            bold=True,
        )
    return sheet


def _write(
    sheet: Image.Image, text: str, box: Box, color: str, *, bold: bool = False, largest: float = 1.0
) -> None:
    """Centre words in a box, as large as fits and at most `largest` of the height."""
    left, top, right, bottom = _pixels(sheet, box)
    size = min(bottom - top, round(largest * sheet.height))
    while size > 10 and not _fits(_wrap(text, size, right - left), size, right - left, bottom - top):
        size -= 2
    lines, pen, weight = _wrap(text, size, right - left), ImageDraw.Draw(sheet), size // 46 if bold else 0
    for number, line in enumerate(lines if text else []):
        y = (top + bottom) / 2 + (number - (len(lines) - 1) / 2) * size * 1.14
        place = ((left + right) / 2, y)
        pen.text(place, line, color, font(size), "mm", stroke_width=weight)


def _wrap(text: str, size: int, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font(size).getlength(longer) > width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _fits(lines: list[str], size: int, width: int, height: int) -> bool:
    widest = max(font(size).getlength(line) for line in lines)
    return widest <= width and len(lines) * size * 1.14 <= height * 1.15


def _pixels(sheet: Image.Image, box: Box) -> tuple[int, int, int, int]:
    width, height = sheet.size
    return round(box[0] * width), round(box[1] * height), round(box[2] * width), round(box[3] * height)
