"""Which connections the fetcher opens, keeps and uses again, over real sockets on loopback."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.http import HttpPolicy
from tests.misbehaving_server import (
    HOST,
    MakeSource,
    Server,
    accepting,
    data,
    error,
    listening,
    ours,
    serve,
)


def connections(server: Server) -> int:
    return len(server.connections)


class TestKeptAlive:
    @pytest.mark.parametrize("path", ["/picture", "/chunked", "/continue", "/missing", "/moved", "/busy"])
    def test_an_answer_that_was_read_to_its_end_leaves_the_connection(
        self, path: str, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source()
        before = connections(server)
        for _ in range(3):
            if path in ("/missing", "/busy"):
                error(source, server.url(path))
            else:
                data(source, server.url(path))

        assert connections(server) - before == 1

    @pytest.mark.parametrize(
        "path",
        [
            *("/closed", "/says-close", "/stated-short", "/stated-both", "/stated-large", "/short", "/gzip"),
            *("/missing-slow", "/garbage", "/says-close-and-waits"),
        ],
    )
    def test_any_other_answer_ends_it(self, path: str, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        before = connections(server)
        for _ in range(2):
            with suppress(ImageError):
                source.fetch(server.url(path))
        assert data(source, server.url("/picture")) == b"picture"

        assert connections(server) - before == 3

    def test_a_connection_that_the_server_has_closed_costs_no_picture(
        self, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source()
        for _ in range(3):
            assert data(source, server.url("/picture")) == b"picture"
            server.hang_up()

    def test_a_server_that_closes_on_the_second_request_is_asked_on_a_new_connection(
        self, make_source: MakeSource
    ) -> None:
        """Closed between the check and the request: the race that every keep-alive client must win."""
        with one_answer_each() as (port, accepted):
            source = make_source(ours(port))
            for _ in range(3):
                assert data(source, f"http://pictures.test:{port}/") == b"picture"

        assert len(accepted) == 3

    def test_a_server_that_never_answers_is_asked_once(self, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        before = len(server.heads)

        assert error(source, server.url("/nothing")).reason == ImageReason.CONNECTION
        assert len(server.heads) - before == 1

    def test_a_name_is_not_looked_up_for_an_open_connection(
        self, server: Server, make_source: MakeSource
    ) -> None:
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        source = make_source(resolver=lambda host, port: next(answers))

        for _ in range(3):
            assert data(source, server.url("/moved")) == b"picture"

    def test_a_connection_is_one_origin_s(self, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        before = connections(server)
        data(source, server.url("/picture"))
        data(source, server.url("/picture", "other.test"))

        assert connections(server) - before == 2
        assert f"Host: other.test:{server.port}" in server.heads[-1]

    def test_a_connection_idle_for_long_is_not_used(self, server: Server, make_source: MakeSource) -> None:
        now = [0.0]
        source = make_source(clock=lambda: now[0])
        before = connections(server)
        for at in (0.0, 14.0, 30.0):
            now[0] = at
            data(source, server.url("/picture"))

        assert connections(server) - before == 2

    def test_idle_connections_are_bounded(self, server: Server, make_source: MakeSource) -> None:
        source = make_source(replace(ours(server.port), idle_connections=2))
        before = connections(server)
        for host in ("a.test", "b.test", "c.test", "b.test", "c.test", "a.test"):
            data(source, server.url("/picture", host))

        assert connections(server) - before == 4

    def test_many_threads_share_the_connections(self, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        before = connections(server)
        bodies: list[bytes] = []

        def several() -> None:
            bodies.extend(data(source, server.url("/chunked")) for _ in range(25))

        threads = [threading.Thread(target=several) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert bodies == [b"picture"] * 200
        assert connections(server) - before <= 8


class TestAddresses:
    def test_an_address_that_refuses_leaves_the_next(self, server: Server, make_source: MakeSource) -> None:
        source = make_source(resolver=lambda host, port: ["127.0.0.2", "127.0.0.1"])

        assert data(source, server.url("/picture")) == b"picture"

    @pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
    def test_an_ipv6_address_may_stand_in_a_url(self, make_source: MakeSource) -> None:
        with serve(address="::1") as server:
            loopback = (ip_network("::1/128"),)
            source = make_source(HttpPolicy(ports=frozenset({server.port}), allowed_networks=loopback))

            assert data(source, server.url("/moved", "[::1]")) == b"picture"
            assert f"Host: [::1]:{server.port}\n" in server.heads[-1]

    def test_an_address_that_refuses_alone_is_a_connection_that_failed(self, make_source: MakeSource) -> None:
        assert error(make_source(ours(9)), "http://pictures.test:9/").reason == ImageReason.CONNECTION


@dataclass
class Proxy:
    """A proxy that tunnels, and what it was asked to connect to."""

    port: int
    asked: list[str] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"


@contextmanager
def tunnelling(to: int) -> Iterator[Proxy]:
    """Wherever it is asked to connect to, it is this port on loopback."""
    with listening() as listener:
        proxy = Proxy(listener.getsockname()[1])

        def serve_one(client: socket.socket) -> None:
            with client, socket.create_connection(("127.0.0.1", to)) as onward:
                proxy.asked.append(client.recv(65536).decode().split("\r\n")[0])
                client.sendall(proxy.answer)
                back = threading.Thread(target=pump, args=(onward, client), daemon=True)
                back.start()
                pump(client, onward)
                back.join()

        accepting(listener, serve_one)
        yield proxy


def pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while received := source.recv(65536):
            sink.sendall(received)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        return


@contextmanager
def one_answer_each() -> Iterator[tuple[int, list[int]]]:
    """A server that answers one request of a connection and closes when it reads the second."""
    accepted: list[int] = []

    def serve_one(client: socket.socket) -> None:
        with client:
            accepted.append(1)
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npicture")
            client.recv(65536)

    with listening() as listener:
        accepting(listener, serve_one)
        yield listener.getsockname()[1], accepted


class TestProxy:
    def test_it_is_told_the_checked_address_and_the_server_the_name(
        self, server: Server, make_source: MakeSource
    ) -> None:
        with tunnelling(server.port) as proxy:
            policy = ours(server.port, proxy=f"http://127.0.0.1:{proxy.port}")
            source = make_source(policy, lambda host, port: ["127.0.0.9" if host == HOST else host])

            assert data(source, server.url("/moved")) == b"picture"
            assert proxy.asked == [f"CONNECT 127.0.0.9:{server.port} HTTP/1.1"]
            assert f"Host: {HOST}:{server.port}" in server.heads[-1]

    def test_a_private_address_is_not_asked_of_it(self, server: Server, make_source: MakeSource) -> None:
        with tunnelling(server.port) as proxy:
            policy = HttpPolicy(ports=frozenset({server.port}), proxy=f"http://127.0.0.1:{proxy.port}")

            source = make_source(policy, lambda host, port: ["10.0.0.1"])
            assert error(source, server.url("/picture")).reason == ImageReason.FORBIDDEN_ADDRESS
            assert proxy.asked == []

    @pytest.mark.parametrize(
        "answer", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n", b"what?\r\n\r\n", b""]
    )
    def test_its_own_failures_pass(self, answer: bytes, server: Server, make_source: MakeSource) -> None:
        with tunnelling(server.port) as proxy:
            proxy.answer = answer or b"\r\n\r\n"
            source = make_source(ours(server.port, proxy=f"http://127.0.0.1:{proxy.port}"))

            assert error(source, server.url("/picture")).reason == ImageReason.CONNECTION

    def test_one_that_is_away_or_unknown_fails_as_a_connection(
        self, server: Server, make_source: MakeSource
    ) -> None:
        def only_pictures(host: str, port: int) -> Sequence[str]:
            return ["127.0.0.1"] if host == HOST else []

        away = make_source(ours(server.port, proxy="http://127.0.0.1:9"))
        unknown = make_source(ours(server.port, proxy="http://proxy.test:3128"), only_pictures)

        assert error(away, server.url("/picture")).reason == ImageReason.CONNECTION
        assert error(unknown, server.url("/picture")).reason == ImageReason.CONNECTION

    def test_the_environment_names_none(
        self, server: Server, make_source: MakeSource, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")

        assert data(make_source(), server.url("/picture")) == b"picture"


def test_a_slow_proxy_has_the_picture_s_time_and_no_more(make_source: MakeSource) -> None:
    with serve() as server, listening() as silent:
        port = silent.getsockname()[1]
        source = make_source(ours(server.port, timeout_s=0.3, proxy=f"http://127.0.0.1:{port}"))
        start = time.monotonic()

        assert error(source, server.url("/picture")).reason == ImageReason.TIMEOUT
        assert time.monotonic() - start < 2.5
