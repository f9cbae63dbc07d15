"""Whatever is done to a valid file gives pixels of the contract's shape or a named reason, and no warning."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from adgauge.canonical.image import TRANSIENT, DecodeLimits, ImageError, ImageReason, decode
from tests.contracts import image_spec

SPEC = image_spec(side=8)
SPECS = [SPEC, SPEC.model_copy(update={"jpeg_scaling": True})]
LIMITS = DecodeLimits(max_bytes=100_000, max_pixels=100_000)
FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("JPEG", "RGB", {"quality": 80}),
    ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
    ("JPEG", "L", {"icc_profile": bytes(100)}),
    ("JPEG", "CMYK", {}),
    ("MPO", "RGB", {"save_all": True}),
    ("PNG", "1", {}),
    ("PNG", "LA", {"interlace": 1}),
    ("PNG", "P", {"transparency": b"\xff\x80\x00"}),
    ("PNG", "RGBA", {"save_all": True, "icc_profile": bytes(100)}),
    ("PNG", "I;16", {}),
    ("GIF", "P", {"save_all": True, "transparency": 3, "comment": b"a"}),
    ("GIF", "RGB", {"interlace": 0}),
    ("WEBP", "RGB", {}),
    ("WEBP", "RGBA", {"save_all": True, "lossless": True}),
    ("BMP", "RGB", {}),
    ("BMP", "P", {}),
    ("BMP", "1", {}),
    *(("TIFF", "RGB", {"compression": name}) for name in ("raw", "packbits", "tiff_lzw", "jpeg")),
    ("TIFF", "RGBA", {"compression": "tiff_adobe_deflate", "save_all": True}),
    ("TIFF", "CMYK", {"compression": "raw"}),
    ("TIFF", "1", {"compression": "group4"}),
    ("TIFF", "I;16", {}),
    ("TIFF", "F", {}),
]


def encoded(kind: str, mode: str, options: dict[str, Any]) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    picture = Image.fromarray(noise).convert("L" if mode in ("I;16", "F") else "RGB").convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    if kind in ("JPEG", "MPO", "PNG", "WEBP", "TIFF"):
        options = {**options, "exif": exif}
    if options.get("save_all"):
        options = {**options, "append_images": [picture.transpose(Image.Transpose.ROTATE_180)]}
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


FILES = [encoded(*form) for form in FORMS]
NUMBERS = [
    b"\0",
    b"\xff",
    b"\x7f",
    b"\0" * 4,
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\0\0\1\0",
]
PLACE = st.integers(0, 1 << 16) | st.integers(0, 128)  # headers are at the beginning
CHANGE = st.tuples(PLACE, st.sampled_from(NUMBERS) | st.binary(min_size=1, max_size=8))


def outcome(data: bytes, jpeg_scaling: bool) -> ImageReason | bytes:
    """The pixels, or the reason: one that lasts."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = decoded(data, jpeg_scaling)
    assert [str(warning.message) for warning in caught] == []
    assert found not in TRANSIENT
    return found


def decoded(data: bytes, jpeg_scaling: bool) -> ImageReason | bytes:
    try:
        pixels = decode(data, SPECS[jpeg_scaling], LIMITS)
    except ImageError as error:
        return error.reason
    assert pixels.shape == (3, 8, 8)
    assert pixels.dtype == np.uint8
    return pixels.tobytes()


@pytest.mark.parametrize("at", range(len(FILES)), ids=[f"{kind} {mode}" for kind, mode, _ in FORMS])
def test_a_whole_file_gives_pixels(at: int) -> None:
    assert isinstance(outcome(FILES[at], jpeg_scaling=False), bytes)
    assert isinstance(outcome(FILES[at], jpeg_scaling=True), bytes)


@given(st.sampled_from(FILES), st.lists(CHANGE, min_size=1, max_size=8), st.booleans())
def test_numbers_replaced(data: bytes, changes: list[tuple[int, bytes]], jpeg_scaling: bool) -> None:
    changed = bytearray(data)
    for at, number in changes:
        start = at % len(data)
        changed[start : start + len(number)] = number

    assert outcome(bytes(changed), jpeg_scaling) == outcome(bytes(changed), jpeg_scaling)


@given(st.sampled_from(FILES), st.sampled_from(FILES), PLACE, PLACE, PLACE, st.booleans())
def test_a_piece_of_one_file_in_another(
    data: bytes, other: bytes, at: int, start: int, length: int, jpeg_scaling: bool
) -> None:
    at, start = at % len(data), start % len(other)
    grafted = data[:at] + other[start : start + length % 2000] + data[at:]

    assert outcome(grafted, jpeg_scaling) == outcome(grafted, jpeg_scaling)


@given(st.sampled_from(FILES), PLACE, st.booleans())
def test_cut_anywhere(data: bytes, at: int, jpeg_scaling: bool) -> None:
    cut = data[: at % len(data)]

    assert outcome(cut, jpeg_scaling) == outcome(cut, jpeg_scaling)
