"""A server of pictures that speaks every way to misbehave, and what tests need to ask it."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from urllib.parse import unquote

import pytest

from adgauge.canonical.image import ImageError
from adgauge.images.fetched import Body, Source
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.records import Validators

MAX_BYTES = 200_000
LOOPBACK = (ip_network("127.0.0.0/8"),)
HOST = "pictures.test"
DATE = "Wed, 25 Nov 2026 08:00:00 GMT"
DATE_MS = 1_795_593_600_000
Write = Callable[[bytes], object]


@dataclass(frozen=True)
class Conditional:
    """A picture that is sent again only where the request does not name it."""

    etag: str = ""
    last_modified: str = ""
    headers: tuple[str, ...] = ()
    honoured: bool = True

    def answer(self, head: str) -> bytes:
        etag = f"\nIf-None-Match: {self.etag}\n" in head
        date = f"\nIf-Modified-Since: {self.last_modified}\n" in head
        if self.honoured and ((self.etag and etag) or (self.last_modified and date)):
            return "\r\n".join(["HTTP/1.1 304 Not Modified", *self.headers, "\r\n"]).encode()
        named = [f"ETag: {self.etag}"] if self.etag else []
        dated = [f"Last-Modified: {self.last_modified}"] if self.last_modified else []
        return whole(b"picture", *named, *dated, *self.headers)


Reply = bytes | Conditional | Callable[[Write], object]
"""Bytes and conditional answers leave the connection open; what writes by itself ends it."""


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def redirect(location: str) -> bytes:
    return whole(b"", f"Location: {location}", status="302 Found")


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n" + trailers + b"\r\n"


def once(data: bytes) -> Callable[[Write], object]:
    return lambda write: write(data)


def drip(first: bytes, piece: bytes) -> Callable[[Write], object]:
    def write_slowly(write: Write) -> None:
        write(first)
        for _ in range(200):
            write(piece)
            time.sleep(0.05)

    return write_slowly


BOMB = gzip.compress(bytes(50_000_000))
OK = b"HTTP/1.1 200 OK\r\n"
ANSWERS: dict[str, Reply] = {
    # as it should be
    "/picture": whole(b"picture"),
    "/chunked": chunked(b"pic", b"ture", trailers=b"X: trailer\r\n"),
    "/closed": once(b"HTTP/1.0 200 OK\r\n\r\npicture"),
    "/says-close": once(whole(b"picture", "Connection: close")),
    "/says-close-and-waits": whole(b"picture", "Connection: Close"),
    "/continue": b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"picture"),
    "/bare-newlines": once(b"HTTP/1.1 200 OK\nContent-Length: 7\n\npicture"),
    "/folded": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 7\r\n\r\npicture",
    "/html": whole(b"<html></html>", "Content-Type: image/jpeg"),
    "/large": whole(bytes(MAX_BYTES)),
    # elsewhere
    "/moved": redirect("/picture"),
    "/moved2": redirect("/moved"),
    "/moved3": redirect("/moved2"),
    "/moved4": redirect("/moved3"),
    "/loop": redirect("/loop"),
    "/loop-a": redirect("/loop-b"),
    "/loop-b": redirect("/loop-a"),
    "/to-private": redirect("http://10.0.0.1/"),
    "/to-loopback": redirect("http://127.0.0.1/"),
    "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
    "/to-mapped": redirect("http://[::ffff:10.0.0.1]/"),
    "/to-file": redirect("file:///etc/passwd"),
    "/to-nothing": redirect("http://["),
    "/nowhere": whole(b"", status="302 Found"),
    "/to-etag": redirect("/etag"),
    # no picture
    "/gone": whole(b"", status="410 Gone"),
    "/missing": whole(b"not here", status="404 Not Found"),
    "/missing-slow": drip(b"HTTP/1.1 404 Not Found\r\nContent-Length: 500\r\n\r\n", b"x"),
    "/forbidden": whole(b"", status="403 Forbidden"),
    "/partial": whole(b"pic", status="206 Partial Content"),
    "/empty": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/unasked-304": b"HTTP/1.1 304 Not Modified\r\n\r\n",
    "/limited": whole(b"", "Retry-After: 7", status="429 Too Many Requests"),
    "/limited-until": whole(b"", "Retry-After: Wed, 25 Nov 2026 08:00:30 GMT", status="429 Slow down"),
    "/limited-garbage": whole(b"", "Retry-After: soon", status="429 Slow down"),
    "/limited-long": whole(b"", "Retry-After: 99999999", status="429 Slow down"),
    "/busy": whole(b"", "Retry-After: 1", status="503 Busy"),
    "/broken": whole(b"", status="500 Broken"),
    "/request-timeout": whole(b"", status="408 Request Timeout"),
    "/too-early": whole(b"", status="425 Too Early"),
    "/forbidden-later": whole(b"", "Retry-After: 9", status="403 Forbidden"),
    # not as asked, or not as stated
    "/gzip": whole(BOMB, "Content-Encoding: gzip"),
    "/gzip-unnamed": whole(BOMB),
    "/gzip-transfer": once(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + BOMB),
    "/stated-large": once(OK + b"Content-Length: 99999999999\r\n\r\n"),
    "/stated-twice": once(OK + b"Content-Length: 7\r\nContent-Length: 70\r\n\r\npicture"),
    "/stated-negative": once(OK + b"Content-Length: -1\r\n\r\npicture"),
    "/stated-short": whole(b"picture") + b" and more",
    "/stated-both": once(
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npicture\r\n0\r\n\r\n"
    ),
    "/endless": drip(OK + b"\r\n", b"x" * 50_000),
    "/endless-chunked": drip(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"c350\r\n" + b"x" * 50_000 + b"\r\n"
    ),
    "/short": once(OK + b"Content-Length: 100\r\n\r\npic"),
    "/short-chunked": once(OK + b"Transfer-Encoding: chunked\r\n\r\n7\r\npic"),
    "/bad-chunk": once(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\npicture\r\n0\r\n\r\n"),
    "/tiny-chunks": once(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n"),
    "/long-chunk-line": once(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 100_000),
    "/garbage": once(b"\x00\xff\x00\xff nonsense\r\n\r\n"),
    "/spaced-header": once(OK + b"Content-Length : 7\r\n\r\npicture"),
    "/nothing": lambda write: None,
    "/long-header": once(OK + b"X: " + b"x" * 100_000),
    "/many-headers": once(OK + b"X: x\r\n" * 1000 + b"\r\n"),
    "/slow-head": drip(OK + b"X: ", b"x"),
    "/slow-body": drip(OK + b"Content-Length: 500\r\n\r\n", b"x"),
    "/slow-chunks": drip(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "/slow-close": drip(OK + b"\r\n", b"x"),
    "/continues": drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/many-continues": once(b"HTTP/1.1 100 Continue\r\n\r\n" * 30 + whole(b"picture")),
    "/silent": lambda write: time.sleep(5),
    # known already
    "/etag": Conditional('"one"'),
    "/dated": Conditional("", DATE),
    "/fresh": Conditional('"one"', DATE, ("Cache-Control: max-age=60", "Age: 10")),
    "/unstored": Conditional('"one"', "", ("Cache-Control: no-store, max-age=60",)),
    "/new-etag": Conditional('"two"'),
    "/same-bytes": Conditional('"three"', honoured=False),
    "/huge-etag": Conditional('"' + "x" * 60_000 + '"'),
    "/odd-etag": Conditional('"a\tb"', "yesterday"),
}


@dataclass
class Server:
    """A running server: its port, the heads of the requests it has seen and the connections it accepted."""

    port: int
    address: str = "127.0.0.1"
    heads: list[str] = field(default_factory=list)
    connections: list[object] = field(default_factory=list)
    answers: dict[str, Reply] = field(default_factory=lambda: dict(ANSWERS))

    def url(self, path: str, host: str = HOST, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"

    def reply(self, path: str) -> Reply:
        """`/to?URL` redirects to the URL; a path that nobody knows is a picture."""
        if path.startswith("/to?"):
            return redirect(unquote(path.removeprefix("/to?")))
        return self.answers.get(path, whole(b"picture"))

    def hang_up(self) -> None:
        """End every connection, as a server does with one that was idle for too long."""
        for each in self.connections:
            each.close_now()  # type: ignore[attr-defined]  # the handler's own, below
        self.connections.clear()


@contextmanager
def serve(context: ssl.SSLContext | None = None, address: str = "127.0.0.1") -> Iterator[Server]:
    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()
            running.connections.append(self)

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def close_now(self) -> None:
            try:
                self.request.shutdown(2)
            except OSError:  # ended already
                return

        def handle(self) -> None:
            try:
                while self.one_request():
                    pass
            except OSError:  # the client has had enough
                return

        def one_request(self) -> bool:
            head = "".join(iter(lambda: self.rfile.readline().decode().replace("\r\n", "\n") or "\n", "\n"))
            if not head:
                return False
            running.heads.append(head)
            reply = running.reply(head.split()[1])
            if callable(reply):
                reply(self.wfile.write)
                return False
            self.wfile.write(reply if isinstance(reply, bytes) else reply.answer(head))
            return True

    class Quiet(ThreadingTCPServer):
        daemon_threads = True
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        request_queue_size = 128

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that refuses our certificate is not news."""

    with Quiet((address, 0), Handler) as tcp:
        running = Server(tcp.server_address[1], address)
        thread = threading.Thread(target=tcp.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield running
        finally:
            running.hang_up()
            tcp.shutdown()
            thread.join()


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener
        listener.shutdown(socket.SHUT_RDWR)  # wakes whoever accepts


def accepting(listener: socket.socket, serve_one: Callable[[socket.socket], object]) -> None:
    def accept() -> None:
        try:
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve_one, args=(client,), daemon=True).start()
        except OSError:
            return

    threading.Thread(target=accept, daemon=True).start()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def local(host: str, port: int) -> Sequence[str]:
    """Our names are on loopback; literal addresses are themselves."""
    return [host] if host[0].isdigit() or ":" in host else ["127.0.0.1"]


