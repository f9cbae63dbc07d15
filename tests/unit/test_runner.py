"""The runner on the in-memory source. Batches are decided by functions the tests control."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from adgauge.adapters.memory import MemoryLog, MemorySource
from adgauge.errors import BackendUnavailable, ConfigurationError, ContractMismatch
from adgauge.pipeline.runner import AHEAD, Limits, Runner, Score
from adgauge.records import Envelope, Outcome, OutcomeKind, Partition
from adgauge.telemetry.metrics import Metrics

Raw = Envelope[bytes | None]
P0 = Partition("products", 0)
LIMITS = Limits(
    batch_records=4, linger_s=0.01, batches=2, records=16, bytes=1000, commit_interval_s=0.0, drain_s=5.0
)
DEADLINE_S = 10.0


def outcomes(batch: Sequence[Raw]) -> list[Outcome]:
    return [Outcome(OutcomeKind.DELETED, each.position, None, None, None, None) for each in batch]


class Gate:
    """A scorer whose batches wait until `opened`; counts what it decided."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.started: list[int] = []
        self.decided: list[int] = []

    def __call__(self, batch: Sequence[Raw]) -> list[Outcome]:
        self.started += [each.position.offset for each in batch]
        if not self.opened.wait(DEADLINE_S):
            raise AssertionError("nobody opened the gate")
        self.decided += [each.position.offset for each in batch]
        return outcomes(batch)


class Bench:
    """A runner over a MemoryLog, run on the test's thread until a condition holds."""

    def __init__(
        self, score: Score, limits: Limits = LIMITS, records: int = 0, held: Callable[[], int] = lambda: 0
    ) -> None:
        self.log = MemoryLog("products", 1)
        for number in range(records):
            self.log.publish(b"k", f"{number}".encode())
        self.source = MemorySource(self.log, lambda _: time.sleep(0.001), max_records=4)
        self.metrics = Metrics(CollectorRegistry())
        self.loops = 0
        self.blocked: str | None = None
        self.runner = Runner(
            self.source,
            score,
            limits,
            self.metrics,
            clock=time.monotonic,
            sleep=time.sleep,
            blocked=lambda: self.blocked,
            progressed=self._progressed,
            held=held,
        )

    def _progressed(self) -> None:
        self.loops += 1

    def run(self, until: Callable[[], bool], at_once: Callable[[], bool] = lambda: False) -> None:
        deadline = time.monotonic() + DEADLINE_S

        def done() -> bool:
            assert time.monotonic() < deadline, "the condition never came true"
            return until()

        self.runner.run(done, at_once)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    @property
    def committed(self) -> int:
        return self.log.committed.get(P0, 0)


def test_everything_published_is_decided_once_and_committed() -> None:
    seen: list[int] = []

    def score(batch: Sequence[Raw]) -> list[Outcome]:
        seen.extend(each.position.offset for each in batch)
        return outcomes(batch)

    bench = Bench(score, records=50)
    bench.run(until=lambda: bench.committed == 50)

    assert list(range(50)) == sorted(seen)
    assert bench.source.closed


def test_a_small_batch_starts_when_its_first_record_has_lingered() -> None:
    sizes: list[int] = []

    def score(batch: Sequence[Raw]) -> list[Outcome]:
        sizes.append(len(batch))
        return outcomes(batch)

    bench = Bench(score, records=6)
    bench.run(until=lambda: bench.committed == 6)

    assert sorted(sizes, reverse=True) == [4, 2]


def test_polling_goes_on_and_the_source_is_paused_while_batches_hang() -> None:
    gate = Gate()
    bench = Bench(gate, records=100)

    def hung_for_a_while() -> bool:
        if bench.loops > 200 and not gate.opened.is_set():
            assert bench.source.paused
            assert 16 <= bench.runner.in_flight <= 16 + 4
            gate.opened.set()
        return bench.committed == 100

    bench.run(hung_for_a_while)

    assert len(gate.decided) == 100


def test_bytes_in_flight_are_bounded_as_well() -> None:
    gate = Gate()
    bench = Bench(gate, replace(LIMITS, bytes=10), records=40)

    def hung_for_a_while() -> bool:
        if bench.loops > 50 and not gate.opened.is_set():
            assert bench.source.paused
            assert bench.runner.in_flight <= 8
            gate.opened.set()
        return bench.committed == 40

    bench.run(hung_for_a_while)


