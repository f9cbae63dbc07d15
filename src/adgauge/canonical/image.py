"""Bytes of a picture → canonical pixels. Limits are checked before anything is decoded."""

from __future__ import annotations

import threading
import warnings
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from adgauge.contract import ImageSpec
from adgauge.errors import AdgaugeError


class ImageReason(StrEnum):
    """Why there is no picture. A closed list: it labels a metric."""

    BAD_REFERENCE = "bad_reference"  # not a URL, path or data: URL that can be read
    SCHEME_NOT_ALLOWED = "scheme_not_allowed"
    OUTSIDE_ROOT = "outside_root"
    NOT_FOUND = "not_found"
    UNREADABLE = "unreadable"  # a file that is not regular, or not ours to read
    UNRESOLVED = "unresolved"  # the host has no address
    FORBIDDEN_ADDRESS = "forbidden_address"
    HOST_NOT_ALLOWED = "host_not_allowed"  # by the lists of hosts
    CONNECTION = "connection"  # refused, reset, cut short
    TLS = "tls"  # no handshake, or a certificate that is not the host's
    HTTP_ERROR = "http_error"  # refused by the server, or an answer that is no picture's
    RATE_LIMITED = "rate_limited"  # 429
    SERVER_ERROR = "server_error"  # 5xx, 408, 425
    STORE_ERROR = "store_error"  # an object store that does not answer as it should
    TIMEOUT = "timeout"
    TOO_LARGE = "too_large"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_PIXELS = "too_many_pixels"
    TRUNCATED = "truncated"
    UNDECODABLE = "undecodable"
    DECODER_TIMEOUT = "decoder_timeout"
    DECODER_MEMORY = "decoder_memory"
    DECODER_CRASHED = "decoder_crashed"


TRANSIENT = frozenset(
    {
        ImageReason.UNRESOLVED,
        ImageReason.CONNECTION,
        ImageReason.TLS,
        ImageReason.RATE_LIMITED,
        ImageReason.SERVER_ERROR,
        ImageReason.STORE_ERROR,
        ImageReason.TIMEOUT,
    }
)
"""Reasons that pass: they say something about a host at a time. The others are about the picture."""


class ImageError(AdgaugeError):
    """There is no picture, for `reason`; an ordinary input, not a failure of the record.

    `retry_after_s`: the host asked not to be asked again before (RFC 9110, 10.2.3); 0: it did not.
    """

    def __init__(self, reason: ImageReason, detail: str, retry_after_s: float = 0.0) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a picture may cost: bytes as fetched and pixels as its header states them."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 40_000_000


_RESAMPLING = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED = frozenset({5, 6, 7, 8})
_FROM_THE_RIGHT, _FROM_BELOW = frozenset({2, 3, 6, 7}), frozenset({3, 4, 7, 8})
"""EXIF orientations that exchange width and height, and where they put the first column and row."""
_Box = tuple[float, float, float, float]
_TIFF_COMPRESSIONS = frozenset(
    {
        *("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg"),
        *("tiff_ccitt", "group3", "group4"),
    }
)
"""The rest is rare, is in some builds of libtiff only, or is known for its holes (`tiff_jpeg`, of 1992)."""
_OUT_OF_MEMORY = ("out of memory", "decoder error -9")
"""How Pillow's decoders in C say it, and libtiff's."""
_BAND_ROWS = 256
_one_at_a_time = threading.Lock()


def decode(data: bytes, spec: ImageSpec, limits: DecodeLimits) -> npt.NDArray[np.uint8]:
    """The picture as uint8 [3, spec.height, spec.width], RGB; raises ImageError.

    One call at a time in a process: Pillow reports damage as warnings, and `catch_warnings` is process-wide.
    The loader decodes in several processes.
    """
    if len(data) > limits.max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"{len(data)} bytes; at most {limits.max_bytes}")
    kind = image_format(data)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _pixels(data, kind, spec, limits)
        except ImageError:
            raise
        except Exception as exc:  # hostile bytes make Pillow's plugins raise nearly anything
            raise ImageError(_reason(exc), f"{kind}: {_words(exc)}") from exc


