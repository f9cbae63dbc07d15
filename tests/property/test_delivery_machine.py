"""Tracker and runner through any interleaving of what a group, a broker and a batch can do.

Two workers of one group, three partitions. After every step: what is committed is done. At the end, when
everything may finish: everything is done and committed. Planted bugs show that the machine would see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from adgauge.errors import ContractMismatch
from adgauge.pipeline.offsets import OffsetTracker
from adgauge.records import Partition, Position
from tests.property.group import LIMITS, PARTITIONS, POLLED, VALUE, Clock, End, Log, Worker

WORKERS = st.integers(0, 1)
PARTITION = st.sampled_from(PARTITIONS)
ENDINGS: st.SearchStrategy[End] = st.sampled_from(["stored", "gave up", "stored and gave up", "broke"])
LINGERED, COMMITTED = 3, 6
"""Turns without records after which a small batch has started, and after which a commit is due."""
ROUNDS = 300
"""Turns in which everything must be able to finish."""


class Delivery(RuleBasedStateMachine):
    """Rules are what can happen; the runner and the tracker are the real ones."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.log = Log()
        self.workers = [Worker(self.log, self.clock) for _ in range(2)]

    @rule(partition=PARTITION, count=st.integers(1, 4), gap=st.sampled_from([0, 0, 0, 1, 7]))
    def publish(self, partition: Partition, count: int, gap: int) -> None:
        for _ in range(count):
            self.log.publish(partition, gap)

    @rule(number=WORKERS, turns=st.integers(1, 4))
    def turn(self, number: int, turns: int) -> None:
        for _ in range(turns):
            self._turn(number)

    def _turn(self, number: int) -> None:
        worker = self.workers[number]
        try:
            worker.runner.turn()
        except ContractMismatch:
            self._leave(number)

    def _leave(self, number: int) -> None:
        self.workers[number].member.close()
        self.workers[number] = Worker(self.log, self.clock)

    @rule(number=WORKERS, which=st.integers(0, LIMITS.batches - 1), ending=ENDINGS)
    def finish_a_batch(self, number: int, which: int, ending: End) -> None:
        hands = self.workers[number].hands
        if which < hands.running:
            hands.finish(which, ending)

    @rule(number=WORKERS, blocked=st.booleans())
    def the_later_batch_ends_first_and_there_is_time_to_commit(self, number: int, blocked: bool) -> None:
        self.workers[number].blocked = blocked
        self.turn(number, LINGERED)
        self.finish_a_batch(number, LIMITS.batches - 1, "stored")
        self.turn(number, COMMITTED)

    @rule(number=WORKERS, partition=PARTITION)
    def assign(self, number: int, partition: Partition) -> None:
        if not any(partition in each.member.owned for each in self.workers):
            self.workers[number].member.assign([partition])

    @rule(number=WORKERS)
    def assign_all_that_are_free(self, number: int) -> None:
        for partition in PARTITIONS:
            self.assign(number, partition)

    @rule(number=WORKERS, partitions=st.sets(PARTITION, min_size=1), committed=st.booleans())
    def revoke(self, number: int, partitions: set[Partition], committed: bool) -> None:
        member = self.workers[number].member
        member.revoke(sorted(partitions & set(member.owned)), committed=committed)

    @rule(number=WORKERS, partitions=st.sets(PARTITION, min_size=1))
    def lose(self, number: int, partitions: set[Partition]) -> None:
        member = self.workers[number].member
        member.lose(sorted(partitions & set(member.owned)))

    @rule(number=WORKERS, partition=PARTITION, comes_back=st.booleans(), lost=st.booleans())
    def move_between_fetch_and_delivery(
        self, number: int, partition: Partition, comes_back: bool, lost: bool
    ) -> None:
        self._turn(number)  # what was published before is in flight when more of it is fetched
        self.publish(partition, POLLED, 0)

        def move() -> None:
            if partition in self.workers[number].member.owned:
                if lost:
                    self.lose(number, {partition})
                else:
                    self.revoke(number, {partition}, committed=True)
            if comes_back:
                self.assign(number, partition)

        self.workers[number].member.between = move
        self._turn(number)

    @rule(number=WORKERS, partition=PARTITION, lost=st.booleans())
    def move_and_come_back_while_a_batch_runs(self, number: int, partition: Partition, lost: bool) -> None:
        self.assign(number, partition)
        self.publish(partition, LIMITS.batch_records, 0)
        self.move_between_fetch_and_delivery(number, partition, comes_back=True, lost=lost)
        self.the_later_batch_ends_first_and_there_is_time_to_commit(number, blocked=True)

    @rule(number=WORKERS, fail=st.booleans())
    def commits(self, number: int, fail: bool) -> None:
        self.workers[number].member.commits_fail = fail

    @rule(number=WORKERS, blocked=st.booleans())
    def block(self, number: int, blocked: bool) -> None:
        self.workers[number].blocked = blocked

    @rule(number=WORKERS)
    def crash(self, number: int) -> None:
        self.workers[number] = Worker(self.log, self.clock)

    @rule(number=WORKERS, endings=st.lists(ENDINGS, max_size=3), at_once=st.booleans())
    def stop(self, number: int, endings: list[End], at_once: bool) -> None:
        worker = self.workers[number]
        worker.endings_in_drain = endings
        started = self.clock()
        with suppress(ContractMismatch):
            worker.runner.drain(lambda: at_once)
        assert self.clock() - started <= LIMITS.drain_s + 0.2
        self._leave(number)

    @invariant()
    def what_is_committed_is_done(self) -> None:
        for partition, records in self.log.records.items():
            passed = [each for each in records if each.position.offset < self.log.committed[partition]]
            missing = [each.position for each in passed if not self.log.stored[each.position]]
            assert not missing, f"committed {self.log.committed[partition]} without {missing}"

    @invariant()
    def what_is_in_flight_is_bounded(self) -> None:
        for worker in self.workers:
            assert 0 <= worker.runner.in_flight < LIMITS.records + POLLED
            counted = worker.value(worker.metrics.in_flight_records)
            assert worker.value(worker.metrics.in_flight_bytes) == counted * len(VALUE)
            assert (worker.value(worker.metrics.oldest_undecided_seconds) > 0) <= (counted > 0)

    def teardown(self) -> None:
        """Everything may finish: it does, nothing stays in flight, and the group has committed the end."""
        for number, worker in enumerate(self.workers):
            worker.blocked = worker.member.commits_fail = False
            self.assign_all_that_are_free(number)
        for partition in PARTITIONS:  # a poll that goes on settles what a move during a poll left uncertain
            self.log.publish(partition, 0)
        for _ in range(ROUNDS):
            if self._finished():
                break
            for number in range(len(self.workers)):
                while self.workers[number].hands.running:
                    self.workers[number].hands.finish(0, "stored")
                self._turn(number)
                self.assign_all_that_are_free(number)
        self.what_is_committed_is_done()
        assert {name: self.log.end(name) for name in PARTITIONS} == self.log.committed
        assert not any(worker.runner.in_flight for worker in self.workers)

    def _finished(self) -> bool:
        caught_up = all(self.log.end(name) == self.log.committed[name] for name in PARTITIONS)
        return caught_up and not any(worker.runner.in_flight for worker in self.workers)


