"""Pictures made to cost much: each gives pixels or a named reason, and its process stays within limits.

Small files that say they are large, large files that say little, and loops in what is parsed before pixels.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adgauge.canonical.image import DecodeLimits, ImageReason
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.records import ImageMissing
from benchmarks.pillow_suite import peak_bytes
from tests.contracts import image_spec

SIDE = 6320  # squared, just below the limit of pixels
MEMORY = 448 * 2**20
IMAGE = "image"
SHORT, LONG = 3, 4  # types of TIFF fields


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def zeros(count: int) -> bytes:
    """So many zero bytes, deflated to a thousandth."""
    return zlib.compress(bytes(count), 9)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(
    side: int = 8,
    *,
    channels: int = 3,
    bits: int = 8,
    before: bytes = b"",
    after: bytes = b"",
    data: bytes = b"",
) -> bytes:
    """A black picture with chunks before and after its pixels."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0))
    pixels = chunk(b"IDAT", data or zeros((1 + side * channels * bits // 8) * side))
    return b"\x89PNG\r\n\x1a\n" + head + before + pixels + after + chunk(b"IEND", b"")


def exif_of(count: int, size: int, region: int) -> bytes:
    """TIFF structure with so many fields that all point at one region."""
    fields = b"".join(struct.pack("<HHII", tag, 7, size, 8) for tag in range(count))
    return (
        b"II*\0"
        + struct.pack("<I", 8 + region)
        + bytes(region)
        + struct.pack("<H", count)
        + fields
        + bytes(4)
    )


def jpeg(segments: bytes) -> bytes:
    """A small JPEG with more segments at its head."""
    plain = encoded(Image.new("RGB", (8, 8)), "JPEG")
    return plain[:2] + segments + plain[2:]


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def scans(count: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = encoded(Image.new("L", (SIDE, SIDE)), "JPEG", progressive=True)[:-2]
    return data + data[data.rfind(b"\xff\xc4", 0, data.rfind(b"\xff\xda")) :] * count + b"\xff\xd9"


def gif(screen: int, frame: int, at: int = 0, before: bytes = b"") -> bytes:
    head = b"GIF89a" + struct.pack("<HH", screen, screen) + b"\x80\0\0" + bytes(6)
    return head + before + b"," + struct.pack("<HHHH", at, at, frame, frame) + b"\0\2\2\x44\1\0;"


def animated_webp(canvas: int, frames: int) -> bytes:
    def three(number: int) -> bytes:
        return struct.pack("<I", number)[:3]

    still = encoded(Image.new("RGB", (16, 16)), "WEBP", lossless=True)[12:]
    frame = three(0) * 2 + three(15) * 2 + three(10) + b"\0" + still
    extended = b"VP8X" + struct.pack("<I", 10) + b"\2\0\0\0" + three(canvas - 1) * 2
    frames_ = (b"ANMF" + struct.pack("<I", len(frame)) + frame) * frames
    body = b"WEBP" + extended + b"ANIM" + struct.pack("<I", 6) + bytes(6) + frames_
    return b"RIFF" + struct.pack("<I", len(body)) + body


def bmp(side: int, runs: bytes) -> bytes:
    """Run-length encoded, 8 bits."""
    info = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078 + len(runs), 0, 0, 1078) + info + bytes(1024) + runs


def tiff(
    side: int, data: bytes, more: Mapping[int, tuple[int, Sequence[int]]], compression: int = 8, ifd: int = 0
) -> bytes:
    """RGB; `data` lies at offset 8, `ifd` is where the next page is said to be."""
    size = {256: (LONG, [side]), 257: (LONG, [side]), 277: (SHORT, [3])}
    form = {258: (SHORT, [8] * 3), 259: (SHORT, [compression]), 262: (SHORT, [2])}
    fields: dict[int, tuple[int, Sequence[int]]] = {**size, **form, **more}
    at = 8 + len(data) + 2 + 12 * len(fields) + 4
    table, values = struct.pack("<H", len(fields)), b""
    for tag, (kind, numbers) in sorted(fields.items()):
        packed = struct.pack(f"<{len(numbers)}{'H' if kind == SHORT else 'I'}", *numbers)
        place = packed.ljust(4, b"\0") if len(packed) <= 4 else struct.pack("<I", at + len(values))
        table += struct.pack("<HHI", tag, kind, len(numbers)) + place
        values += packed if len(packed) > 4 else b""
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + table + struct.pack("<I", ifd) + values


def strips(side: int, data: bytes, rows: int, **options: Any) -> bytes:
    count = -(-side // rows) if rows < side else 1
    more = {273: (LONG, [8] * count), 278: (LONG, [rows]), 279: (LONG, [len(data)] * count)}
    return tiff(side, data, more, **options)


def tiles(side: int, data: bytes, tile: int, count: int) -> bytes:
    edge = {322: (LONG, [tile]), 323: (LONG, [tile])}
    return tiff(side, data, {**edge, 324: (LONG, [8] * count), 325: (LONG, [len(data)] * count)})


MANY, FAR = 1_000_000, 65535
CASES: Mapping[str, tuple[Callable[[], bytes], str]] = {
    "png 1 x 1": (lambda: png(1), IMAGE),
    "png 40 MP RGBA": (lambda: png(SIDE, channels=4), IMAGE),
    "png 40 MP LA": (lambda: png(SIDE, channels=2), IMAGE),
    "png 40 MP grey 16 bits": (lambda: png(SIDE, channels=1, bits=16), IMAGE),
    "png more data than pixels": (lambda: png(data=zeros(200_000_000)), IMAGE),
    "png zTXt bomb": (lambda: png(before=chunk(b"zTXt", b"a\0\0" + zeros(200_000_000))), "undecodable"),
    "png zTXt bomb behind": (lambda: png(after=chunk(b"zTXt", b"a\0\0" + zeros(200_000_000))), "undecodable"),
    "png iTXt bomb": (lambda: png(before=chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(200_000_000))), "undecodable"),
    "png iCCP bomb": (lambda: png(before=chunk(b"iCCP", b"a\0\0" + zeros(200_000_000))), "undecodable"),
    "png 2000 texts": (
        lambda: png(before=b"".join(chunk(b"zTXt", b"%d\0\0" % at + zeros(MANY)) for at in range(2000))),
        "undecodable",
    ),
    "png 200,000 chunks": (lambda: png(before=chunk(b"prVt", b"") * 200_000), IMAGE),
    "png eXIf whose fields overlap": (
        lambda: png(before=chunk(b"eXIf", exif_of(FAR, 10_000_000, 10_000_000))),
        IMAGE,
    ),
    "png 4 billion frames": (lambda: png(before=chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0))), IMAGE),
    "jpeg 40 MP progressive": (
        lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG", progressive=True, subsampling=0),
        IMAGE,
    ),
    "jpeg 40 MP CMYK": (lambda: encoded(Image.new("CMYK", (SIDE, SIDE)), "JPEG"), IMAGE),
    "jpeg scans without end": (lambda: scans(200_000), "decoder_timeout"),
    "jpeg 13 MB of EXIF": (lambda: jpeg(segment(0xE1, b"Exif\0\0II*\0" + bytes(65_000)) * 200), IMAGE),
    "jpeg 16 MB of ICC": (
        lambda: jpeg(
            b"".join(
                segment(0xE2, b"ICC_PROFILE\0" + bytes([at, 250]) + bytes(65_000)) for at in range(1, 251)
            )
        ),
        IMAGE,
    ),
    "jpeg a million comments": (lambda: jpeg(segment(0xFE, b"") * MANY), IMAGE),
    "webp canvas of 16384": (lambda: animated_webp(16384, 1), "too_many_pixels"),
    "webp 20,000 frames": (lambda: animated_webp(16, 20_000), IMAGE),
    "gif huge screen": (lambda: gif(FAR, 1), "too_many_pixels"),
    "gif 40 MP screen, frame of 1 x 1": (lambda: gif(SIDE, 1), IMAGE),
    "gif frame larger than its screen": (lambda: gif(1, FAR), "too_many_pixels"),
    "gif frame far outside": (lambda: gif(1, 1, at=60_000), "too_many_pixels"),
    "gif a million comments": (lambda: gif(1, 1, before=b"!\xfe" + b"\1a" * MANY + b"\0"), IMAGE),
    "bmp runs of one pixel": (lambda: bmp(SIDE, b"\1\0" * MANY + b"\0\1"), "undecodable"),
    "bmp leaps": (lambda: bmp(SIDE, b"\0\2\xff\xff" * MANY + b"\0\1"), IMAGE),
    "tiff every row the whole bomb": (lambda: strips(SIDE, zeros(3 * SIDE * SIDE), 1), IMAGE),
    "tiff rows without end": (lambda: strips(8, zeros(192), 2**32 - 1), IMAGE),
    "tiff tile of 40 MP": (lambda: tiles(8, zeros(3 * SIDE * SIDE), SIDE, 1), IMAGE),
    "tiff tile of 676 MP": (lambda: tiles(8, zeros(3 * SIDE * SIDE), 26_000, 1), "decoder_memory"),
    "tiff tile of 2^31": (lambda: tiles(8, zeros(192), 2**31, 1), "undecodable"),
    "tiff every tile the whole bomb": (lambda: tiles(SIDE, zeros(3 * SIDE * SIDE), 16, 395**2), IMAGE),
    "tiff pages in a circle": (lambda: strips(8, zeros(192), 8, ifd=8 + len(zeros(192))), IMAGE),
    "tiff fields that overlap": (lambda: exif_of(20_000, 10_000_000, 10_000_000), "undecodable"),
    "tiff lzma": (lambda: strips(8, b"\xfd7zXZ\0", 8, compression=34925), "unsupported_format"),
    "tiff zstd": (lambda: strips(8, b"\x28\xb5\x2f\xfd", 8, compression=50000), "unsupported_format"),
    "tiff JPEG of 1992": (lambda: strips(8, b"\xff\xd8", 8, compression=6), "unsupported_format"),
}


@pytest.fixture(scope="module")
def pool() -> Iterator[DecoderPool]:
    pool = DecoderPool(1, Orders(image_spec(side=32), DecodeLimits(), 3.0, MEMORY))
    pool.decode(png())
    yield pool
    pool.close()


@pytest.mark.parametrize("name", CASES)
def test_a_picture_made_to_cost_much_costs_little(pool: DecoderPool, name: str) -> None:
    make, expected = CASES[name]
    data = make()
    assert len(data) <= DecodeLimits().max_bytes
    (process_id,) = pool.process_ids()

    found = pool.decode(data)

    assert (found.reason if isinstance(found, ImageMissing) else IMAGE) == expected
    if expected != ImageReason.DECODER_TIMEOUT:
        assert pool.process_ids() == [process_id]
        assert peak_bytes(process_id) < 512 * 2**20
    assert isinstance(pool.decode(png()), np.ndarray)
