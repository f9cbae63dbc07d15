"""What goes wrong with creatives in real catalogs. Each takes a finished picture and spoils it."""

from __future__ import annotations

import io
import random
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

from .easel import font

Damage = Callable[[Image.Image], Image.Image]


def blur(picture: Image.Image) -> Image.Image:
    """Out of focus."""
    return picture.filter(ImageFilter.GaussianBlur(picture.width / 90))


def dark(picture: Image.Image) -> Image.Image:
    """Badly underexposed."""
    return ImageEnhance.Brightness(picture).enhance(0.2)


def glare(picture: Image.Image) -> Image.Image:
    """Overexposed until colours are gone."""
    return ImageEnhance.Color(ImageEnhance.Brightness(picture).enhance(2.1)).enhance(0.5)


def tiny(picture: Image.Image) -> Image.Image:
    """A 36-pixel thumbnail blown up."""
    small = picture.resize((36, max(1, 36 * picture.height // picture.width)))
    return small.resize(picture.size, Image.Resampling.BILINEAR)


def crop(picture: Image.Image) -> Image.Image:
    """Most of the product lies outside the frame."""
    width, height = picture.size
    return picture.crop((0, 0, width * 45 // 100, height * 45 // 100)).resize(picture.size)


def blocky(picture: Image.Image) -> Image.Image:
    """Compressed to death."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=4)
    return Image.open(file).convert("RGB")


def placeholder(picture: Image.Image) -> Image.Image:
    """The shop's grey box instead of a picture."""
    grey = Image.new("RGB", picture.size, "#d4d4d4")
    pen, (width, height) = ImageDraw.Draw(grey), picture.size
    pen.rectangle((width * 0.38, height * 0.3, width * 0.62, height * 0.5), outline="#a8a8a8", width=6)
    pen.line(
        (width * 0.38, height * 0.5, width * 0.48, height * 0.4, width * 0.62, height * 0.5), "#a8a8a8", 6
    )
    pen.text((width / 2, height * 0.62), "image coming soon", "#8f8f8f", font(width // 16), "mm")
    return grey


def shouting(picture: Image.Image) -> Image.Image:
    """Slogans all over the product."""
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    slogans = ("BEST!!!", "BUY NOW", "100% TOP", "WOW!!!", "CHEAP!!", "HOT DEAL", "#1 #1 #1")
    for number, slogan in enumerate(slogans):
        x, y = width * (0.26 + 0.46 * (number % 2)), height * (0.1 + 0.135 * number)
        pen.rectangle((x - width * 0.23, y - height * 0.06, x + width * 0.23, y + height * 0.06), "#ffea00")
        pen.text((x, y), slogan, "#e00000", font(width // 10), "mm", stroke_width=width // 260)
    return picture


def cut_text(picture: Image.Image) -> Image.Image:
    """A headline that runs out of the frame."""
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    pen.rectangle((0, height * 0.38, width, height * 0.66), "#b3261e")
    pen.text((width * 0.04, height * 0.45), "FREE SHIPPING ON ALL ORD", "#ffffff", font(width // 7), "lm")
    pen.text((width * 0.3, height * 0.6), "ers over $35 this weeke", "#ffffff", font(width // 9), "lm")
    return picture


def garbled(picture: Image.Image) -> Image.Image:
    """Text in a broken encoding across the picture."""
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    dice, signs = random.Random(7), "Ã©Â£¤Ð¦§¬Ã¼Â»ÃŸ¿½ï×¶ÃÂ"
    for row in range(7):
        line = "".join(dice.choice(signs) for _ in range(26))
        pen.text((width * 0.03, height * (0.08 + 0.13 * row)), line, "#30343a", font(width // 14), "lm")
    return picture


def watermark(picture: Image.Image) -> Image.Image:
    """A stock agency's mark, tiled."""
    layer = Image.new("RGBA", picture.size)
    pen, (width, height) = ImageDraw.Draw(layer), picture.size
    for row in range(6):
        for column in range(-1, 3):
            place = (width * (0.42 * column + 0.2 * (row % 2)), height * (0.05 + 0.18 * row))
            pen.text(place, "SAMPLE ONLY", (90, 90, 90, 170), font(width // 16))
    return Image.alpha_composite(picture.convert("RGBA"), layer.rotate(12)).convert("RGB")


def tilted(picture: Image.Image) -> Image.Image:
    """Photographed askew, with the table's edge in view."""
    turned = picture.rotate(27, Image.Resampling.BICUBIC, fillcolor="#6b6258")
    return ImageEnhance.Contrast(ImageEnhance.Brightness(turned).enhance(0.62)).enhance(0.7)


DAMAGES: dict[str, Damage] = {
    "blur": blur,
    "dark": dark,
    "glare": glare,
    "tiny": tiny,
    "crop": crop,
    "blocky": blocky,
    "placeholder": placeholder,
    "shouting": shouting,
    "cut_text": cut_text,
    "garbled": garbled,
    "watermark": watermark,
    "tilted": tilted,
}
