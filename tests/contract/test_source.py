"""What every `Source` does: the in-memory one and Apache Kafka."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import KafkaProducer

from adgauge.adapters.kafka import KafkaConnection, KafkaSource, KafkaWriter, plain_connection
from adgauge.adapters.memory import MemoryLog, MemorySource
from adgauge.errors import ConfigurationError
from adgauge.pipeline.ports import Source
from adgauge.records import EVENT_HEADER, Envelope, Flag, Partition
from services.embedded.kafka import Kafka
from tests.conftest import MakeTopic
from tests.kafka_over_tls import KafkaOverTls

Raw = Envelope[bytes | None]
Record = tuple[bytes | None, bytes | None]
NOW_MS = 1_900_000_000_000
DEADLINE_S = 30.0


@dataclass
class Recording:
    """A listener that remembers, and hands over `committable` when partitions are revoked."""

    partitions: list[Partition] = field(default_factory=list)
    gone: list[Partition] = field(default_factory=list)
    committable: dict[Partition, int] = field(default_factory=dict)

    def assigned(self, partitions: Sequence[Partition]) -> None:
        self.partitions += partitions

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        self.gone += partitions
        return {each: self.committable[each] for each in partitions if each in self.committable}

    def lost(self, partitions: Sequence[Partition]) -> None:
        self.gone += partitions


class Log(Protocol):
    """A topic under test: what is published, and consumers of one group."""

    partition: Partition

    def publish(self, records: Sequence[Record]) -> None: ...

    def open(self) -> Source: ...


class InMemory:
    def __init__(self) -> None:
        self._log = MemoryLog("products", 1)
        self.partition = Partition("products", 0)

    def publish(self, records: Sequence[Record]) -> None:
        for key, value in records:
            self._log.publish(key, value)

    def open(self) -> Source:
        return MemorySource(self._log, lambda _: None, max_records=100)


class OnKafka:
    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self._connection = connection
        self._topic = topic
        self.partition = Partition(topic, 0)

    def publish(self, records: Sequence[Record]) -> None:
        writer = KafkaWriter(self._connection)
        writer.write(self._topic, [(key, value, ()) for key, value in records])
        writer.close()

    def open(self) -> Source:
        return source_over(self._connection, self._topic)


def kafka_source(bootstrap: str, topic: str) -> KafkaSource:
    return source_over(plain_connection(bootstrap), topic)


def source_over(
    connection: KafkaConnection, topic: str, clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
) -> KafkaSource:
    return KafkaSource(
        connection,
        topic,
        group=topic,
        instance_id=None,
        session_timeout_s=6.0,
        max_records=100,
        clock_ms=clock_ms,
    )


ON_KAFKA = [
    pytest.param(each, marks=pytest.mark.tool("kafka")) for each in ("kafka", "kafka over SCRAM and TLS")
]


@pytest.fixture(params=["memory", *ON_KAFKA])
def log(request: pytest.FixtureRequest) -> Log:
    if request.param == "memory":
        return InMemory()
    if request.param == "kafka over SCRAM and TLS":
        secure: KafkaOverTls = request.getfixturevalue("kafka_over_tls")
        return OnKafka(secure.connection(), secure.make_topic("products"))
    make_topic: MakeTopic = request.getfixturevalue("make_topic")
    return OnKafka(plain_connection(request.getfixturevalue("kafka_bootstrap")), make_topic("products"))


def poll_until(source: Source, enough: Callable[[list[Raw]], bool]) -> list[Raw]:
    records: list[Raw] = []
    deadline = time.monotonic() + DEADLINE_S
    while not enough(records):
        assert time.monotonic() < deadline, f"only {len(records)} records came"
        records += source.poll(0.1)
    return records


def poll_for(source: Source, seconds: float) -> list[Raw]:
    records: list[Raw] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        records += source.poll(0.05)
    return records


def test_records_come_in_order_with_their_bytes_and_positions(log: Log) -> None:
    log.publish([(b"a", b"1"), (None, b"\xff\x00"), (b"b", None)])
    source = log.open()
    source.subscribe(Recording())
    records = poll_until(source, lambda found: len(found) == 3)
    source.close()

    assert [(each.key, each.value) for each in records] == [(b"a", b"1"), (None, b"\xff\x00"), (b"b", None)]
    assert [each.value for each in records] == [each.payload for each in records]
    assert [each.position.offset for each in records] == [0, 1, 2]
    assert {log.partition} == {each.position.partition for each in records}


def test_the_listener_learns_of_the_assignment_and_of_its_end(log: Log) -> None:
    listener = Recording()
    source = log.open()
    source.subscribe(listener)
    log.publish([(b"a", b"1")])
    poll_until(source, lambda found: len(found) == 1)

    assert [log.partition] == listener.partitions
    source.close()
    assert [log.partition] == listener.gone


def test_a_new_consumer_goes_on_after_the_commit(log: Log) -> None:
    log.publish([(b"a", b"1"), (b"b", b"2"), (b"c", b"3")])
    first = log.open()
    first.subscribe(Recording())
    poll_until(first, lambda found: len(found) == 3)
    first.commit({log.partition: 2})
    first.close()
    second = log.open()
    second.subscribe(Recording())
    records = poll_until(second, lambda found: len(found) == 1)
    second.close()

    assert [each.position.offset for each in records] == [2]


def test_without_a_commit_everything_comes_again(log: Log) -> None:
    log.publish([(b"a", b"1"), (b"b", b"2")])
    for _ in range(2):
        source = log.open()
        source.subscribe(Recording())
        assert len(poll_until(source, lambda found: len(found) == 2)) == 2
        source.close()


def test_what_the_listener_hands_over_on_revocation_is_committed(log: Log) -> None:
    log.publish([(b"a", b"1"), (b"b", b"2")])
    first = log.open()
    first.subscribe(Recording(committable={log.partition: 1}))
    poll_until(first, lambda found: len(found) == 2)
    first.close()
    second = log.open()
    second.subscribe(Recording())
    records = poll_until(second, lambda found: len(found) == 1)
    second.close()

    assert [each.position.offset for each in records] == [1]


def test_a_paused_source_delivers_nothing_until_it_is_resumed(log: Log) -> None:
    source = log.open()
    source.subscribe(Recording())
    log.publish([(b"a", b"1")])
    poll_until(source, lambda found: len(found) == 1)
    source.pause()
    log.publish([(b"b", b"2")])
    assert poll_for(source, 0.5) == []
    source.resume()

    assert len(poll_until(source, lambda found: len(found) == 1)) == 1
    source.close()


def test_lag_is_what_was_not_decided(log: Log) -> None:
    log.publish([(b"a", b"1"), (b"b", b"2")])
    source = log.open()
    source.subscribe(Recording())
    poll_until(source, lambda found: len(found) == 2)

    assert {log.partition: 0} == dict(source.lag({}))
    assert {log.partition: 1} == dict(source.lag({log.partition: 1}))
    source.close()


def test_closing_twice_is_harmless(log: Log) -> None:
    source = log.open()
    source.subscribe(Recording())
    source.poll(0.1)
    source.close()
    source.close()


@pytest.mark.tool("kafka")
def test_a_partition_assigned_while_paused_is_paused(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    log = OnKafka(plain_connection(kafka_bootstrap), make_topic("products"))
    log.publish([(b"a", b"1")])
    source, listener = log.open(), Recording()
    source.subscribe(listener)
    source.pause()
    poll_until(source, lambda _: bool(listener.partitions))
    assert poll_for(source, 0.5) == []
    source.resume()
    assert len(poll_until(source, lambda found: len(found) == 1)) == 1
    source.close()


@pytest.mark.tool("kafka")
def test_a_second_consumer_takes_over_part_of_the_partitions_without_a_gap(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("products", partitions=2)
    first, second = kafka_source(kafka_bootstrap, topic), kafka_source(kafka_bootstrap, topic)
    ours, theirs = Recording(), Recording()
    first.subscribe(ours)
    poll_until(first, lambda _: len(ours.partitions) == 2)
    second.subscribe(theirs)
    deadline = time.monotonic() + DEADLINE_S
    while not theirs.partitions:
        assert time.monotonic() < deadline
        first.poll(0.05)
        second.poll(0.05)
    first.close()
    second.close()

    assert len(ours.partitions) == 2
    assert theirs.partitions == ours.gone[:1]


@pytest.mark.tool("kafka")
def test_the_event_header_decides_the_order_and_a_clock_ahead_is_clamped(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("products")
    now_ms = time.time_ns() // 1_000_000
    past, future = str(now_ms - 10_000_000).encode(), b"4070908800000"
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    writer.write(topic, [(b"a", b"1", ((EVENT_HEADER, past),)), (b"b", b"2", ((EVENT_HEADER, future),))])
    writer.close()
    source = kafka_source(kafka_bootstrap, topic)
    source.subscribe(Recording())
    old, ahead = poll_until(source, lambda found: len(found) == 2)
    source.close()

    assert int(past) == old.order.event_ms
    assert frozenset() == old.flags
    assert abs(ahead.order.event_ms - now_ms) < 60_000
    assert frozenset({Flag.EVENT_CLAMPED}) == ahead.flags
    assert ((EVENT_HEADER, past),) == old.headers


Bytes = st.none() | st.binary(max_size=40)
Headers = st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=4)


def as_name(raw: bytes) -> str:
    """A header's name as text, whatever its bytes."""
    return raw.decode(errors="surrogateescape")


