"""The fetcher against a server of ours that misbehaves in every way, over real sockets on loopback."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.http import HttpPolicy, HttpSource

MAX_BYTES = 200_000
LOOPBACK = (ip_network("127.0.0.0/8"),)
HOST = "pictures.test"
Write = Callable[[bytes], object]


def whole(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def redirect(location: str) -> bytes:
    return whole(b"", f"Location: {location}", status="302 Found")


def drip(write: Write, first: bytes, piece: bytes) -> None:
    write(first)
    for _ in range(200):
        write(piece)
        time.sleep(0.05)


ANSWERS: dict[str, Callable[[Write], object]] = {
    "/picture": lambda write: write(whole(b"picture")),
    "/chunked": lambda write: write(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"
    ),
    "/closed": lambda write: write(b"HTTP/1.0 200 OK\r\n\r\npicture"),
    "/continue": lambda write: write(b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"picture")),
    "/moved": lambda write: write(redirect("/picture")),
    "/moved2": lambda write: write(redirect("/moved")),
    "/moved3": lambda write: write(redirect("/moved2")),
    "/moved4": lambda write: write(redirect("/moved3")),
    "/loop": lambda write: write(redirect("/loop")),
    "/to-private": lambda write: write(redirect("http://10.0.0.1/")),
    "/to-metadata": lambda write: write(redirect("http://169.254.169.254/latest/meta-data/")),
    "/to-mapped": lambda write: write(redirect("http://[::ffff:10.0.0.1]/")),
    "/to-file": lambda write: write(redirect("file:///etc/passwd")),
    "/to-nothing": lambda write: write(redirect("http://[")),
    "/gone": lambda write: write(whole(b"", status="410 Gone")),
    "/missing": lambda write: write(whole(b"not here", status="404 Not Found")),
    "/forbidden": lambda write: write(whole(b"", status="403 Forbidden")),
    "/busy": lambda write: write(whole(b"", "Retry-After: 1", status="503 Busy")),
    "/gzip": lambda write: write(whole(b"\x1f\x8b", "Content-Encoding: gzip")),
    "/stated-large": lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n"),
    "/endless": lambda write: drip(write, b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 50_000),
    "/short": lambda write: write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npic"),
    "/garbage": lambda write: write(b"\x00\xff\x00\xff nonsense\r\n\r\n"),
    "/nothing": lambda write: None,
    "/long-header": lambda write: write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000),
    "/many-headers": lambda write: write(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 1000 + b"\r\n"),
    "/slow-head": lambda write: drip(write, b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "/slow-body": lambda write: drip(write, b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", b"x"),
    "/slow-close": lambda write: drip(write, b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    "/continues": lambda write: drip(write, b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "/silent": lambda write: time.sleep(5),
}


@dataclass
class Server:
    """A running server: its port and the heads of the requests it has seen."""

    port: int
    heads: list[str] = field(default_factory=list)

    def url(self, path: str, host: str = HOST, scheme: str = "http") -> str:
        return f"{scheme}://{host}:{self.port}{path}"


def serve(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()

        def finish(self) -> None:
            super().finish()
            self.request.close()

        def handle(self) -> None:
            head = "".join(iter(lambda: self.rfile.readline().decode().replace("\r\n", "\n"), "\n"))
            running.heads.append(head)
            try:
                ANSWERS[head.split()[1]](self.wfile.write)
            except OSError:  # the client has had enough
                return

    class Quiet(ThreadingTCPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that refuses our certificate is not news."""

    with Quiet(("127.0.0.1", 0), Handler) as tcp:
        running = Server(tcp.server_address[1])
        thread = threading.Thread(target=tcp.serve_forever, args=(0.05,))
        thread.start()
        yield running
        tcp.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    yield from serve()


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
    ) -> HttpSource:
        made.append(HttpSource(policy or ours(server.port), schemes, MAX_BYTES, resolver))
        return made[-1]

    yield make
    for source in made:
        source.close()


def ours(*ports: int, timeout_s: float = 2.0, ca_file: Path | None = None) -> HttpPolicy:
    return HttpPolicy(
        timeout_s=timeout_s, ports=frozenset({80, 443, *ports}), allowed_networks=LOOPBACK, ca_file=ca_file
    )


def reason(source: HttpSource, url: str) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        source.fetch(url)
    return caught.value.reason