class HoldsTheFirst:
    """Decides everything but the batch of the first record, which waits until `opened`."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.decided = 0

    def __call__(self, batch: Sequence[Raw]) -> list[Outcome]:
        if batch[0].position.offset == 0:
            assert self.opened.wait(DEADLINE_S)
        self.decided += len(batch)
        return outcomes(batch)


def test_what_is_done_behind_a_record_that_is_not_is_bounded() -> None:
    score = HoldsTheFirst()
    most = LIMITS.records * AHEAD
    bench = Bench(score, records=2 * most)

    def held_up() -> bool:
        waits = bench.source.paused and score.decided >= most - LIMITS.batch_records
        if waits and not score.opened.is_set():
            assert score.decided <= most + LIMITS.records
            assert bench.committed == 0
            score.opened.set()
        return bench.committed == 2 * most

    bench.run(held_up)

    assert score.decided == 2 * most


def test_a_record_that_stays_undecided_is_named(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adgauge.pipeline.runner.STUCK_S", 0.05)
    gate = Gate()
    bench = Bench(gate, records=1)

    def named() -> bool:
        if "undecided for" in caplog.text:
            gate.opened.set()
        return bench.committed == 1

    bench.run(named)

    assert "offsets of products/0 from 0" in caplog.text


def test_a_batch_that_breaks_ends_the_runner_and_is_not_committed() -> None:
    def score(batch: Sequence[Raw]) -> list[Outcome]:
        if any(each.position.offset >= 8 for each in batch):
            raise ContractMismatch("another model")
        return outcomes(batch)

    bench = Bench(score, replace(LIMITS, batches=1), records=20)
    with pytest.raises(ContractMismatch, match="another model"):
        bench.run(until=lambda: False)

    assert bench.committed <= 8
    assert bench.source.closed


def test_a_scorer_that_loses_a_record_is_a_bug_that_commits_nothing() -> None:
    bench = Bench(lambda batch: outcomes(batch)[1:], records=4)
    with pytest.raises(ValueError, match="zip"):
        bench.run(until=lambda: False)

    assert bench.committed == 0


def test_a_batch_that_gave_up_on_a_backend_is_tried_again_and_nothing_is_committed_meanwhile() -> None:
    calls = 0

    def score(batch: Sequence[Raw]) -> list[Outcome]:
        nonlocal calls
        calls += 1
        if calls < 4:
            assert bench.committed == 0
            raise BackendUnavailable("redis", "away")
        return outcomes(batch)

    bench = Bench(score, replace(LIMITS, batches=1), records=4)
    bench.run(until=lambda: bench.committed == 4)

    assert calls == 4


def test_a_stop_finishes_running_batches_leaves_the_others_and_commits() -> None:
    gate = Gate()
    bench = Bench(gate, records=16)

    def until() -> bool:
        if len(gate.started) == 8 and bench.runner.in_flight == 16:
            threading.Timer(0.05, gate.opened.set).start()
            return True
        return False

    bench.run(until)

    assert list(range(8)) == sorted(gate.decided)
    assert bench.committed == 8


def test_a_second_stop_does_not_wait_and_commits_nothing_unfinished() -> None:
    gate = Gate()
    bench = Bench(gate, records=8)
    started = time.monotonic()
    bench.run(until=lambda: len(gate.started) == 8, at_once=lambda: True)
    took_s = time.monotonic() - started
    gate.opened.set()

    assert bench.committed == 0
    assert took_s < LIMITS.drain_s / 2


def test_the_drain_ends_at_its_deadline() -> None:
    gate = Gate()
    bench = Bench(gate, replace(LIMITS, drain_s=0.2), records=8)
    bench.run(until=lambda: len(gate.started) == 8)
    gate.opened.set()

    assert bench.committed == 0


def test_a_revoked_partition_commits_what_is_done_and_its_waiting_records_are_dropped() -> None:
    gate = Gate()
    bench = Bench(gate, replace(LIMITS, batches=1), records=8)

    def revoke_while_the_first_batch_runs() -> bool:
        if gate.started and not bench.log.committed and not gate.opened.is_set():
            bench.source.revoke([P0])
            gate.opened.set()
        return bench.runner.in_flight == 0 and gate.opened.is_set()

    bench.run(revoke_while_the_first_batch_runs)

    assert bench.committed == 0


def test_a_lost_partition_commits_nothing() -> None:
    bench = Bench(outcomes, replace(LIMITS, commit_interval_s=3600.0), records=8)
    lost = False

    def until() -> bool:
        nonlocal lost
        if not lost and bench.source.lag({}) == {P0: 0} and bench.runner.in_flight == 0:
            bench.source.lose([P0])
            lost = True
        return lost

    bench.run(until)

    assert bench.committed == 0


def test_a_partition_that_comes_back_is_read_from_its_commit() -> None:
    seen: list[int] = []

    def score(batch: Sequence[Raw]) -> list[Outcome]:
        seen.extend(each.position.offset for each in batch)
        return outcomes(batch)

    bench = Bench(score, records=8)
    rounds = 0

    def until() -> bool:
        nonlocal rounds
        if bench.committed == 8 and not rounds:
            rounds = 1
            bench.source.revoke([P0])
            bench.log.publish(b"k", b"8")
            bench.source.assign([P0])
        return bench.committed == 9

    bench.run(until)

    assert list(range(9)) == sorted(seen)


def test_records_polled_before_a_revocation_and_taken_after_it_are_dropped() -> None:
    gate = Gate()
    gate.opened.set()
    bench = Bench(gate, records=3)
    poll = bench.source.poll

    def revoked_meanwhile(timeout_s: float) -> Sequence[Raw]:
        records = poll(timeout_s)
        if records:
            bench.source.revoke([P0])
        return records

    bench.source.poll = revoked_meanwhile  # type: ignore[method-assign]  # the rebalance thread
    bench.run(until=lambda: bench.loops > 20)

    assert gate.started == []
    assert bench.runner.in_flight == 0
    assert bench.committed == 0


def test_a_revocation_during_a_commit_leaves_no_series_of_the_partition() -> None:
    bench = Bench(outcomes, records=3)
    lag = bench.source.lag

    def revoked_meanwhile(undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        found = lag(undecided)
        if bench.committed == 3 and found:
            bench.source.revoke([P0])
        return found

    bench.source.lag = revoked_meanwhile  # type: ignore[method-assign]  # the rebalance thread
    bench.run(until=lambda: bench.committed == 3 and bench.source.lag({}) == {})

    assert bench.value("adgauge_lag_records", partition="0") is None
    assert bench.value("adgauge_committed_offset", partition="0") is None
    assert bench.value("adgauge_assigned_partitions") == 0


def test_a_lag_that_is_not_known_does_not_hide_the_commit() -> None:
    bench = Bench(outcomes, records=3)

    def unknown(undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        raise BackendUnavailable("kafka", "away")

    bench.source.lag = unknown  # type: ignore[method-assign]  # the log itself cannot fail
    bench.run(until=lambda: bench.value("adgauge_committed_offset", partition="0") == 3)

    assert bench.committed == 3


def test_a_commit_that_fails_says_what_to_check_and_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(outcomes, records=3)
    commit, failures = bench.source.commit, 0

    def flaky(next_offsets: Mapping[Partition, int]) -> None:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise BackendUnavailable("kafka", "away")
        commit(next_offsets)

    bench.source.commit = flaky  # type: ignore[method-assign]  # the log itself cannot fail
    bench.run(until=lambda: bench.committed == 3)

    assert "kafka: away" in caplog.text
    assert "check that the brokers answer" in caplog.text


def test_losing_the_last_partition_is_a_warning_and_leaving_is_not(caplog: pytest.LogCaptureFixture) -> None:
    Bench(outcomes, records=1).run(until=lambda: True)
    assert "no partition is left" not in caplog.text
    bench = Bench(outcomes, records=1)

    def lose_once() -> bool:
        if bench.value("adgauge_assigned_partitions") == 1:
            bench.source.lose([P0])
        return bench.value("adgauge_assigned_partitions") == 0

    bench.run(lose_once)
    assert "no partition is left" in caplog.text


def test_an_unreachable_log_is_polled_again() -> None:
    bench = Bench(outcomes, records=3)
    poll, failures = bench.source.poll, 0

    def flaky(timeout_s: float) -> Sequence[Raw]:
        nonlocal failures
        failures += 1
        if failures < 3:
            raise BackendUnavailable("kafka", "away")
        return poll(timeout_s)

    bench.source.poll = flaky  # type: ignore[method-assign]  # the log itself cannot fail
    bench.run(until=lambda: bench.committed == 3)

    assert bench.committed == 3


def test_a_log_that_cannot_be_read_on_ends_the_runner_when_what_came_before_is_committed() -> None:
    gate = Gate()
    bench = Bench(gate, replace(LIMITS, commit_interval_s=3600.0), records=3)
    poll = bench.source.poll

    def readable_up_to_offset_3(timeout_s: float) -> Sequence[Raw]:
        records = poll(timeout_s)
        if not records:
            gate.opened.set()
            raise ConfigurationError("a record cannot be decoded")
        return records

    bench.source.poll = readable_up_to_offset_3  # type: ignore[method-assign]  # the memory always can
    with pytest.raises(ConfigurationError, match="cannot be decoded"):
        bench.run(until=lambda: False)

    assert gate.decided == [0, 1, 2]
    assert bench.committed == 3


def test_commits_lag_and_what_is_in_flight_are_measured() -> None:
    gate = Gate()
    bench = Bench(gate, records=20)
    seen: dict[str, float | None] = {}

    value = bench.value

    def until() -> bool:
        if value("adgauge_paused") == 1 and not gate.opened.is_set():
            seen["in_flight"] = value("adgauge_in_flight_records")
            seen["bytes"] = value("adgauge_in_flight_bytes")
            seen["lag"] = value("adgauge_lag_records", partition="0")
            gate.opened.set()
        return value("adgauge_committed_offset", partition="0") == 20

    bench.run(until)

    assert seen["in_flight"] == 16
    assert seen["lag"] == 20  # nothing is decided
    assert seen["bytes"] == 16 + sum(len(str(number)) for number in range(16))
    assert value("adgauge_in_flight_records") == 0
    assert value("adgauge_lag_records", partition="0") is None  # it is another worker's now