def image_format(data: bytes) -> str:
    """Pillow's name of the format the content shows; raises ImageError for one that is not accepted."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    for magic, name in _MAGIC:
        if data.startswith(magic):
            return name
    shown = "no bytes" if not data else f"starts with {data[:8]!r}"
    raise ImageError(ImageReason.UNSUPPORTED_FORMAT, f"{shown}; send JPEG, PNG, WebP, GIF, BMP or TIFF")


_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)


def _pixels(data: bytes, kind: str, spec: ImageSpec, limits: DecodeLimits) -> npt.NDArray[np.uint8]:
    with Image.open(BytesIO(data), formats=[kind]) as picture:
        _require(picture, limits)
        shown = _scaled(picture, spec) if kind == "JPEG" and spec.jpeg_scaling else None
        picture.load()  # the first frame of an animation
        flat, orientation = _rgb(picture), _orientation(picture)
    del picture  # with an alpha channel it is as large as what was made of it
    upright = flat if orientation == 1 else flat.transpose(_TRANSPOSES[orientation])
    box = None if shown is None else _upright_box(upright.size, shown, orientation)
    resized = upright.resize((spec.width, spec.height), _RESAMPLING[spec.interpolation], box)
    return np.ascontiguousarray(np.asarray(resized).transpose(2, 0, 1))


def _require(picture: Image.Image, limits: DecodeLimits) -> None:
    """What the header says must be acceptable; nothing has been decoded yet."""
    width, height = picture.size
    if width * height > limits.max_pixels:
        detail = f"{width} x {height}; at most {limits.max_pixels} pixels"
        raise ImageError(ImageReason.TOO_MANY_PIXELS, detail)
    compression = picture.info.get("compression")
    if picture.format == "TIFF" and compression not in _TIFF_COMPRESSIONS:
        raise ImageError(ImageReason.UNSUPPORTED_FORMAT, f"TIFF compressed with {compression}")


def _scaled(picture: Image.Image, spec: ImageSpec) -> tuple[float, float] | None:
    """Let the JPEG decoder leave out what the resize would: both sides stay twice the wanted ones.

    Whole blocks are decoded. Returns width and height, in fractions, of the part that is the picture.
    """
    turned = _orientation(picture) in _TURNED
    wide, high = (spec.height, spec.width) if turned else (spec.width, spec.height)
    drafted = picture.draft(None, (2 * wide, 2 * high))
    return None if drafted is None else drafted[1][2:]


def _upright_box(size: tuple[int, int], shown: tuple[float, float], orientation: int) -> _Box:
    """Where in the upright picture of `size` that part lies whose upper left corner was stored first."""
    width, height = shown[::-1] if orientation in _TURNED else shown
    left = size[0] - width if orientation in _FROM_THE_RIGHT else 0.0
    top = size[1] - height if orientation in _FROM_BELOW else 0.0
    return left, top, left + width, top + height


def _orientation(picture: Image.Image) -> int:
    """1 to 8, as EXIF counts; broken EXIF says nothing."""
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # EXIF is parsed from the same hostile bytes
        return 1
    return orientation if isinstance(orientation, int) and orientation in _TRANSPOSES else 1


def _rgb(picture: Image.Image) -> Image.Image:
    """Any mode as 8-bit RGB, transparency over white. Colour profiles are not applied."""
    if picture.mode == "RGB" and "transparency" not in picture.info:
        return picture
    if picture.mode.startswith("I;16"):
        return _grey(np.asarray(picture, dtype=np.uint16) // 257)
    if picture.mode in ("I", "F"):
        return _grey(_stretched(np.asarray(picture, dtype=np.float32)))
    return _over_white(picture) if picture.has_transparency_data else picture.convert("RGB")


def _over_white(picture: Image.Image) -> Image.Image:
    """By bands: a third copy of the whole picture would take the largest ones over the limit of memory."""
    white = Image.new("RGB", picture.size, "white")
    for top in range(0, picture.height, _BAND_ROWS):
        box = (0, top, picture.width, min(top + _BAND_ROWS, picture.height))
        band = picture.crop(box).convert("RGBA")
        white.paste(band, box, mask=band)
    return white


def _stretched(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """32-bit values have no agreed white: the picture's own range becomes 0 … 255."""
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(values.min()), float(values.max())
    return (values - low) * (255.0 / max(high - low, 1e-12))


def _grey(values: npt.NDArray[np.uint16] | npt.NDArray[np.float32]) -> Image.Image:
    return Image.fromarray(values.astype(np.uint8)).convert("RGB")


def _reason(exc: Exception) -> ImageReason:
    if isinstance(exc, Image.DecompressionBombError):
        return ImageReason.TOO_MANY_PIXELS
    words = str(exc).lower()
    if isinstance(exc, MemoryError) or words.startswith(_OUT_OF_MEMORY):
        return ImageReason.DECODER_MEMORY
    truncated = isinstance(exc, EOFError) or "truncated" in words
    return ImageReason.TRUNCATED if truncated else ImageReason.UNDECODABLE


def _words(exc: Exception) -> str:
    """One line for people; Pillow's own words for a broken header hold a memory address."""
    if isinstance(exc, UnidentifiedImageError):
        return "broken header"
    return " ".join(str(exc).split())[:200] or type(exc).__name__
