"""A log with a consumer group in miniature: rebalances at any moment, commits that fail, gaps, crashes.

Nothing happens by itself: a rule of the machine decides when a batch ends or a partition moves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Gauge

from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.pipeline.ports import PartitionListener
from adgauge.pipeline.runner import Limits, Runner
from adgauge.records import Envelope, Order, Outcome, OutcomeKind, Partition, Position
from adgauge.telemetry.metrics import Metrics

Raw = Envelope[bytes | None]
End = Literal["stored", "gave up", "broke", "stored and gave up"]

PARTITIONS = tuple(Partition("products", number) for number in range(3))
LIMITS = Limits(
    batch_records=3, linger_s=0.2, batches=2, records=8, bytes=10_000, commit_interval_s=0.5, drain_s=2.0
)
POLLED = 4
"""Records of one poll at most."""
VALUE = b"ten bytes!"


class Clock:
    """Stands still unless somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.01)


class Log:
    """What was published, what the group committed, and, for the judge, what was really stored."""

    def __init__(self) -> None:
        self.records: dict[Partition, list[Raw]] = {name: [] for name in PARTITIONS}
        self.committed = dict.fromkeys(PARTITIONS, 0)
        self.stored: Counter[Position] = Counter()

    def publish(self, partition: Partition, gap: int) -> None:
        position = Position(partition, self.end(partition) + gap)
        self.records[partition].append(
            Envelope(VALUE, position, Order(0, position.offset), None, VALUE, (), frozenset())
        )

    def end(self, partition: Partition) -> int:
        records = self.records[partition]
        return records[-1].position.offset + 1 if records else 0

    def commit(self, offsets: Mapping[Partition, int]) -> None:
        for partition, offset in offsets.items():
            assert offset >= self.committed[partition], "a commit went back"
            self.committed[partition] = offset


class Member:
    """See `ports.Source`. `between` happens once, after a poll fetched and before it is delivered."""

    def __init__(self, log: Log, idle: Callable[[float], None]) -> None:
        self._log = log
        self._idle = idle
        self._next: dict[Partition, int] = {}
        self._paused = False
        self.commits_fail = False
        self.between: Callable[[], None] | None = None

    @property
    def owned(self) -> list[Partition]:
        return sorted(self._next)

    def subscribe(self, listener: PartitionListener) -> None:
        self._listener = listener

    def assign(self, partitions: Sequence[Partition]) -> None:
        self._next |= {name: self._log.committed[name] for name in partitions}
        self._listener.assigned(partitions)

    def revoke(self, partitions: Sequence[Partition], *, committed: bool) -> None:
        for name in partitions:
            del self._next[name]
        offsets = self._listener.revoked(partitions)
        if committed:
            self._log.commit(offsets)

    def lose(self, partitions: Sequence[Partition]) -> None:
        for name in partitions:
            del self._next[name]
        self._listener.lost(partitions)

    def poll(self, timeout_s: float) -> Sequence[Raw]:
        records = [] if self._paused else self._fetch()
        between, self.between = self.between, None
        if between is not None:
            between()
        if not records:
            self._idle(timeout_s)
        return records

    def _fetch(self) -> list[Raw]:
        found: list[Raw] = []
        for name, start in self._next.items():
            ahead = [each for each in self._log.records[name] if each.position.offset >= start]
            taken = ahead[: POLLED - len(found)]
            if taken:
                self._next[name] = taken[-1].position.offset + 1
            found += taken
        return found

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        if self.commits_fail or next_offsets.keys() - self._next.keys():
            raise BackendUnavailable("kafka", "not committed")
        self._log.commit(next_offsets)

    def lag(self, undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        return {name: self._log.end(name) - undecided.get(name, start) for name, start in self._next.items()}

    def close(self) -> None:
        self.revoke(self.owned, committed=not self.commits_fail)


class Hands(Executor):
    """Runs the first `batches` of what was submitted; a batch ends when `finish` says so, and how."""

    def __init__(self, batches: int) -> None:
        self._batches = batches
        self._jobs: list[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = []
        self.ending: End = "stored"

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self._jobs.append((future, fn, args))
        self._start()
        return future

    def _start(self) -> None:
        self._jobs = [job for job in self._jobs if not job[0].cancelled()]
        for future, _, _ in self._jobs[: self._batches]:
            if not future.running():
                future.set_running_or_notify_cancel()

    @property
    def running(self) -> int:
        return min(len(self._jobs), self._batches)

    def finish(self, number: int, ending: End) -> None:
        future, fn, args = self._jobs.pop(number)
        self.ending = ending
        try:
            future.set_result(fn(*args))
        except (BackendUnavailable, ContractMismatch) as error:
            future.set_exception(error)
        self._start()


class Worker:
    """The real runner on a member of the group, its batches in the machine's hands."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self.hands = Hands(LIMITS.batches)
        self.member = Member(log, self._idle)
        self.metrics = Metrics(CollectorRegistry())
        self.blocked = False
        self.runner = Runner(
            self.member,
            self._score,
            LIMITS,
            self.metrics,
            clock=clock,
            sleep=clock.sleep,
            blocked=lambda: "redis away" if self.blocked else None,
            progressed=lambda: None,
            pool=self.hands,
        )
        self.member.subscribe(self.runner)
        self.endings_in_drain: list[End] = []

    def _idle(self, timeout_s: float) -> None:
        self.clock.sleep(timeout_s)
        if self.endings_in_drain and self.hands.running:
            self.hands.finish(0, self.endings_in_drain.pop())

    def _score(self, batch: Sequence[Raw]) -> Sequence[Outcome]:
        ending = self.hands.ending
        if ending == "broke":
            raise ContractMismatch("another model")
        if ending != "gave up":
            self.log.stored.update(each.position for each in batch)
        if ending != "stored":
            raise BackendUnavailable("redis", "away")
        return [Outcome(OutcomeKind.SCORED, each.position, None, None, None, None) for each in batch]

    @staticmethod
    def value(gauge: Gauge) -> float:
        """One gauge: to collect the whole registry at every step would take most of the time."""
        return next(iter(gauge.collect())).samples[0].value
