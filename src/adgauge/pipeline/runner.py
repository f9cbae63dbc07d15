"""From poll to commit. One thread owns the source and never stops polling; batches run on others."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, Protocol

from prometheus_client import Gauge

from adgauge.errors import BackendUnavailable, ConfigurationError
from adgauge.pipeline.offsets import OffsetTracker
from adgauge.pipeline.ports import Source
from adgauge.records import Envelope, Outcome, Partition
from adgauge.telemetry.metrics import Metrics, Rebalance

log = logging.getLogger(__name__)


class Waiting(Protocol):
    """The payload of a record that cannot be decided yet: `score` gave it back, and gets it again."""

    def then(self, call: Callable[[], object]) -> None:
        """Call once it can be, at least once, from any thread; at once when it can be now."""


Raw = Envelope[bytes | None]
Record = Envelope[Any]  # Raw, or Envelope[Waiting]
Score = Callable[[Sequence[Record]], Sequence[Outcome | Record]]

AHEAD = 10
"""Times `Limits.records` may be done behind a record that is not: a restart does them again. As many may
wait for pictures."""
STUCK_S = 60.0
"""A record that is undecided for so long is named in the log, as often."""
POLL_S = 0.1
"""How long a poll waits for records; also the pace of the loop when there are none."""
BUSY_S = 0.02
"""The same while records wait for a thread or for their pictures."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may be in flight, and for how long things are put off."""

    batch_records: int
    linger_s: float  # a smaller batch starts when its first record has waited this long
    batches: int  # running at once
    records: int  # polled and not yet decided: above it the source is paused
    bytes: int
    commit_interval_s: float
    drain_s: float  # what is running at the stop may take this long


@dataclass(frozen=True, slots=True)
class _Polled:
    """A record and when it was polled."""

    record: Record
    since: float


