"""The fetcher against a server of ours that misbehaves in every way, over real sockets on loopback."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from adgauge.canonical.image import ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.http import HttpPolicy, HttpSource
from tests.misbehaving_server import (
    BOMB,
    HOST,
    MAX_BYTES,
    MakeSource,
    Server,
    data,
    drip,
    error,
    ours,
    validators,
)


@pytest.mark.parametrize(
    "path",
    [
        *("/picture", "/chunked", "/closed", "/says-close", "/continue", "/bare-newlines", "/folded"),
        *("/moved", "/moved3", "/stated-short", "/stated-both"),
    ],
)
def test_a_picture_is_fetched(path: str, server: Server, make_source: MakeSource) -> None:
    assert data(make_source(), server.url(path)) == b"picture"


def test_the_request_names_host_and_agent_and_nothing_else(server: Server, make_source: MakeSource) -> None:
    data(make_source(), server.url("/picture"))

    lines = server.heads[-1].splitlines()
    assert lines[0] == "GET /picture HTTP/1.1"
    assert f"Host: {HOST}:{server.port}" in lines
    assert [line.split(":")[0] for line in lines[1:]] == ["Host", "Accept", "Accept-Encoding", "User-Agent"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/missing", ImageReason.NOT_FOUND),
        ("/gone", ImageReason.NOT_FOUND),
        ("/missing-slow", ImageReason.NOT_FOUND),
        ("/forbidden", ImageReason.HTTP_ERROR),
        ("/partial", ImageReason.HTTP_ERROR),
        ("/empty", ImageReason.HTTP_ERROR),
        ("/unasked-304", ImageReason.HTTP_ERROR),
        ("/nowhere", ImageReason.HTTP_ERROR),
        ("/limited", ImageReason.RATE_LIMITED),
        ("/busy", ImageReason.SERVER_ERROR),
        ("/broken", ImageReason.SERVER_ERROR),
        ("/request-timeout", ImageReason.SERVER_ERROR),
        ("/too-early", ImageReason.SERVER_ERROR),
        ("/gzip", ImageReason.HTTP_ERROR),
        ("/gzip-transfer", ImageReason.HTTP_ERROR),
        ("/loop", ImageReason.HTTP_ERROR),
        ("/loop-a", ImageReason.HTTP_ERROR),
        ("/moved4", ImageReason.HTTP_ERROR),
        ("/to-private", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-metadata", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-mapped", ImageReason.FORBIDDEN_ADDRESS),
        ("/to-file", ImageReason.SCHEME_NOT_ALLOWED),
        ("/to-nothing", ImageReason.BAD_REFERENCE),
        ("/stated-large", ImageReason.TOO_LARGE),
        ("/stated-twice", ImageReason.CONNECTION),
        ("/stated-negative", ImageReason.CONNECTION),
        ("/endless", ImageReason.TOO_LARGE),
        ("/endless-chunked", ImageReason.TOO_LARGE),
        ("/short", ImageReason.CONNECTION),
        ("/short-chunked", ImageReason.CONNECTION),
        ("/bad-chunk", ImageReason.CONNECTION),
        ("/tiny-chunks", ImageReason.CONNECTION),
        ("/long-chunk-line", ImageReason.CONNECTION),
        ("/garbage", ImageReason.CONNECTION),
        ("/spaced-header", ImageReason.CONNECTION),
        ("/nothing", ImageReason.CONNECTION),
        ("/long-header", ImageReason.CONNECTION),
        ("/many-headers", ImageReason.CONNECTION),
        ("/many-continues", ImageReason.CONNECTION),
    ],
)
def test_every_way_to_misbehave_has_a_reason(
    path: str, expected: ImageReason, server: Server, make_source: MakeSource
) -> None:
    assert error(make_source(), server.url(path)).reason == expected


@pytest.mark.parametrize(
    ("path", "seconds"),
    [
        ("/limited", 7),
        ("/limited-until", 30),
        ("/limited-garbage", 0),
        ("/limited-long", 3600),
        ("/busy", 1),
        ("/forbidden-later", 0),
    ],
)
def test_a_server_says_when_to_come_again(
    path: str, seconds: float, server: Server, make_source: MakeSource
) -> None:
    assert error(make_source(), server.url(path)).retry_after_s == seconds


def test_what_only_the_content_shows_is_left_to_the_decoder(server: Server, make_source: MakeSource) -> None:
    assert data(make_source(), server.url("/html")) == b"<html></html>"
    assert data(make_source(), server.url("/gzip-unnamed")) == BOMB


def test_a_picture_of_just_the_allowed_size_is_fetched(server: Server, make_source: MakeSource) -> None:
    assert len(data(make_source(), server.url("/large"))) == MAX_BYTES
    assert error(make_source(max_bytes=MAX_BYTES - 1), server.url("/large")).reason == ImageReason.TOO_LARGE


def test_more_large_pictures_than_are_read_at_once_are_all_read(
    server: Server, make_source: MakeSource
) -> None:
    source = make_source(ours(server.port, timeout_s=20.0), max_bytes=10 << 20)
    server.answers["/huge"] = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 << 20) + bytes(3 << 20)
    sizes: list[int] = []
    threads = [
        threading.Thread(target=lambda: sizes.append(len(data(source, server.url("/huge")))))
        for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sizes == [3 << 20] * 20


def test_large_pictures_that_drip_hold_up_those_of_their_own_host_alone(
    server: Server, make_source: MakeSource
) -> None:
    source = make_source(ours(server.port, timeout_s=2.0), max_bytes=10 << 20)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 << 20)
    server.answers["/huge"] = head + bytes(3 << 20)
    server.answers["/huge-slow"] = drip(head + bytes((2 << 20) + 1), b"x")
    dripping = [
        threading.Thread(target=error, args=(source, server.url("/huge-slow", f"{host}.test")))
        for host in "aaaaaabbbbbb"
    ]
    for thread in dripping:
        thread.start()
    time.sleep(0.5)

    assert len(data(source, server.url("/huge"))) == 3 << 20
    assert all(thread.is_alive() for thread in dripping)
    for thread in dripping:
        thread.join()


@pytest.mark.parametrize(
    "path", ["/slow-head", "/slow-body", "/slow-chunks", "/slow-close", "/continues", "/silent"]
)
def test_time_is_bounded_as_a_whole(path: str, server: Server, make_source: MakeSource) -> None:
    source = make_source(ours(server.port, timeout_s=0.4))
    start = time.monotonic()

    assert error(source, server.url(path)).reason == ImageReason.TIMEOUT
    assert time.monotonic() - start < 2.5


def test_a_time_limit_that_passed_while_the_worker_was_frozen_costs_no_picture(
    server: Server, make_source: MakeSource
) -> None:
    asked: list[float] = []

    def clock() -> float:
        asked.append(0.0)
        return time.monotonic() + (60.0 if len(asked) > 2 else 0.0)

    assert data(make_source(clock=clock), server.url("/picture")) == b"picture"


def test_the_way_to_a_picture_is_told_step_by_step(server: Server, make_source: MakeSource) -> None:
    steps: list[tuple[str, str]] = []
    make_source().fetch(server.url("/moved"), trace=lambda step, detail: steps.append((step, detail)))

    assert [step for step, _ in steps] == [
        *("url", "resolve", "connect", "request", "status", "redirect"),
        *("url", "connect", "request", "status", "body"),
    ]
    assert ("resolve", "127.0.0.1 may be asked") in steps
    assert ("redirect", server.url("/picture")) in steps


class TestConditionalRequests:
    @pytest.mark.parametrize("path", ["/etag", "/dated", "/fresh", "/same-bytes"])
    def test_a_picture_that_is_known_is_unchanged(
        self, path: str, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source()
        known = validators(source, server.url(path))

        assert known.sha256
        again = source.fetch(server.url(path), known)
        assert not hasattr(again, "data")
        assert again.validators == known

    def test_a_picture_that_changed_is_sent(self, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        known = validators(source, server.url("/etag"))
        server.answers["/changes"] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnew"

        answer = source.fetch(server.url("/changes"), known)
        assert getattr(answer, "data", None) == b"new"
        assert "If-None-Match" in server.heads[-1]

    def test_freshness_counts_from_when_the_answer_was_asked_for(
        self, server: Server, make_source: MakeSource
    ) -> None:
        assert validators(make_source(clock_ms=lambda: 1000), server.url("/fresh")).fresh_until_ms == 51_000
        assert validators(make_source(), server.url("/picture")).fresh_until_ms == 0
        assert validators(make_source(), server.url("/unstored")).fresh_until_ms == 0

    @pytest.mark.parametrize("path", ["/huge-etag", "/odd-etag"])
    def test_a_validator_that_nobody_would_send_is_none(
        self, path: str, server: Server, make_source: MakeSource
    ) -> None:
        known = validators(make_source(), server.url(path))

        assert known.etag == ""
        assert known.last_modified == ""

    def test_behind_a_redirect_only_the_last_server_is_asked(
        self, server: Server, make_source: MakeSource
    ) -> None:
        source = make_source()
        known = validators(source, server.url("/to-etag"))
        assert known.location == server.url("/etag")

        answer = source.fetch(server.url("/to-etag"), known)

        assert not hasattr(answer, "data")
        assert answer.validators == known
        first, second = server.heads[-2:]
        assert "If-None-Match" not in first
        assert "If-None-Match" in second

    def test_validators_of_another_place_are_not_sent(self, server: Server, make_source: MakeSource) -> None:
        source = make_source()
        known = validators(source, server.url("/to-etag"))

        source.fetch(server.url("/new-etag"), known)

        assert "If-None-Match" not in server.heads[-1]


class TestResolving:
    def test_a_host_without_address_has_a_reason(self, make_source: MakeSource) -> None:
        def unknown(host: str, port: int) -> Sequence[str]:
            raise OSError("Name or service not known")

        assert error(make_source(resolver=unknown), "http://a.example/").reason == ImageReason.UNRESOLVED
        empty = make_source(resolver=lambda host, port: [])
        assert error(empty, "http://a.example/").reason == ImageReason.UNRESOLVED

    def test_a_host_without_an_address_is_not_asked_for_again_at_once(self, make_source: MakeSource) -> None:
        asked: list[str] = []
        now = [0.0]

        def unknown(host: str, port: int) -> Sequence[str]:
            asked.append(host)
            raise OSError("Name or service not known")

        source = make_source(HttpPolicy(), unknown, clock=lambda: now[0])
        for name in ("a", "a", "b"):
            assert error(source, f"https://{name}.example/").reason == ImageReason.UNRESOLVED
        assert asked == ["a.example", "b.example"]
        now[0] = 31.0
        assert error(source, "https://a.example/").reason == ImageReason.UNRESOLVED
        assert asked == ["a.example", "b.example", "a.example"]

    def test_a_resolver_that_hangs_is_left_behind(self, make_source: MakeSource) -> None:
        release = threading.Event()
        hanging = make_source(
            ours(timeout_s=0.2), lambda host, port: ["127.0.0.1"] if release.wait(10) else []
        )
        start = time.monotonic()

        assert error(hanging, "http://a.example/").reason == ImageReason.TIMEOUT
        assert time.monotonic() - start < 2.5
        release.set()


@pytest.mark.parametrize(
    "policy",
    [
        HttpPolicy(user_agent="two\r\nlines"),
        HttpPolicy(proxy="https://proxy:3128"),
        HttpPolicy(proxy="http://user:secret@proxy:3128"),
        HttpPolicy(proxy="http://proxy"),
        HttpPolicy(proxy="http://proxy:port"),
        HttpPolicy(allowed_hosts=("a/b",)),
        HttpPolicy(denied_hosts=("a.example:80",)),
    ],
)
def test_a_policy_that_cannot_be_is_the_operator_s_to_fix(policy: HttpPolicy) -> None:
    with pytest.raises(ConfigurationError):
        HttpSource(policy, {"https"}, MAX_BYTES)