@pytest.mark.parametrize("path", ["/picture", "/chunked", "/closed", "/continue", "/moved", "/moved3"])
def test_a_picture_is_fetched(path: str, server: Server, make_source: MakeSource) -> None:
    assert make_source().fetch(server.url(path)) == b"picture"


def test_the_request_names_host_and_agent_and_nothing_else(server: Server, make_source: MakeSource) -> None:
    make_source().fetch(server.url("/picture"))

    lines = server.heads[-1].splitlines()
    assert lines[0] == "GET /picture HTTP/1.1"
    assert f"Host: {HOST}:{server.port}" in lines
    assert {line.split(":")[0] for line in lines[1:]} == {
        *("Host", "Accept", "Accept-Encoding", "Connection", "User-Agent")
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/missing", ImageReason.NOT_FOUND),
        ("/gone", ImageReason.NOT_FOUND),
        ("/forbidden", ImageReason.HTTP_ERROR),
        ("/busy", ImageReason.HTTP_ERROR),
        ("/gzip", ImageReason.HTTP_ERROR),
        ("/loop", ImageReason.HTTP_ERROR),
        ("/moved4", ImageReason.HTTP_ERROR),
        ("/to-private", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-metadata", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-mapped", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-file", ImageReason.SCHEME_NOT_ALLOWED),
        ("/to-nothing", ImageReason.BAD_REFERENCE),
        ("/stated-large", ImageReason.TOO_LARGE),
        ("/endless", ImageReason.TOO_LARGE),
        ("/short", ImageReason.CONNECTION),
        ("/garbage", ImageReason.CONNECTION),
        ("/nothing", ImageReason.CONNECTION),
        ("/long-header", ImageReason.CONNECTION),
        ("/many-headers", ImageReason.CONNECTION),
    ],
)
def test_every_way_to_misbehave_has_a_reason(
    path: str, expected: ImageReason, server: Server, make_source: MakeSource
) -> None:
    assert reason(make_source(), server.url(path)) == expected


@pytest.mark.parametrize("path", ["/slow-head", "/slow-body", "/slow-close", "/continues", "/silent"])
def test_time_is_bounded_as_a_whole(path: str, server: Server, make_source: MakeSource) -> None:
    source = make_source(ours(server.port, timeout_s=0.4))
    start = time.monotonic()

    assert reason(source, server.url(path)) == ImageReason.TIMEOUT
    assert time.monotonic() - start < 1.0


def test_a_time_limit_that_passed_while_the_worker_was_frozen_costs_no_picture(server: Server) -> None:
    asked: list[float] = []

    def clock() -> float:
        asked.append(0.0)
        return time.monotonic() + (60.0 if len(asked) > 2 else 0.0)

    source = HttpSource(ours(server.port), {"http"}, MAX_BYTES, lambda host, port: ["127.0.0.1"], clock)
    try:
        assert source.fetch(server.url("/picture")) == b"picture"
    finally:
        source.close()


