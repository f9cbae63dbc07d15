"""`data:` URLs (RFC 2397): bytes that travel inside the record."""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from urllib.parse import unquote_to_bytes

from adgauge.canonical.image import ImageError, ImageReason


def data_url_bytes(url: str, max_bytes: int) -> bytes:
    """The bytes a `data:` URL holds; raises ImageError(BAD_REFERENCE or TOO_LARGE)."""
    head, comma, body = url.partition(",")
    if not comma or not head[:5].lower() == "data:":
        raise ImageError(ImageReason.BAD_REFERENCE, "not a data: URL")
    if len(body) > 4 * max_bytes:  # checked before decoding; %-encoding takes three characters a byte
        raise ImageError(ImageReason.TOO_LARGE, f"{len(body)} characters; at most {max_bytes} bytes")
    data = unquote_to_bytes(body)
    if head.lower().endswith(";base64"):
        try:
            data = b64decode(b"".join(data.split()), validate=True)
        except binascii.Error as exc:
            raise ImageError(ImageReason.BAD_REFERENCE, f"data: URL: {exc}") from exc
    if len(data) > max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"{len(data)} bytes; at most {max_bytes}")
    return data


def data_url(data: bytes, media_type: str) -> str:
    """The `data:` URL of a picture's bytes; `media_type` as in "image/jpeg"."""
    return f"data:{media_type};base64,{b64encode(data).decode()}"
