"""What the runner does on every `Source`: the in-memory one and Apache Kafka."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from typing import Protocol

import pytest
from kafka import KafkaProducer
from prometheus_client import CollectorRegistry

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin
from adgauge.adapters.memory import MemoryLog, MemorySource
from adgauge.errors import BackendUnavailable
from adgauge.pipeline.ports import Source
from adgauge.pipeline.runner import Limits, Runner, Score
from adgauge.records import Envelope, Outcome, Partition
from adgauge.telemetry.metrics import Metrics, Rebalance
from tests.conftest import MakeTopic
from tests.contract.test_source import kafka_source
from tests.unit.test_runner import LIMITS, outcomes

Raw = Envelope[bytes | None]
PARTITIONS = 2
ONE_BY_ONE = replace(LIMITS, batch_records=1)
SESSION_S = 6.0
"""Of `kafka_source`."""
DEADLINE_S = 40.0


class Topic(Protocol):
    """Two partitions, and one group that reads them."""

    def publish(self, partition: int, count: int) -> None: ...

    def open(self) -> Source: ...

    def committed(self, partition: int = 0) -> int: ...


class InMemory:
    def __init__(self) -> None:
        self._log = MemoryLog("products", PARTITIONS)

    def publish(self, partition: int, count: int) -> None:
        for _ in range(count):
            self._log.publish(b"k", b"v", partition=partition)

    def open(self) -> Source:
        return MemorySource(self._log, lambda _: time.sleep(0.001), max_records=4)

    def committed(self, partition: int = 0) -> int:
        return self._log.committed.get(Partition("products", partition), 0)


class OnKafka:
    def __init__(self, bootstrap: str, name: str, admin: KafkaAdmin, producer: KafkaProducer) -> None:
        self._bootstrap = bootstrap
        self._name = name
        self._admin = admin
        self._producer = producer

    def publish(self, partition: int, count: int) -> None:
        for _ in range(count):
            self._producer.send(self._name, b"v", b"k", partition=partition)
        self._producer.flush()

    def open(self) -> Source:
        return kafka_source(self._bootstrap, self._name)

    def committed(self, partition: int = 0) -> int:
        return self._admin.committed(self._name, self._name, [partition])[partition]


@pytest.fixture
def on_kafka(kafka_bootstrap: str, make_topic: MakeTopic) -> Iterator[OnKafka]:
    name = make_topic("products", partitions=PARTITIONS)
    with (
        KafkaAdmin(plain_connection(kafka_bootstrap)) as admin,
        closing(KafkaProducer(bootstrap_servers=kafka_bootstrap)) as producer,
    ):
        yield OnKafka(kafka_bootstrap, name, admin, producer)


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.tool("kafka"))])
def topic(request: pytest.FixtureRequest) -> Topic:
    if request.param == "memory":
        return InMemory()
    on_kafka: OnKafka = request.getfixturevalue("on_kafka")
    return on_kafka


class Deciding:
    """Decides every batch, but those with a record that `hangs` only when `opened`."""

    def __init__(self, hangs: Callable[[Raw], bool] = lambda _: False) -> None:
        self._hangs = hangs
        self.opened = threading.Event()
        self.hanging = threading.Event()
        self.decided: list[tuple[int, int]] = []

    def __call__(self, batch: Sequence[Raw]) -> list[Outcome]:
        if any(map(self._hangs, batch)):
            self.hanging.set()
            assert self.opened.wait(DEADLINE_S), "nobody opened it"
        self.decided += map(place, batch)
        return outcomes(batch)


def place(record: Raw) -> tuple[int, int]:
    return record.position.partition.number, record.position.offset


class Bench:
    """A runner over the source that a topic opens."""

    def __init__(self, topic: Topic, score: Score, limits: Limits = LIMITS) -> None:
        self.metrics = Metrics(CollectorRegistry())
        self.blocked: str | None = None
        self.loops = 0
        self.runner = Runner(
            topic.open(),
            score,
            limits,
            self.metrics,
            clock=time.monotonic,
            sleep=time.sleep,
            blocked=lambda: self.blocked,
            progressed=self._progressed,
        )

    def _progressed(self) -> None:
        self.loops += 1

    def run(self, until: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S

        def done() -> bool:
            assert time.monotonic() < deadline, "the condition never came true"
            return until()

        self.runner.run(done, at_once=lambda: False)

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)

    @property
    def owned(self) -> float:
        return self.value("adgauge_assigned_partitions") or 0

    def rebalances(self) -> Mapping[Rebalance, float]:
        found = {kind: self.value("adgauge_rebalances_total", kind=kind) or 0 for kind in Rebalance}
        return {kind: count for kind, count in found.items() if count}


def test_everything_published_is_decided_once_and_committed(topic: Topic) -> None:
    topic.publish(0, 30)
    topic.publish(1, 20)
    deciding = Deciding()
    Bench(topic, deciding).run(until=lambda: (topic.committed(0), topic.committed(1)) == (30, 20))

    assert sorted(deciding.decided) == [(0, each) for each in range(30)] + [(1, each) for each in range(20)]


def test_what_is_done_behind_a_batch_that_hangs_is_committed_with_it(topic: Topic) -> None:
    topic.publish(0, 12)
    deciding = Deciding(hangs=lambda record: place(record) == (0, 4))

    def until() -> bool:
        if len(deciding.decided) == 11 and topic.committed() == 4:
            deciding.opened.set()
        assert topic.committed() <= 4 or deciding.opened.is_set()
        return topic.committed() == 12

    Bench(topic, deciding, ONE_BY_ONE).run(until)

    assert deciding.decided[-1] == (0, 4)


def test_a_batch_that_hangs_holds_the_commit_of_its_partition_alone(topic: Topic) -> None:
    topic.publish(0, 4)
    deciding = Deciding(hangs=lambda record: place(record) == (0, 0))
    published = threading.Event()

    def until() -> bool:
        if deciding.hanging.is_set() and not published.is_set():
            topic.publish(1, 4)
            published.set()
        if topic.committed(1) == 4 and not deciding.opened.is_set():
            assert topic.committed(0) == 0
            deciding.opened.set()
        return topic.committed(0) == 4

    Bench(topic, deciding, ONE_BY_ONE).run(until)

    assert topic.committed(1) == 4


@pytest.mark.tool("kafka")
def test_a_batch_that_hangs_longer_than_a_session_costs_no_membership(on_kafka: OnKafka) -> None:
    on_kafka.publish(0, 4)
    deciding = Deciding(hangs=lambda record: place(record) == (0, 0))
    bench = Bench(on_kafka, deciding)
    since: list[float] = []
    seen: list[Mapping[Rebalance, float]] = []

    def until() -> bool:
        if deciding.hanging.is_set() and not since:
            since.append(time.monotonic())
        if since and time.monotonic() - since[0] > 1.3 * SESSION_S:
            deciding.opened.set()
        seen.append(bench.rebalances())
        return on_kafka.committed() == 4

    bench.run(until)

    assert seen[-1] == {Rebalance.ASSIGNED: 1}
    assert deciding.decided == [(0, each) for each in range(4)]


def test_a_stop_commits_what_was_running_and_a_successor_goes_on_there(topic: Topic) -> None:
    topic.publish(0, 40)
    deciding, succeeding = Deciding(hangs=lambda record: place(record) == (0, 8)), Deciding()

    def until() -> bool:
        if deciding.hanging.is_set():
            threading.Timer(0.2, deciding.opened.set).start()
        return deciding.hanging.is_set()

    Bench(topic, deciding).run(until)
    stopped_at = topic.committed()
    Bench(topic, succeeding).run(until=lambda: topic.committed() == 40)

    assert (0, 8) in deciding.decided
    assert sorted(deciding.decided) == [(0, each) for each in range(stopped_at)]
    assert sorted(succeeding.decided) == [(0, each) for each in range(stopped_at, 40)]


def test_a_backend_that_is_away_stops_consumption_until_it_is_back(topic: Topic) -> None:
    topic.publish(0, 4)
    deciding = Deciding()
    bench = Bench(topic, deciding)
    blocked_at: list[int] = []

    def until() -> bool:
        if topic.committed() == 4 and not blocked_at:
            bench.blocked = "redis"
            blocked_at.append(bench.loops)
        if bench.blocked and bench.loops == blocked_at[0] + 5:
            topic.publish(0, 4)
        if bench.blocked and bench.loops == blocked_at[0] + 25:
            assert bench.value("adgauge_paused") == 1
            assert len(deciding.decided) == 4
            bench.blocked = None
        return topic.committed() == 8

    bench.run(until)

    assert deciding.decided == [(0, each) for each in range(8)]


def test_a_batch_that_gave_up_on_a_backend_is_tried_again_and_not_committed_meanwhile(topic: Topic) -> None:
    topic.publish(0, 4)
    calls: list[int] = []

    def score(batch: Sequence[Raw]) -> list[Outcome]:
        calls.append(topic.committed())
        if len(calls) < 4:
            raise BackendUnavailable("redis", "away")
        return outcomes(batch)

    Bench(topic, score, replace(LIMITS, batches=1)).run(until=lambda: topic.committed() == 4)

    assert calls[:4] == [0, 0, 0, 0]


@pytest.mark.tool("kafka")
def test_a_worker_without_a_partition_goes_on_and_takes_over_when_another_stops(on_kafka: OnKafka) -> None:
    benches = [Bench(on_kafka, Deciding()) for _ in range(PARTITIONS + 1)]
    stops = [threading.Event() for _ in benches]
    with ThreadPoolExecutor() as pool:
        running = [pool.submit(bench.run, stop.is_set) for bench, stop in zip(benches, stops, strict=True)]
        try:
            wait(lambda: sorted(each.owned for each in benches) == [0, 1, 1])
            idle = next(each for each in benches if not each.owned)
            stops[benches.index(idle) - 1].set()
            wait(lambda: idle.owned == 1)
            on_kafka.publish(0, 4)
            on_kafka.publish(1, 4)
            wait(lambda: (on_kafka.committed(0), on_kafka.committed(1)) == (4, 4))
        finally:
            for stop in stops:
                stop.set()
        for each in running:
            each.result()


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)