class TestGuard:
    def test_a_private_address_is_never_connected_to(self, server: Server, make_source: MakeSource) -> None:
        source = make_source(HttpPolicy(ports=frozenset({server.port})))
        seen = len(server.heads)

        assert reason(source, server.url("/picture")) == ImageReason.FORBIDDEN_ADDRESS
        assert reason(source, server.url("/picture", "127.0.0.1")) == ImageReason.FORBIDDEN_ADDRESS
        assert len(server.heads) == seen

    def test_one_private_address_among_public_ones_is_enough(
        self, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source(resolver=lambda host, port: ["127.0.0.1", "10.0.0.1"])

        assert reason(source, server.url("/picture")) == ImageReason.FORBIDDEN_ADDRESS

    def test_the_checked_address_is_the_one_connected_to(
        self, server: Server, make_source: MakeSource
    ) -> None:
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        source = make_source(resolver=lambda host, port: next(answers))

        assert source.fetch(server.url("/picture")) == b"picture"

    def test_a_name_that_changes_between_hops_is_checked_again(
        self, server: Server, make_source: MakeSource
    ) -> None:
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        source = make_source(resolver=lambda host, port: next(answers))

        assert reason(source, server.url("/moved")) == ImageReason.FORBIDDEN_ADDRESS

    def test_an_address_that_refuses_leaves_the_next(self, server: Server, make_source: MakeSource) -> None:
        source = make_source(resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"])

        assert source.fetch(server.url("/picture")) == b"picture"

    @pytest.mark.parametrize("host", ["0x7f000001", "2130706433", "127.1", "0177.0.0.1", "localhost"])
    def test_odd_spellings_of_loopback_are_seen_through(self, host: str) -> None:
        source = HttpSource(HttpPolicy(), {"http"}, MAX_BYTES)

        assert reason(source, f"http://{host}/") in (
            ImageReason.FORBIDDEN_ADDRESS,
            ImageReason.UNRESOLVED,  # where the system's resolver knows no such spelling
        )
        source.close()

    def test_a_scheme_that_is_not_allowed_is_refused_on_redirects_too(
        self, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source(schemes=frozenset({"https"}))

        assert reason(source, server.url("/picture")) == ImageReason.SCHEME_NOT_ALLOWED


class TestResolving:
    def test_a_host_without_address_has_a_reason(self, make_source: MakeSource) -> None:
        def unknown(host: str, port: int) -> Sequence[str]:
            raise OSError("Name or service not known")

        assert reason(make_source(resolver=unknown), "http://a.example/") == ImageReason.UNRESOLVED
        empty = make_source(resolver=lambda host, port: [])
        assert reason(empty, "http://a.example/") == ImageReason.UNRESOLVED

    def test_a_host_without_an_address_is_not_asked_for_again_at_once(self) -> None:
        asked: list[str] = []
        now = [0.0]

        def unknown(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            raise OSError("Name or service not known")

        source = HttpSource(HttpPolicy(), {"https"}, MAX_BYTES, unknown, clock=lambda: now[0])
        for name in ("a", "a", "b"):
            assert reason(source, f"https://{name}.example/") == ImageReason.UNRESOLVED
        assert asked == ["a.example", "b.example"]
        now[0] = 31.0
        assert reason(source, "https://a.example/") == ImageReason.UNRESOLVED
        assert asked == ["a.example", "b.example", "a.example"]
        source.close()

    def test_a_resolver_that_hangs_is_left_behind(self, make_source: MakeSource) -> None:
        release = threading.Event()
        hanging = make_source(
            ours(timeout_s=0.2), lambda host, port: ["127.0.0.1"] if release.wait(10) else []
        )
        start = time.monotonic()

        assert reason(hanging, "http://a.example/") == ImageReason.TIMEOUT
        assert time.monotonic() - start < 1.0
        release.set()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 "
        f"-keyout key.pem -out cert.pem -subj /CN={HOST} -addext subjectAltName=DNS:{HOST}"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def secure(certificate: Path) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    yield from serve(context)


class TestTls:
    def test_the_certificate_is_checked_against_the_name_in_the_url(
        self, secure: Server, certificate: Path, make_source: MakeSource
    ) -> None:
        source = make_source(ours(secure.port, ca_file=certificate / "cert.pem"))

        assert source.fetch(secure.url("/picture", scheme="https")) == b"picture"
        assert f"Host: {HOST}:{secure.port}" in secure.heads[-1]
        assert reason(source, secure.url("/picture", "other.test", "https")) == ImageReason.CONNECTION

    def test_an_unknown_authority_is_refused(self, secure: Server, make_source: MakeSource) -> None:
        source = make_source(ours(secure.port))

        assert reason(source, secure.url("/picture", scheme="https")) == ImageReason.CONNECTION

    def test_a_server_without_tls_is_refused(self, server: Server, make_source: MakeSource) -> None:
        assert reason(make_source(), server.url("/picture", scheme="https")) in (
            ImageReason.CONNECTION,
            ImageReason.TIMEOUT,
        )

    def test_a_slow_body_is_cut_off_over_tls_too(
        self, secure: Server, certificate: Path, make_source: MakeSource
    ) -> None:
        source = make_source(ours(secure.port, timeout_s=0.5, ca_file=certificate / "cert.pem"))
        start = time.monotonic()

        assert reason(source, secure.url("/slow-close", scheme="https")) == ImageReason.TIMEOUT
        assert time.monotonic() - start < 1.5

    def test_a_missing_authority_file_is_the_operator_s_to_fix(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="CA file"):
            HttpSource(HttpPolicy(ca_file=tmp_path / "absent.pem"), {"https"}, MAX_BYTES)
