"""Writes pictures in the encodings that catalogs come in, sound and unsound."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from ..source import Encoding

QUALITY = 84
Writer = Callable[[Image.Image, Path], None]


def write(picture: Image.Image, path: Path, encoding: Encoding) -> None:
    """Write `picture` to `path`."""
    _WRITERS[encoding](picture, path)


def _jpeg(picture: Image.Image, path: Path) -> None:
    picture.convert("RGB").save(path, "JPEG", quality=QUALITY, optimize=True)


def _truncated(picture: Image.Image, path: Path) -> None:
    """Only the headers and a sliver of the scan: no decoder can make a picture of it."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    path.write_bytes(file.getvalue()[:700])


def _exif_rotated(picture: Image.Image, path: Path) -> None:
    """Stored lying down, with a tag that says so."""
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turn 90 degrees clockwise to see it upright
    picture.transpose(Image.Transpose.ROTATE_90).save(path, "JPEG", quality=QUALITY, exif=exif, optimize=True)


def _cmyk(picture: Image.Image, path: Path) -> None:
    picture.convert("CMYK").save(path, "JPEG", quality=QUALITY)


def _palette_alpha(picture: Image.Image, path: Path) -> None:
    picture.quantize(96, Image.Quantize.FASTOCTREE).save(path, "PNG", optimize=True)


def _sixteen_bit(picture: Image.Image, path: Path) -> None:
    """Grey values spread over the full 16 bits."""
    grey = picture.convert("L")
    values = [value * 257 for value in grey.tobytes()]
    Image.frombytes("I;16", grey.size, struct.pack(f"<{len(values)}H", *values)).save(
        path, "PNG", optimize=True
    )


def _animation(picture: Image.Image) -> list[Image.Image]:
    """Three frames: as it is, with red and blue exchanged, and dimmed."""
    red, green, blue = picture.convert("RGB").split()
    swapped = Image.merge("RGB", (blue, green, red))
    return [picture.convert("RGB"), swapped, ImageEnhance.Brightness(picture).enhance(0.4)]


def _animated_webp(picture: Image.Image, path: Path) -> None:
    first, *others = _animation(picture)
    first.save(path, "WEBP", save_all=True, append_images=others, duration=600, loop=0, quality=80, method=4)


def _animated_gif(picture: Image.Image, path: Path) -> None:
    first, *others = (ImageOps.posterize(frame, 5).quantize(64) for frame in _animation(picture))
    first.save(path, "GIF", save_all=True, append_images=others, duration=500, loop=0)


_WRITERS: dict[Encoding, Writer] = {
    "jpeg": _jpeg,
    "truncated": _truncated,
    "exif_rotated": _exif_rotated,
    "cmyk": _cmyk,
    "palette_alpha": _palette_alpha,
    "sixteen_bit": _sixteen_bit,
    "animated_webp": _animated_webp,
    "animated_gif": _animated_gif,
}
