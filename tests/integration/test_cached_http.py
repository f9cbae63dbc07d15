"""What is asked of a server again, and what is answered from disk and memory."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from adgauge.canonical.image import ImageReason
from adgauge.images.cached import CachedHttp
from adgauge.images.fetched import Body
from adgauge.images.http import HttpPolicy
from adgauge.images.http_cache import HttpCache
from adgauge.records import Unchanged, Validators
from tests.misbehaving_server import (
    Conditional,
    MakeSource,
    Server,
    data,
    error,
    ours,
    redirect,
    validators,
    whole,
)

NOW_MS = 1_795_593_600_000


class World:
    """A cached source with its counts, and a clock that tests move."""

    def __init__(self, server: Server, make_source: MakeSource, folder: Path | None) -> None:
        self.now_s = 0.0
        self.counts: Counter[str] = Counter()
        self.bytes = 0
        self.server = server
        self.cache = HttpCache(folder, 1 << 20, self.clock_ms) if folder is not None else None
        self.source = CachedHttp(
            make_source(clock_ms=self.clock_ms),
            self.cache,
            count=lambda event: self.counts.update([event]),
            count_bytes=self.add,
            clock=lambda: self.now_s,
            clock_ms=self.clock_ms,
        )

    def clock_ms(self) -> int:
        return NOW_MS + int(self.now_s * 1000)

    def add(self, size: int) -> None:
        self.bytes += size

    def requests(self) -> int:
        return len(self.server.heads)


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(server: Server, make_source: MakeSource, tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[World] = []

    def make(disk: bool = True) -> World:
        made.append(World(server, make_source, tmp_path if disk else None))
        return made[-1]

    yield make
    for world in made:
        world.source.close()


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    return make_world()


def test_a_fresh_picture_is_not_asked_for(world: World, server: Server) -> None:
    assert data(world.source, server.url("/fresh")) == b"picture"
    before = world.requests()
    world.now_s = 49.0

    assert data(world.source, server.url("/fresh")) == b"picture"
    assert world.requests() == before
    world.now_s = 51.0
    assert data(world.source, server.url("/fresh")) == b"picture"
    assert world.requests() == before + 1
    assert world.counts == {"downloaded": 1, "fresh": 1, "not_modified": 1}
    assert world.bytes == 7


def test_a_confirmation_makes_it_fresh_again(world: World, server: Server) -> None:
    for now_s in (0.0, 51.0, 52.0):
        world.now_s = now_s
        data(world.source, server.url("/fresh"))

    assert world.counts == {"downloaded": 1, "fresh": 1, "not_modified": 1}


def test_what_the_caller_knows_is_unchanged_without_a_body_or_a_disk(
    make_world: MakeWorld, server: Server
) -> None:
    world = make_world(disk=False)
    known = validators(world.source, server.url("/etag"))

    assert world.source.fetch(server.url("/etag"), known) == Unchanged(known)
    assert world.counts == {"downloaded": 1, "not_modified": 1}
    assert world.bytes == 7


def test_what_the_caller_knows_to_be_fresh_is_not_asked_for(make_world: MakeWorld, server: Server) -> None:
    world = make_world(disk=False)
    known = validators(world.source, server.url("/fresh"))
    before = world.requests()

    assert world.source.fetch(server.url("/fresh"), known) == Unchanged(known)
    assert world.requests() == before


def test_the_same_bytes_under_another_validator_are_unchanged(world: World, server: Server) -> None:
    known = validators(world.source, server.url("/same-bytes"))

    assert world.source.fetch(server.url("/same-bytes"), known) == Unchanged(known)
    assert world.counts == {"downloaded": 1, "same_bytes": 1}
    assert world.bytes == 14


def test_a_caller_that_knows_another_picture_gets_the_one_on_disk(world: World, server: Server) -> None:
    first = validators(world.source, server.url("/etag"))
    other = Validators(etag='"other"', sha256="0" * 32)

    assert world.source.fetch(server.url("/etag"), other) == Body(b"picture", first)
    assert data(world.source, server.url("/etag")) == b"picture"
    assert world.counts["not_modified"] == 1


def test_a_caller_that_knows_only_the_digest_asks_with_the_disk_s_validators(
    world: World, server: Server
) -> None:
    first = validators(world.source, server.url("/etag"))

    assert world.source.fetch(server.url("/etag"), Validators(sha256=first.sha256)) == Unchanged(first)
    assert world.counts == {"downloaded": 1, "not_modified": 1}


def test_a_picture_that_changed_replaces_the_old_one(world: World, server: Server) -> None:
    server.answers["/changing"] = Conditional('"one"')
    known = validators(world.source, server.url("/changing"))
    server.answers["/changing"] = whole(b"new picture", 'ETag: "two"')

    answer = world.source.fetch(server.url("/changing"), known)
    assert isinstance(answer, Body)
    assert (answer.data, answer.validators.etag) == (b"new picture", '"two"')
    assert world.cache is not None
    entry = world.cache.get(server.url("/changing"))
    assert entry is not None
    assert entry.data == b"new picture"


def test_what_may_not_be_stored_is_not(world: World, server: Server) -> None:
    data(world.source, server.url("/unstored"))

    assert world.cache is not None
    assert world.cache.get(server.url("/unstored")) is None
    data(world.source, server.url("/unstored"))
    assert world.counts == {"downloaded": 2}


def test_a_body_that_is_gone_when_the_server_confirms_it_is_fetched(
    world: World, server: Server, tmp_path: Path
) -> None:
    data(world.source, server.url("/etag"))
    (file,) = tmp_path.glob("*.sqlite3")
    with closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("DELETE FROM body")

    assert data(world.source, server.url("/etag")) == b"picture"
    assert world.counts == {"downloaded": 2}


def test_a_redirect_is_followed_each_time(world: World, server: Server) -> None:
    server.answers["/campaign"] = redirect("/fresh")
    assert data(world.source, server.url("/campaign")) == b"picture"
    server.answers["/campaign"] = redirect("/html")

    assert data(world.source, server.url("/campaign")) == b"<html></html>"


class TestFailures:
    @pytest.mark.parametrize("path", ["/missing", "/gone", "/forbidden", "/loop", "/to-private", "/gzip"])
    def test_one_that_lasts_is_answered_from_memory_for_a_minute(
        self, path: str, world: World, server: Server
    ) -> None:
        first = error(world.source, server.url(path))
        before = world.requests()
        world.now_s = 59.0

        again = error(world.source, server.url(path))
        assert (again.reason, again.detail) == (first.reason, first.detail)
        assert world.requests() == before
        assert world.counts == {"negative": 1}
        world.now_s = 61.0
        error(world.source, server.url(path))
        assert world.requests() > before

    @pytest.mark.parametrize("path", ["/busy", "/limited", "/short", "/nothing"])
    def test_one_that_passes_is_not_remembered(self, path: str, world: World, server: Server) -> None:
        error(world.source, server.url(path))
        before = world.requests()
        error(world.source, server.url(path))

        assert world.requests() == before + 1

    def test_memory_is_bounded(self, make_source: MakeSource) -> None:
        looked_up: list[str] = []

        def private(host: str, port: int) -> list[str]:
            looked_up.append(host)
            return ["10.0.0.1"]

        source = CachedHttp(make_source(ours(), private))
        for at in range(10_001):
            assert error(source, f"http://{at}.example/").reason == ImageReason.FORBIDDEN_ADDRESS
        error(source, "http://10000.example/")
        assert len(looked_up) == 10_001
        error(source, "http://0.example/")
        assert len(looked_up) == 10_002

    def test_a_known_picture_that_is_gone_is_gone(self, world: World, server: Server) -> None:
        server.answers["/going"] = Conditional('"one"')
        known = validators(world.source, server.url("/going"))
        server.answers["/going"] = whole(b"", status="404 Not Found")

        assert error(world.source, server.url("/going"), known).reason == ImageReason.NOT_FOUND


def test_without_a_disk_everything_else_works(make_source: MakeSource, server: Server) -> None:
    source = CachedHttp(make_source())

    assert data(source, server.url("/etag")) == b"picture"
    assert error(source, server.url("/missing")).reason == ImageReason.NOT_FOUND
    assert error(CachedHttp(make_source(HttpPolicy())), server.url("/etag")).reason == (
        ImageReason.FORBIDDEN_ADDRESS
    )