@pytest.mark.tool("kafka")
def test_arbitrary_bytes_come_and_go_as_they_are(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = make_topic("products")
    writer, source = KafkaWriter(plain_connection(kafka_bootstrap)), kafka_source(kafka_bootstrap, topic)
    source.subscribe(Recording())

    @given(st.lists(st.tuples(Bytes, Bytes, Headers), min_size=1, max_size=20))
    @settings(max_examples=40, deadline=None)
    def come_and_go(records: list[tuple[bytes | None, bytes | None, list[tuple[bytes, bytes]]]]) -> None:
        sent = [
            (key, value, tuple((as_name(name), each) for name, each in headers))
            for key, value, headers in records
        ]
        writer.write(topic, sent)
        found = poll_until(source, lambda found: len(found) == len(sent))
        assert [(each.key, each.value, each.headers) for each in found] == sent
        writer.write(topic, [(each.key, each.value, each.headers) for each in found])  # as dead letters are
        again = poll_until(source, lambda found: len(found) == len(sent))
        assert [(each.key, each.value, each.headers) for each in again] == sent

    come_and_go()
    source.close()
    writer.close()


@pytest.mark.tool("kafka")
def test_header_names_that_are_no_text_are_bytes_on_the_wire(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("products")
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    writer.write(topic, [(b"k", b"v", ((as_name(b"\xff\xfe"), b"1"), ("Größe", b"2")))])
    writer.close()
    source = kafka_source(kafka_bootstrap, topic)
    source.subscribe(Recording())
    (record,) = poll_until(source, lambda found: len(found) == 1)
    source.close()

    names = [name.encode(errors="surrogateescape") for name, _ in record.headers]
    assert names == [b"\xff\xfe", "Größe".encode()]


def damage_the_last_batch(kafka: Kafka, partition: Partition) -> None:
    """Flip the bits of the last byte that the broker holds of it."""
    folder = kafka.data / f"{partition.topic}-{partition.number}"
    with (folder / "00000000000000000000.log").open("r+b") as log:
        log.seek(-1, os.SEEK_END)
        (last,) = log.read(1)
        log.seek(-1, os.SEEK_END)
        log.write(bytes([last ^ 0xFF]))


@pytest.mark.tool("kafka")
@pytest.mark.parametrize("before", [0, 3])
@pytest.mark.parametrize("paused", [False, True])
def test_a_record_that_cannot_be_decoded_ends_polling_with_one_line(
    kafka: Kafka, make_topic: MakeTopic, before: int, paused: bool
) -> None:
    topic = make_topic("products")
    writer = KafkaWriter(plain_connection(kafka.bootstrap))
    good = (b"k", b"{}", ())
    if before:
        writer.write(topic, [good] * before)
    writer.write(topic, [good])
    writer.close()
    damage_the_last_batch(kafka, Partition(topic, 0))
    source = kafka_source(kafka.bootstrap, topic)
    source.subscribe(Recording())
    if before:
        assert len(poll_until(source, lambda found: len(found) == before)) == before
    if paused and before:
        source.pause()
    for _ in range(2):  # it stays so
        with pytest.raises(
            ConfigurationError, match=f"cannot be decoded, {topic}/0 at offset {before}: "
        ) as said:
            poll_for(source, DEADLINE_S)
        assert "\n" not in str(said.value)
    started = time.monotonic()
    source.close()

    assert time.monotonic() - started < 5


@pytest.mark.tool("kafka")
@pytest.mark.parametrize("codec", ["gzip", "lz4", "snappy", "zstd"])
def test_every_compression_of_kafka_can_be_read(
    kafka_bootstrap: str, make_topic: MakeTopic, codec: str
) -> None:
    topic = make_topic("products")
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, compression_type=codec)
    producer.send(topic, key=b"k", value=b"v" * 1000)
    producer.close()
    source = kafka_source(kafka_bootstrap, topic)
    source.subscribe(Recording())
    (record,) = poll_until(source, lambda found: len(found) == 1)
    source.close()

    assert record.value == b"v" * 1000


@pytest.mark.tool("kafka")
def test_lag_grows_while_the_source_is_paused(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    log = OnKafka(plain_connection(kafka_bootstrap), make_topic("products"))
    log.publish([(b"a", b"1")])
    now_ms = NOW_MS
    source = source_over(plain_connection(kafka_bootstrap), log.partition.topic, lambda: now_ms)
    source.subscribe(Recording())
    poll_until(source, lambda found: len(found) == 1)
    source.pause()
    assert {log.partition: 0} == dict(source.lag({}))
    log.publish([(b"b", b"2"), (b"c", b"3")])
    assert poll_for(source, 0.5) == []
    now_ms += 10_000

    assert {log.partition: 2} == dict(source.lag({}))
    source.close()


@pytest.mark.tool("kafka")
@pytest.mark.parametrize("attempt", range(4))
def test_a_join_that_outlives_a_poll_is_taken_up(
    kafka_bootstrap: str, make_topic: MakeTopic, attempt: int
) -> None:
    log = OnKafka(plain_connection(kafka_bootstrap), make_topic("products"))
    log.publish([(b"a", b"1")])
    source = log.open()
    source.subscribe(Recording())
    deadline = time.monotonic() + DEADLINE_S
    while not source.poll(0.002):
        assert time.monotonic() < deadline, "the group gave partitions and the consumer dropped them"
    source.close()
