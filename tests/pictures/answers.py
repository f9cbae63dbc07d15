"""What the picture server says to a path: its paths spell the behaviour, so that a URL tells what to expect.

/p/<grey>/<name>.png        a picture with an ETag, to be asked about each time
/photo/<grey>/<name>.png    the same, a JPEG of 1000 x 1000
/fresh/<grey>/<name>.png    with an ETag, and good for a day without asking
/bare/<grey>/<name>.png     with nothing to ask by
/dead/<name>                404
/slow/<how>/<name>          never done: `body` and `head` drip a byte at a time, `silent` says nothing
/hostile/<how>/<name>       one of HOSTILE
"""

import io
import zlib
from dataclasses import dataclass
from enum import Enum
from functools import cache

from PIL import Image

SIDE, PHOTO_SIDE = 8, 1000
DAY_S = 86_400
BOMB_BYTES = 128 * 2**20
DEAD, HEAD, BODY, SILENT = "dead", "head", "body", "silent"
SLOW = (BODY, HEAD, SILENT)


class Then(Enum):
    """What happens to the connection after the bytes of an answer."""

    KEPT = "kept"
    CLOSED = "closed"
    DRIP = "drip"
    ENDLESS = "endless"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class Answer:
    """Bytes as they go out. `etag`: a client that names it is told 304 instead."""

    status: int
    data: bytes
    then: Then = Then.KEPT
    etag: bytes | None = None


@cache
def grey_png(grey: int) -> bytes:
    """A picture of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (SIDE, SIDE), grey).save(buffer, "PNG")
    return buffer.getvalue()


@cache
def grey_jpeg(grey: int) -> bytes:
    """The same in a size that shops use: what it costs to decode is part of what is measured."""
    buffer = io.BytesIO()
    Image.new("RGB", (PHOTO_SIDE, PHOTO_SIDE), (grey, grey, grey)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@cache
def picture(kind: str, grey: int) -> Answer:
    """Of `p`, `photo`, `fresh` and `bare`; equal pictures have equal ETags."""
    etag = None if kind == "bare" else b'"grey-%d"' % grey
    headers = [] if etag is None else [f"ETag: {etag.decode()}"]
    if kind == "fresh":
        headers.append(f"Cache-Control: max-age={DAY_S}")
    if kind == "photo":
        return Answer(200, whole(grey_jpeg(grey), "image/jpeg", *headers), etag=etag)
    return Answer(200, whole(grey_png(grey), "image/png", *headers), etag=etag)


@cache
def not_modified(kind: str, etag: bytes) -> Answer:
    """304 for a picture that the client has."""
    fresh = f"Cache-Control: max-age={DAY_S}\r\n" if kind == "fresh" else ""
    return Answer(304, f"HTTP/1.1 304 Not Modified\r\nETag: {etag.decode()}\r\n{fresh}\r\n".encode())


@cache
def unavailable(retry_after_s: int) -> Answer:
    """503 that says when to come again."""
    return Answer(503, empty("503 Service Unavailable", f"Retry-After: {retry_after_s}"))


NOT_FOUND = Answer(404, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
BAD_REQUEST = Answer(400, b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", Then.CLOSED)


def answer_to(path: str) -> Answer:
    """What a path spells; 404 where it spells nothing."""
    kind, _, rest = path.partition("?")[0].lstrip("/").partition("/")
    how, _, name = rest.partition("/")
    if kind in ("p", "photo", "fresh", "bare") and how.isdigit() and int(how) < 256 and name:
        return picture(kind, int(how))
    if kind == "slow" and how in SLOW:
        return slow()[how]
    if kind == "hostile" and how in HOSTILE:
        return redirect(path) if how == "loop" else hostile()[how]
    return NOT_FOUND


@cache
def slow() -> dict[str, Answer]:
    """Answers that are never done."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 100000\r\n"
    return {
        BODY: Answer(200, head + b"\r\n", Then.DRIP),
        HEAD: Answer(200, head + b"X-Patience: ", Then.DRIP),
        SILENT: Answer(200, b"", Then.HELD),
    }


HOSTILE = (
    "to-metadata",
    "to-mapped",
    "to-port",
    "to-file",
    "loop",
    "endless",
    "gzip-bomb",
    "wrong-length",
    "html",
    "huge-png",
    "truncated-jpeg",
    "svg",
)
"""Each has to end as a product without a picture."""


@cache
def hostile() -> dict[str, Answer]:
    """All of HOSTILE but `loop`, which leads to itself."""
    png, jpeg = grey_png(128), _jpeg()
    return {
        "to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
        "to-mapped": redirect("http://[::ffff:10.0.0.1]/picture.png"),
        "to-port": redirect("http://127.0.0.1:9/picture.png"),
        "to-file": redirect("file:///etc/passwd"),
        "endless": Answer(200, _head("image/png") + b"Connection: close\r\n\r\n" + png, Then.ENDLESS),
        "gzip-bomb": Answer(200, whole(_bomb(), "image/png", "Content-Encoding: gzip")),
        "wrong-length": Answer(200, _head("image/png") + b"Content-Length: 5000\r\n\r\n" + png, Then.CLOSED),
        "html": Answer(200, whole(b"<!doctype html><title>Log in</title>", "image/png")),
        "huge-png": Answer(200, whole(_huge_png(), "image/png")),
        "truncated-jpeg": Answer(200, whole(jpeg[: len(jpeg) * 2 // 3], "image/jpeg")),
        "svg": Answer(200, whole(b'<svg xmlns="http://www.w3.org/2000/svg"/>', "image/svg+xml")),
    }


def whole(body: bytes, content_type: str, *headers: str) -> bytes:
    """A complete 200."""
    more = "".join(f"{each}\r\n" for each in headers)
    return _head(content_type) + f"Content-Length: {len(body)}\r\n{more}\r\n".encode() + body


def empty(status: str, *headers: str) -> bytes:
    """A complete answer without a body."""
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *headers, "", ""]).encode()


def redirect(location: str) -> Answer:
    """302."""
    return Answer(302, empty("302 Found", f"Location: {location}"))


def _head(content_type: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n".encode()


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 60).save(buffer, "JPEG")
    return buffer.getvalue()


def _bomb() -> bytes:
    packer = zlib.compressobj(9, wbits=zlib.MAX_WBITS | 16)
    zeros = bytes(2**20)
    return b"".join(packer.compress(zeros) for _ in range(BOMB_BYTES // len(zeros))) + packer.flush()


def _huge_png() -> bytes:
    header = b"IHDR" + (50_000).to_bytes(4) * 2 + bytes([8, 2, 0, 0, 0])
    small = grey_png(0)
    return small[:8] + (13).to_bytes(4) + header + zlib.crc32(header).to_bytes(4) + small[33:]