class Runner:
    """Polls, batches, hands out, commits what is done. It is the source's `PartitionListener`.

    `score` decides a batch (`ScoringPipeline.run`), on several threads; what it gives back instead of an
    outcome is asked for again once that is worth while, and takes no thread until then. `clock` counts
    seconds.
    `blocked()` is asked once a loop why nothing may be consumed now, None when something may; what it raises
    ends the run. `progressed()` is called once a loop: alive means that this loop goes round. `held()` says
    how many of the late records wait for somebody who is slow or away, and so do not count as work. `pool`
    runs the batches, by default on `limits.batches` threads.

    Bytes of records in memory, at most: `limits.bytes` + 2 · partitions · max(1 MiB, largest record batch of
    the topic, decompressed). The limits are looked at after each poll, and one poll can bring all that was
    fetched ahead, which is one fetch of each partition; by then as much is on its way again. (1 MiB is
    kafka-python's `max_partition_fetch_bytes`; brokers send a larger batch whole, or a 10 MB record could
    never be read.)
    """

    def __init__(
        self,
        source: Source,
        score: Score,
        limits: Limits,
        metrics: Metrics,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], object],
        blocked: Callable[[], str | None],
        progressed: Callable[[], None],
        held: Callable[[], int] = lambda: 0,
        pool: Executor | None = None,
    ) -> None:
        self._source = source
        self._score = score
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._sleep = sleep
        self._blocked = blocked
        self._progressed = progressed
        self._held = held
        self._tracker = OffsetTracker()
        self._pool = pool or ThreadPoolExecutor(limits.batches, thread_name_prefix="batch")
        self._waiting: deque[_Polled] = deque()
        self._lingers_since = 0.0
        self._running: dict[Future[Sequence[Outcome | Record]], Sequence[_Polled]] = {}
        self._late: dict[int, _Polled] = {}
        self._late_numbers = count()
        self._ready: deque[int] = deque()  # numbers of late records, appended by any thread
        self._records = 0
        self._bytes = 0
        self._paused = False
        self._leaving = False
        self._refused = False
        self._committed_at = self._named_at = clock()

    def run(self, until: Callable[[], bool], at_once: Callable[[], bool]) -> None:
        """Work until `until()`, then finish what is running, commit and close the source.

        `at_once()` ends the finishing, and so does `limits.drain_s`; what is left after that is one poll, one
        commit and the source's `close`, each bounded by the source. Threads of batches that hang are left
        behind: only the end of the process ends them. Raises what ended the work: ContractMismatch,
        ConfigurationError or a bug; whatever was not decided is not committed and comes again.
        """
        try:
            self._source.subscribe(self)
            while not until():
                self.turn()
            self.drain(at_once)
        finally:
            self._leaving = True
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._source.close()

    @property
    def in_flight(self) -> int:
        """Records polled and not yet decided."""
        return self._records

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """See `ports.PartitionListener`."""
        log.info("assigned %s", _names(partitions))
        self._metrics.rebalances.labels(Rebalance.ASSIGNED).inc()
        self._tracker.assign(partitions)
        self._metrics.assigned_partitions.set(len(self._tracker.owned()))

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """See `ports.PartitionListener`."""
        log.info("revoked %s", _names(partitions))
        self._metrics.rebalances.labels(Rebalance.REVOKED).inc()
        return self._forget(partitions)

    def lost(self, partitions: Sequence[Partition]) -> None:
        """See `ports.PartitionListener`."""
        log.warning("lost %s", _names(partitions))
        self._metrics.rebalances.labels(Rebalance.LOST).inc()
        self._forget(partitions)

    def _forget(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        committable = self._tracker.forget(partitions)
        for partition in partitions:
            self._metrics.forget(partition)
        left = len(self._tracker.owned())
        self._metrics.assigned_partitions.set(left)
        if not left and not self._leaving:
            log.warning("no partition is left for this worker: it is idle until the group gives it some")
        return committable

    def turn(self) -> None:
        """One round of the loop: poll, hand out, collect, commit. `run` does it until it is told to stop.

        A batch that gave up on a backend starts again once a round, never faster: a round without new
        records takes `POLL_S`, and new records end at the limits.
        """
        moves = self._tracker.moves()
        self._take(self._poll(), moves)
        self._take_ready()
        self._submit_due()
        for batch in self._collect():
            self._submit(batch)
        self._balance()
        if self._clock() - self._committed_at >= self._limits.commit_interval_s:
            self._commit()
            self._measure_lag()
            self._leave_what_left()
        self._report()

    def _poll(self) -> Sequence[Raw]:
        timeout_s = BUSY_S if self._late else POLL_S
        if self._waiting:
            lingered_s = self._clock() - self._lingers_since
            timeout_s = max(self._limits.linger_s - lingered_s, 0.0) if self._has_room() else BUSY_S
        try:
            return self._source.poll(min(timeout_s, POLL_S))
        except BackendUnavailable as error:
            log.warning("%s", error)
        except ConfigurationError as error:
            self._raise_when_idle(error)
        self._sleep(POLL_S)
        return []

    def _raise_when_idle(self, error: ConfigurationError) -> None:
        """The source can deliver no more: what it delivered before is decided and committed first."""
        if not self._records:
            self._commit()
            raise error
        if not self._refused:
            log.error("%s; ending when the %d records in flight are decided", error, self._records)
        self._refused = True

    def _take(self, records: Sequence[Raw], moves: Mapping[Partition, int]) -> None:
        ours = [record for record in records if self._tracker.deliver(record.position, moves)]
        for record in ours:
            self._hold(record, 1)
        self._line_up([_Polled(record, self._clock()) for record in ours])

    def _take_ready(self) -> None:
        """Records whose wait is over go before new ones: what came after them waits for their commit."""
        over = [self._late.pop(number, None) for number in _drained(self._ready)]
        self._line_up([each for each in over if each is not None], first=True)

    def _line_up(self, records: Sequence[_Polled], *, first: bool = False) -> None:
        if records and not self._waiting:
            self._lingers_since = self._clock()
        if first:
            self._waiting.extendleft(reversed(records))
        else:
            self._waiting.extend(records)

    def _submit_due(self) -> None:
        """Start a full batch, or a smaller one when its first record has lingered, while there is room."""
        size = self._limits.batch_records
        while self._waiting and self._has_room():
            if len(self._waiting) < size and self._clock() - self._lingers_since < self._limits.linger_s:
                return
            self._submit([self._waiting.popleft() for _ in range(min(size, len(self._waiting)))])
            self._lingers_since = self._clock()

    def _has_room(self) -> bool:
        """For one batch on each thread and one behind it; what waits here can still be put in order."""
        return len(self._running) < 2 * self._limits.batches

    def _submit(self, records: Sequence[_Polled]) -> None:
        batch = self._still_ours(records)
        if batch:
            future = self._pool.submit(self._score, [each.record for each in batch])
            self._running[future] = batch

    def _still_ours(self, records: Iterable[_Polled]) -> list[_Polled]:
        """Without records of partitions that went to another worker while they waited."""
        ours = []
        for each in records:
            if self._tracker.tracks(each.record.position):
                ours.append(each)
            else:
                self._hold(each.record, -1)
        return ours

    def _leave_what_left(self) -> None:
        """A late record of a partition that went away may wait for long."""
        gone = [
            number for number, each in self._late.items() if not self._tracker.tracks(each.record.position)
        ]
        self._still_ours([self._late.pop(number) for number in gone])

    def _collect(self) -> list[Sequence[_Polled]]:
        """Mark the records of finished batches as done; returns batches that gave up on a backend."""
        unfinished: list[Sequence[_Polled]] = []
        for future in [future for future in self._running if future.done()]:
            batch = self._running.pop(future)
            try:
                results = future.result()
            except BackendUnavailable:
                unfinished.append(batch)
                continue
            for polled, result in zip(batch, results, strict=True):
                if isinstance(result, Envelope):
                    self._wait_for(result, polled.since)
                    continue
                self._tracker.complete(result.position)
                self._hold(polled.record, -1)
        return unfinished

    def _wait_for(self, record: Envelope[Waiting], since: float) -> None:
        number = next(self._late_numbers)
        self._late[number] = _Polled(record, since)
        record.payload.then(partial(self._ready.append, number))

    def _hold(self, record: Record, sign: int) -> None:
        self._records += sign
        headers = sum(len(name) + len(value) for name, value in record.headers)
        self._bytes += sign * (len(record.value or b"") + len(record.key or b"") + headers)

    def _balance(self) -> None:
        """Pause above a limit, resume below half of it: a pause throws away what was fetched ahead.

        While a backend is away nothing is consumed, and polling goes on: the group must not miss us.
        """
        late, records = min(len(self._late), self._held()), self._limits.records
        load = max(
            (self._records - late) / records, late / (records * AHEAD), self._bytes / self._limits.bytes
        )
        far_ahead = self._tracker.held() >= self._limits.records * AHEAD
        blocked = far_ahead or self._blocked() is not None
        if not self._paused and (blocked or load >= 1.0):
            self._source.pause()
            self._paused = True
        elif self._paused and not blocked and load <= 0.5:
            self._source.resume()
            self._paused = False

    def _commit(self) -> None:
        """Commit what is done."""
        self._committed_at = self._clock()
        offsets = self._tracker.committable()
        if not offsets:
            return
        try:
            self._source.commit(offsets)
        except BackendUnavailable as error:
            self._metrics.commit_failures.inc()
            log.warning(
                "not committed, tried again in %g s: %s; until it succeeds a restart repeats these records,"
                " so check that the brokers answer and that this worker is in its group",
                self._limits.commit_interval_s,
                error,
            )
            return
        self._tracker.committed(offsets)
        self._measure(self._metrics.committed_offset, offsets)

    def _measure_lag(self) -> None:
        """How far the log has gone on."""
        try:
            self._measure(self._metrics.lag_records, self._source.lag(self._tracker.undecided()))
        except BackendUnavailable as error:
            log.debug("lag is not known: %s", error)

    def _measure(self, gauge: Gauge, values: Mapping[Partition, int]) -> None:
        """Set the series of each partition, and leave none of one that just went to another worker."""
        for partition, value in values.items():
            gauge.labels(str(partition.number)).set(value)
        for partition in values.keys() - self._tracker.owned():
            self._metrics.forget(partition)

    def _report(self) -> None:
        self._metrics.in_flight_records.set(self._records)
        self._metrics.in_flight_bytes.set(self._bytes)
        self._metrics.paused.set(self._paused)
        oldest_s = self._oldest_s()
        self._metrics.oldest_undecided_seconds.set(oldest_s)
        if min(oldest_s, self._clock() - self._named_at) >= STUCK_S:
            self._named_at = self._clock()
            first = ", ".join(f"{_names([name])} from {at}" for name, at in self._tracker.undecided().items())
            log.warning("undecided for %.0f s: offsets of %s", oldest_s, first)
        self._progressed()

    def _oldest_s(self) -> float:
        batches = (self._waiting, self._late.values(), *self._running.values())
        since = min((each.since for batch in batches for each in batch), default=None)
        return 0.0 if since is None else self._clock() - since

    def drain(self, at_once: Callable[[], bool]) -> None:
        """Finish the batches that are running, within `drain_s`, and commit; the others come again elsewhere.

        The last thing a runner does before its source is closed.
        """
        self._source.pause()
        self._paused = True
        self._drop(self._waiting)
        self._waiting.clear()
        for future in [future for future in self._running if future.cancel()]:
            self._drop(self._running.pop(future))
        deadline = self._clock() + self._limits.drain_s
        while self._running and self._clock() < deadline and not at_once():
            self._poll()
            self._collect_last()
            self._report()
        self._collect_last()
        self._commit()
        if self._running:
            log.warning("stopped with %d batches unfinished; their records come again", len(self._running))

    def _collect_last(self) -> None:
        for batch in self._collect():
            self._drop(batch)
        self._drop(self._late.values())
        self._late = {}

    def _drop(self, records: Iterable[_Polled]) -> None:
        for each in records:
            self._hold(each.record, -1)


def _drained(numbers: deque[int]) -> Iterator[int]:
    while numbers:
        yield numbers.popleft()


def _names(partitions: Sequence[Partition]) -> str:
    return ", ".join(f"{each.topic}/{each.number}" for each in sorted(partitions)) or "nothing"
