"""Records that wait for pictures: they take no thread, hold nobody up, and are bounded."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from adgauge.pipeline.runner import AHEAD
from adgauge.records import Envelope, Outcome
from tests.unit.test_runner import DEADLINE_S, LIMITS, P0, Bench, outcomes


class Picture:
    """What a record waits for: `come` may be called by any thread."""

    def __init__(self) -> None:
        self.is_there = False
        self._calls: list[Callable[[], object]] = []

    def then(self, call: Callable[[], object]) -> None:
        self._calls.append(call)
        if self.is_there:
            call()

    def come(self) -> None:
        self.is_there = True
        for call in self._calls:
            call()


class Gallery:
    """A scorer that gives records with these offsets back until their picture is there."""

    def __init__(self, *offsets: int) -> None:
        self.pictures = {offset: Picture() for offset in offsets}
        self.asked: list[int] = []

    def __call__(self, batch: Sequence[Envelope[Any]]) -> list[Outcome | Envelope[Any]]:
        self.asked += [each.position.offset for each in batch]
        return [self._decided(each) for each in batch]

    def waiting(self) -> int:
        return sum(not picture.is_there for picture in self.pictures.values())

    def _decided(self, record: Envelope[Any]) -> Outcome | Envelope[Any]:
        picture = self.pictures.get(record.position.offset)
        if picture is None or picture.is_there:
            return outcomes([record])[0]
        return record.carrying(picture)


def until_decided(bench: Bench, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "the condition never came true"
        bench.runner.turn()


def test_they_come_again_when_they_can_be_decided_and_hold_nobody_up() -> None:
    gallery = Gallery(3)
    bench = Bench(gallery, records=40)
    bench.source.subscribe(bench.runner)
    until_decided(bench, lambda: len(gallery.asked) == 40)
    for _ in range(20):
        bench.runner.turn()
    assert gallery.asked.count(3) == 1
    bench.runner._commit()
    assert bench.committed == 3
    assert bench.runner.in_flight == 1

    threading.Timer(0.05, gallery.pictures[3].come).start()
    until_decided(bench, lambda: bench.runner.in_flight == 0)
    bench.runner._commit()
    assert (gallery.asked.count(3), bench.committed) == (2, 40)


def test_one_that_can_be_decided_at_once_is() -> None:
    gallery = Gallery(0)
    bench = Bench(gallery, records=1)
    original = gallery.pictures[0].then

    def then(call: Callable[[], object]) -> None:
        gallery.pictures[0].is_there = True
        original(call)

    gallery.pictures[0].then = then  # type: ignore[method-assign]  # it comes between two lines of ours
    bench.run(until=lambda: bench.committed == 1)


def test_those_that_wait_do_not_count_against_what_is_worked_on() -> None:
    """A host that is away holds its own records back, up to a bound, and not everybody's."""
    gallery = Gallery(*range(LIMITS.records * 2))
    bench = Bench(gallery, records=LIMITS.records * 4, held=gallery.waiting)
    bench.source.subscribe(bench.runner)
    until_decided(bench, lambda: len(gallery.asked) == LIMITS.records * 4)
    assert bench.runner.in_flight == LIMITS.records * 2
    assert not bench.source.paused


def test_those_that_wait_because_we_are_busy_count() -> None:
    bench = Bench(Gallery(*range(LIMITS.records * 2)), records=LIMITS.records * 4)
    bench.source.subscribe(bench.runner)
    until_decided(bench, lambda: bench.source.paused)
    assert bench.runner.in_flight <= LIMITS.records + 4


def test_far_more_of_them_pause_the_source() -> None:
    many = LIMITS.records * (AHEAD + 2)
    gallery = Gallery(*range(many))
    bench = Bench(gallery, records=many, held=gallery.waiting)
    bench.source.subscribe(bench.runner)
    until_decided(bench, lambda: bench.source.paused)
    assert bench.runner.in_flight < many


def test_those_of_a_partition_that_went_away_are_dropped() -> None:
    gallery = Gallery(0, 1)
    bench = Bench(gallery, records=2)
    bench.source.subscribe(bench.runner)
    until_decided(bench, lambda: len(gallery.asked) == 2)
    bench.source.revoke([P0])
    until_decided(bench, lambda: bench.runner.in_flight == 0)
    for picture in gallery.pictures.values():
        picture.come()
    for _ in range(10):
        bench.runner.turn()
    assert len(gallery.asked) == 2
    assert bench.committed == 0


def test_a_stop_leaves_them_to_the_next_worker() -> None:
    gallery = Gallery(1)
    bench = Bench(gallery, records=3)
    bench.run(until=lambda: len(gallery.asked) == 3)
    assert bench.committed == 1
    assert bench.runner.in_flight == 0


def test_the_age_of_the_oldest_counts_them() -> None:
    bench = Bench(Gallery(0), records=1)
    bench.source.subscribe(bench.runner)
    begun = time.monotonic()
    until_decided(bench, lambda: time.monotonic() - begun > 0.3)
    oldest = bench.value("adgauge_oldest_undecided_seconds")
    assert oldest is not None
    assert oldest > 0.15
