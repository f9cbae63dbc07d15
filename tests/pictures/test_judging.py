"""What measurements are judged by: shares of a catalog, numbers, and the verdict on what was found."""

import json
import math
import time
from collections.abc import Iterator
from contextlib import closing
from socket import socketpair

import pytest

from tests.chaos.watch import Progress
from tests.pictures.catalog import Catalog, Listing, priced_anew
from tests.pictures.hosts import HOSTS, PictureHosts
from tests.pictures.numbers import percentile, rate, trail_s
from tests.pictures.publishing import Published
from tests.pictures.verdict import Found, Line, judge

NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
def catalog() -> Iterator[Catalog]:
    ours, theirs = socketpair()
    with ours, theirs, closing(PictureHosts(ours, 8080, HOSTS)) as hosts:
        yield Catalog(hosts, "test")


def listing(grey: int = 51) -> Listing:
    return Listing("A-1", "healthy", 1, grey, HOSTS[0], "/p/51/a.png", "http://127.0.0.11/p/51/a.png")


def found(
    what: Listing, score: float | None, flags: str = "-", scored_at_ms: int = NOW_MS, offset: int = 7
) -> Found:
    published = Published(what, NOW_MS - 2000, 0, offset)
    line = None if score is None else Line(score, NOW_MS - 2000, offset, scored_at_ms, flags, "d")
    return Found(published, line)


LOGGED = {("A-1", NOW_MS - 2000, 7): 1.8}


def test_a_catalog_has_the_shares_that_were_asked_for(catalog: Catalog) -> None:
    mixed = catalog.mixed(5000, dead=0.1, slow=0.05, hostile=0.02)
    kinds = [each.kind for each in mixed]

    assert len({each.id for each in mixed}) == len({each.value for each in mixed}) == 5000
    assert kinds.count("dead") == 500
    assert kinds.count("slow") == pytest.approx(250, abs=20)
    assert kinds.count("hostile") == pytest.approx(100, abs=10)
    for host in HOSTS:
        of_host = [each.kind for each in mixed if each.host == host]
        assert of_host.count("dead") == pytest.approx(500 / 3, abs=5)
        assert of_host.count("slow") == pytest.approx(250 / 3, abs=10)


def test_another_price_is_another_record_of_the_same_creative(catalog: Catalog) -> None:
    before = catalog.healthy(3)
    (after,) = priced_anew([before])
    records = [json.loads(each.value) for each in (before, after)]
    prices = [record.pop("price") for record in records]

    assert prices[0] != prices[1]
    assert records[0] == records[1]


def test_what_came_out_as_it_had_to_is_sound() -> None:
    verdict = judge([found(listing(), 1.8)], LOGGED)

    assert verdict.sound
    assert verdict.records == 1


def test_a_record_without_entry_or_line_is_lost() -> None:
    assert judge([found(listing(), None)], LOGGED).lost == 1
    assert judge([found(listing(), 1.8)], {}).lost == 1


def test_a_picture_that_is_there_and_was_not_seen_is_told_from_a_wrong_score() -> None:
    unseen = judge([found(listing(), 1.0, "i")], LOGGED)
    wrong = judge([found(listing(), 1.7)], LOGGED)

    assert (unseen.unseen, unseen.wrong) == (1, 0)
    assert (wrong.unseen, wrong.wrong) == (0, 1)


def test_a_missing_picture_has_to_be_flagged() -> None:
    dead = Listing("A-1", "dead", 1, 0, HOSTS[0], "/dead/a", "http://127.0.0.11/dead/a")

    assert judge([found(dead, 1.0, "i")], LOGGED).sound
    assert judge([found(dead, 1.0)], LOGGED).wrong == 1


def test_numbers_of_what_was_found() -> None:
    records = [found(listing(), 1.8, scored_at_ms=NOW_MS + 1000 * each) for each in range(4)]

    assert rate(records, NOW_MS / 1000 - 1) == pytest.approx(1.0)
    assert rate([*records, found(listing(), None)], NOW_MS / 1000) == 0
    assert percentile([each.fresh_s for each in records], 0.5) == 3.0
    assert percentile([1.0, 2.0, 9.0], 0.95) == 9.0
    assert percentile([], 0.95) == 0.0


def test_commits_trail_by_the_longest_time_from_a_score_to_the_sample_that_covers_it() -> None:
    day_s = time.time() - time.monotonic()
    scored_s = NOW_MS / 1000
    progress = [
        Progress(scored_s + after_s - day_s, {0: committed}, {0: 10})
        for after_s, committed in ((1.0, 5), (2.0, 8), (4.0, 10))
    ]
    first = found(listing(), 1.8, offset=4)
    last = found(listing(), 1.8, offset=9)

    assert trail_s([first], progress) == pytest.approx(1.0, abs=0.01)
    assert trail_s([last, first], progress) == pytest.approx(4.0, abs=0.01)
    assert trail_s([found(listing(), 1.8, offset=10)], progress) == math.inf