MakeSource = Callable[..., HttpSource]


@pytest.fixture
def make_source(server: Server) -> Iterator[MakeSource]:
    made: list[HttpSource] = []

    def make(
        policy: HttpPolicy | None = None,
        resolver: Callable[[str, int], Sequence[str]] = local,
        schemes: frozenset[str] = frozenset({"http", "https"}),
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time.monotonic,
        clock_ms: Callable[[], int] = lambda: DATE_MS,
    ) -> HttpSource:
        policy = policy or ours(server.port)
        made.append(HttpSource(policy, schemes, max_bytes, resolver, clock, clock_ms))
        return made[-1]

    yield make
    for source in made:
        source.close()


def ours(
    *ports: int, timeout_s: float = 5.0, ca_file: Path | None = None, proxy: str | None = None
) -> HttpPolicy:
    return HttpPolicy(
        timeout_s=timeout_s,
        ports=frozenset({80, 443, *ports}),
        allowed_networks=LOOPBACK,
        ca_file=ca_file,
        proxy=proxy,
    )


def error(source: Source, url: str, known: Validators | None = None) -> ImageError:
    with pytest.raises(ImageError) as caught:
        source.fetch(url, known)
    return caught.value


def data(source: Source, url: str) -> bytes:
    answer = source.fetch(url)
    assert isinstance(answer, Body)
    return answer.data


def validators(source: Source, url: str) -> Validators:
    return source.fetch(url).validators
