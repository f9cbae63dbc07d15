"""Whatever a URL, a header or an answer holds gives a value or an ImageError."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.freshness import conditions, fresh_until_ms, may_store, retry_after_s, validators_of
from adgauge.images.guard import check_addresses, target_of
from adgauge.images.messages import HEAD_BYTES, Head, parse_head, read_body, read_head
from adgauge.images.wire import Deadline, Origin, Wire

BOTH = frozenset({"http", "https"})
MAX_BYTES = 1000
REFUSED = (ImageReason.BAD_REFERENCE, ImageReason.SCHEME_NOT_ALLOWED, ImageReason.FORBIDDEN_ADDRESS)
T = TypeVar("T")


def result(call: Callable[[], T]) -> T | ImageReason:
    try:
        return call()
    except ImageError as error:
        return error.reason


PIECES = (
    *(
        "https://",
        "http:",
        "//",
        "/",
        "\\",
        "@",
        ":",
        "[",
        "]",
        "%2e",
        "%",
        "#",
        "?",
        " ",
        "\t",
        "\0",
        "\ud800",
    ),
    *(
        "127",
        ".",
        "。",
        "0x7f",
        "1",
        "localhost",
        "::1",
        "fe80::1%25x",
        "xn--",
        "ß",
        "ς",
        "é",
        "\u200d",
        "\u2100",
    ),
    *("example.com", "443", "65536", "a" * 64, "\u0661", "①"),
)
URL = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=12).map("".join)


@given(URL | URL.map("https://".__add__))
def test_a_url_is_a_request_or_refused(url: str) -> None:
    target = result(lambda: target_of(url, BOTH, {80, 443}))
    if isinstance(target, ImageReason):
        assert target in REFUSED
        return
    assert target.scheme in BOTH
    assert target.port in (80, 443)
    assert target.path.isascii()
    assert target.path.startswith("/")
    assert not set(target.path) & set(" \r\n\t#")
    assert target.host == target.host.strip(".").lower()
    assert set(target.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789-._:")
    assert target_of(f"{target.scheme}://{target.authority}{target.path}", BOTH, {80, 443}) == target


@given(st.lists(st.text(max_size=50) | st.ip_addresses().map(str), max_size=4))
def test_an_address_passes_or_is_forbidden(addresses: list[str]) -> None:
    assert result(lambda: check_addresses(addresses, ())) in (None, ImageReason.FORBIDDEN_ADDRESS)


HEADER_PIECES = (
    *(
        "HTTP/1.1 200 OK",
        "HTTP/1.0 304",
        "HTTP/1.1 404 ",
        "\r\n",
        "\n",
        "\r",
        ":",
        ": ",
        " ",
        "\t",
        "\0",
        ",",
    ),
    *("Content-Length", "Transfer-Encoding", "chunked", "7", "-1", "Connection", "close", "ETag", '"a"', "é"),
)
HEAD = st.lists(st.sampled_from(HEADER_PIECES) | st.text(max_size=4), max_size=14).map(
    lambda pieces: "".join(pieces).encode()
)


@given(HEAD | HEAD.map(b"HTTP/1.1 200 OK\r\n".__add__) | st.binary(max_size=100))
def test_a_head_is_read_or_refused(data: bytes) -> None:
    head = result(lambda: parse_head(data))
    if isinstance(head, ImageReason):
        assert head in (ImageReason.CONNECTION, ImageReason.HTTP_ERROR)
        return
    assert 100 <= head.status < 600
    assert head.length is None or head.length >= 0
    assert not (head.chunked and head.length is not None)
    assert all(name == name.lower() and name.isascii() for name in head.headers)
    assert not any(set(value) & set("\r\n\0") for value in head.headers.values())


TOKENS = ("max-age", "no-store", "no-cache", "=", '"', ",", ";", " ", "60", "-1", "9" * 30, "*", "\\", "GMT")
VALUE = st.lists(st.sampled_from(TOKENS) | st.text(max_size=4), max_size=10).map("".join)
NAMES = st.sampled_from(
    ["cache-control", "expires", "date", "age", "vary", "etag", "last-modified", "retry-after"]
)


@given(st.dictionaries(NAMES, VALUE, max_size=8), st.integers(0, 2**42))
def test_headers_about_later_use_never_fail(headers: dict[str, str], now_ms: int) -> None:
    until = fresh_until_ms(headers, now_ms)
    assert until == 0 or now_ms <= until <= now_ms + 86_400_000
    assert 0 <= retry_after_s(headers, now_ms) <= 3600
    may_store(headers)
    for _, value in conditions(validators_of(headers, "", until, "")):
        assert value.isascii()
        assert value.isprintable()


def answered(data: bytes) -> tuple[Head, bytes] | ImageError | OSError:
    """What is read of an answer that a peer sends before it ends the connection."""
    near, far = socket.socketpair()

    def send() -> None:
        with suppress(OSError):
            far.sendall(data)
            far.shutdown(socket.SHUT_WR)

    with near, far:
        sending = threading.Thread(target=send)
        sending.start()
        wire = Wire(near, Origin("http", "a", 80), Deadline(time.monotonic, 10.0))
        try:
            head = read_head(wire)
            return head, read_body(wire, head, MAX_BYTES, nullcontext)
        except (ImageError, OSError) as error:
            near.shutdown(socket.SHUT_RDWR)
            return error
        finally:
            sending.join()


CHUNKS = (
    "0\r\n\r\n",
    "3\r\nabc\r\n",
    "5",
    "\r\n",
    "ffffffffffff",
    ";x",
    "abc",
    "-1\r\n",
    "A: b\r\n",
    "\n",
    "g",
)
BODY = st.lists(st.sampled_from(CHUNKS) | st.text(max_size=4), max_size=10).map("".join)
FRAMES = st.sampled_from(["Transfer-Encoding: chunked", "Content-Length: 5", "Content-Length: 5000", "X: y"])


@given(FRAMES, BODY)
def test_an_answer_is_read_or_fails(frame: str, body: str) -> None:
    found = answered(f"HTTP/1.1 200 OK\r\n{frame}\r\n\r\n{body}".encode())

    if isinstance(found, tuple):
        assert len(found[1]) <= MAX_BYTES
    elif isinstance(found, ImageError):
        assert found.reason in (ImageReason.CONNECTION, ImageReason.TOO_LARGE)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=10), st.booleans())
def test_a_body_that_is_framed_as_it_should_be_comes_out_whole(chunks: list[bytes], stated: bool) -> None:
    whole = b"".join(chunks)
    if stated:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(whole) + whole
    else:
        framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
        answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"

    found = answered(answer)

    assert isinstance(found, tuple)
    assert found[1] == whole
    assert found[0].lasting


def test_a_head_without_an_end_is_given_up() -> None:
    assert isinstance(answered(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2 * HEAD_BYTES), OSError)
