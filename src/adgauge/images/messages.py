"""Answers of HTTP/1.1 (RFC 9112), read strictly and within bounds.

`http.client` does the same through the parser for e-mails, which takes longer than everything else
about a request that is answered "not modified".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.wire import Wire

HEAD_BYTES = 1 << 16
HEADERS = 100
LARGE_BYTES = 2 << 20
_INTERIM = 20
_PIECE = 1 << 18
_LINE = 1024
_STATUS = re.compile(r"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\0\r\n]*)?")
_HEADER = re.compile(r"^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\0\r\n]*)\r?$", re.MULTILINE)
_FOLD = re.compile(r"\r?\n[ \t]+")
_LENGTH = re.compile(r"[0-9]{1,18}", re.ASCII)
_CHUNK = re.compile(rb"([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?")

Hold = Callable[[], AbstractContextManager[object]]
"""What must be held while a large body is read."""


@dataclass(frozen=True, slots=True)
class Head:
    """What comes before a body. Names of headers are lower-case; those sent twice are joined by commas.

    Without `length` and `chunked` a body goes on until the connection ends. `lasting`: the connection may
    be used again.
    """

    status: int
    headers: Mapping[str, str]
    length: int | None
    chunked: bool
    lasting: bool


def read_head(wire: Wire) -> Head:
    """The head of the final answer; raises ImageError and OSError."""
    for _ in range(_INTERIM):
        head = parse_head(wire.head(HEAD_BYTES))
        if head.status >= 200:
            return head
    raise _garbage("nothing but interim answers")


def read_body(wire: Wire, head: Head, max_bytes: int, hold_large: Hold) -> bytes:
    """The body, read to its end; raises ImageError and OSError."""
    if head.length is not None and head.length > max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"{head.length} bytes; at most {max_bytes}")
    pieces: list[bytes] = []
    size, large = 0, False
    with ExitStack() as held:
        for piece in _pieces(wire, head):
            size += len(piece)
            if size > max_bytes:
                raise ImageError(ImageReason.TOO_LARGE, f"more than {max_bytes} bytes")
            if size > LARGE_BYTES and not large:
                large = True
                held.enter_context(hold_large())
            pieces.append(piece)
        return b"".join(pieces)


def parse_head(data: bytes) -> Head:
    """A head without its blank line; raises ImageError for one that is not well formed."""
    first, _, rest = _FOLD.sub(" ", data.decode("latin-1")).partition("\n")
    status = _STATUS.fullmatch(first.removesuffix("\r"))
    if status is None:
        raise _garbage(f"{first[:40]!r} is no status line")
    found = _HEADER.findall(rest)
    if len(found) != (rest.count("\n") + 1 if rest else 0) or len(found) > HEADERS:
        raise _garbage("malformed headers, or too many")
    headers: dict[str, str] = {}
    for name, value in found:
        key, text = name.lower(), value.rstrip(" \t")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return _framed(int(status[2]), status[1] == "1", headers)


def _framed(status: int, persistent: bool, headers: Mapping[str, str]) -> Head:
    bodiless = status < 200 or status in (204, 304)
    chunked = not bodiless and _chunked(headers.get("transfer-encoding"))
    length = 0 if bodiless else _length(headers.get("content-length"))
    lasting = persistent and "close" not in headers.get("connection", "").lower()
    if chunked and length is not None:  # a mistake, or an attack on whoever believes the other one
        length, lasting = None, False
    return Head(status, headers, length, chunked, lasting and (chunked or length is not None))


def _length(text: str | None) -> int | None:
    if text is None:
        return None
    stated = {each.strip() for each in text.split(",")}
    if len(stated) > 1 or not _LENGTH.fullmatch(text := stated.pop()):
        raise _garbage("no valid content length")
    return int(text)


def _chunked(text: str | None) -> bool:
    if text is not None and text.lower() != "chunked":
        raise ImageError(ImageReason.HTTP_ERROR, f"transfer encoding {text[:40]!r} was not asked for")
    return text is not None


def _pieces(wire: Wire, head: Head) -> Iterator[bytes]:
    if head.chunked:
        yield from _chunks(wire)
    elif head.length is not None:
        yield from _exactly(wire, head.length)
    else:
        while piece := wire.some_or_end(_PIECE):
            yield piece


def _exactly(wire: Wire, size: int) -> Iterator[bytes]:
    while size:
        piece = wire.some(min(size, _PIECE))
        size -= len(piece)
        yield piece


def _chunks(wire: Wire) -> Iterator[bytes]:
    spent = 0  # chunks of a byte each would keep a processor busy for as long as we let them
    while size := _chunk_size(wire.line(_LINE)):
        yield from _exactly(wire, size)
        spent += 64 - size
        if wire.line(_LINE) or spent > HEAD_BYTES:
            raise _garbage("malformed or tiny chunks")
    for _ in range(HEADERS):
        if not wire.line(_LINE):
            return
    raise _garbage("too many trailers")


def _chunk_size(line: bytes) -> int:
    found = _CHUNK.fullmatch(line)
    if found is None:
        raise _garbage("malformed chunks")
    return int(found[1], 16)


def _garbage(detail: str) -> ImageError:
    return ImageError(ImageReason.CONNECTION, f"not HTTP: {detail}")