def run(examples: int, *, shrink: bool) -> None:
    phases = [Phase.explicit, Phase.generate] + ([Phase.shrink] if shrink else [])
    run_state_machine_as_test(
        Delivery,
        settings=settings(max_examples=examples, stateful_step_count=40, phases=phases, print_blob=False),
    )


def test_whatever_happens_nothing_is_committed_before_it_is_done_and_all_is_done_in_the_end() -> None:
    run(500, shrink=False)


class CommitsTheHighest(OffsetTracker):
    """Planted: the highest offset that is done, whatever is missing in front of it."""

    def complete(self, position: Position) -> None:
        super().complete(position)
        progress = self._partitions.get(position.partition)
        if progress is not None:
            progress.next = max(progress.next or 0, position.offset + 1)


class CommitsWhatWasDelivered(OffsetTracker):
    """Planted: at most once."""

    def deliver(self, position: Position, moves: Mapping[Partition, int]) -> bool:
        ours = super().deliver(position, moves)
        super().complete(position)
        return ours


class TakesWhatCameBeforeTheMove(OffsetTracker):
    """Planted: records fetched under the assignment before count as the first of the present one."""

    def deliver(self, position: Position, moves: Mapping[Partition, int]) -> bool:
        return super().deliver(position, self.moves())


class WaitsForGaps(OffsetTracker):
    """Planted: an offset that compaction removed holds the partition up for ever."""

    def complete(self, position: Position) -> None:
        progress = self._partitions.get(position.partition)
        expected = progress.next if progress is not None else None
        if expected is None or position.offset <= expected:
            super().complete(position)


class KeepsWhatWasDone(OffsetTracker):
    """Planted: what the assignment before had got to is committed in the present one."""

    def assign(self, partitions: Sequence[Partition]) -> None:  # type: ignore[override]
        super().assign(partitions)
        for partition in partitions:
            seen = self._seen.get(partition)
            self._partitions[partition].next = seen

    def __init__(self) -> None:
        super().__init__()
        self._seen: dict[Partition, int] = {}

    def deliver(self, position: Position, moves: Mapping[Partition, int]) -> bool:
        self._seen[position.partition] = position.offset + 1
        return super().deliver(position, moves)


@pytest.mark.parametrize(
    "planted",
    [
        CommitsTheHighest,
        CommitsWhatWasDelivered,
        TakesWhatCameBeforeTheMove,
        WaitsForGaps,
        KeepsWhatWasDone,
    ],
)
def test_the_machine_finds_a_planted_bug(
    planted: type[OffsetTracker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adgauge.pipeline.runner.OffsetTracker", planted)
    with pytest.raises(AssertionError):
        run(3000, shrink=False)  # the rarest is found once in 150
