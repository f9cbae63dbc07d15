"""What every `ScoreLog` and every `DeadLetters` does: the in-memory ones and Apache Kafka."""

import json
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from adgauge.adapters.kafka import (
    KafkaDeadLetters,
    KafkaPublisher,
    KafkaScoreLog,
    KafkaWriter,
    plain_connection,
    require_topics,
)
from adgauge.adapters.kafka.writers import Message
from adgauge.adapters.memory import MemoryDeadLetters, MemoryScoreLog
from adgauge.errors import BackendUnavailable, ConfigurationError, RejectReason
from adgauge.pipeline.ports import DeadLetters, ScoreLog
from adgauge.pipeline.score_log import ScoreLogRecord, score_log_record
from adgauge.records import Envelope, Flag, Order, Partition, Position, Rejection, Score, Tombstone
from services.embedded.kafka import Kafka
from services.embedded.workspace import Workspace
from tests.conftest import MakeTopic
from tests.pinned_tools import require_tool
from tools.install import KAFKA_JARS

SCORE = Score("P1", 4.25, Order(1000, 7), 2000, frozenset({Flag.NO_IMAGE, Flag.TEXT_CUT}), "ab" * 32)
DELETION = Tombstone("P2", Order(3000, 8))
REJECTION = Rejection(RejectReason.NOT_JSON, "parse", "line 1: no JSON")

Written = Callable[[], list[ScoreLogRecord]]
Letters = Callable[[], list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]]


def envelope(key: bytes | None, value: bytes | None, *headers: tuple[str, bytes]) -> Envelope[bytes | None]:
    position = Position(Partition("products", 2), 41)
    return Envelope(value, position, Order(1234, 41), key, value, headers, frozenset())


def read(bootstrap: str, topic: str) -> list[tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]]:
    consumer = KafkaConsumer(bootstrap_servers=bootstrap)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    consumer.seek_to_beginning(partition)
    found = []
    while consumer.position(partition) < consumer.end_offsets([partition])[partition]:
        for records in consumer.poll(timeout_ms=200).values():
            found += [(each.key, each.value, list(each.headers)) for each in records]
    consumer.close(autocommit=False)
    return found


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.tool("kafka"))])
def score_log(request: pytest.FixtureRequest) -> Iterator[tuple[ScoreLog, Written]]:
    if request.param == "memory":
        memory = MemoryScoreLog()
        yield (
            memory,
            lambda: [
                score_log_record(each, generation=3, model="m/1", contract="cd" * 32)
                for each in memory.entries
            ],
        )
        return
    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    topic: str = request.getfixturevalue("make_topic")("scores")
    writer = KafkaWriter(plain_connection(bootstrap))
    log = KafkaScoreLog(writer, topic, generation=3, model="m/1", contract="cd" * 32)

    def written() -> list[ScoreLogRecord]:
        found = []
        for key, value, _ in read(bootstrap, topic):
            record = ScoreLogRecord.model_validate_json(value or b"")
            assert key == record.id.encode()
            found.append(record)
        return found

    yield log, written
    writer.close()


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.tool("kafka"))])
def dead_letters(request: pytest.FixtureRequest) -> Iterator[tuple[DeadLetters, Letters]]:
    if request.param == "memory":
        memory = MemoryDeadLetters()
        yield memory, lambda: [(each.key, each.value, list(each.headers)) for each, _ in memory.letters]
        return
    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    topic: str = request.getfixturevalue("make_topic")("dlq")
    writer = KafkaWriter(plain_connection(bootstrap))
    yield KafkaDeadLetters(writer, topic, "1.2.3"), lambda: read(bootstrap, topic)
    writer.close()


def test_scores_and_deletions_are_in_the_log_in_order(score_log: tuple[ScoreLog, Written]) -> None:
    log, written = score_log
    log.append([SCORE])
    log.append([DELETION])
    first, second = written()

    assert (first.id, first.outcome, first.score, first.digest) == ("P1", "scored", 4.25, "ab" * 32)
    assert (first.event_ms, first.offset, first.scored_at_ms) == (1000, 7, 2000)
    assert first.flags == (Flag.NO_IMAGE, Flag.TEXT_CUT)
    assert (first.generation, first.model, first.contract) == (3, "m/1", "cd" * 32)
    assert (second.id, second.outcome, second.score, second.event_ms) == ("P2", "deleted", None, 3000)


def test_dead_letters_keep_key_value_and_headers_as_they_came(
    dead_letters: tuple[DeadLetters, Letters],
) -> None:
    letters, found = dead_letters
    rejected = [
        envelope(b"\xff\xfe", b"\x00 not json", ("trace", b"\x01\x02"), ("trace", b"")),
        envelope(None, b""),
        envelope(None, None),
        envelope(b"", b"x" * 2_000),
    ]
    letters.put([(each, REJECTION) for each in rejected])
    as_they_came = [(each.key, each.value, list(each.headers)) for each in rejected]

    assert as_they_came == [
        (key, value, [each for each in headers if not each[0].startswith("adgauge-")])
        for key, value, headers in found()
    ]


@pytest.mark.tool("kafka")
def test_a_dead_letter_says_why_and_where_it_came_from(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = make_topic("dlq")
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    KafkaDeadLetters(writer, topic, "1.2.3").put([(envelope(b"k", b"{"), REJECTION)])
    writer.close()
    (_, _, headers), *_ = read(kafka_bootstrap, topic)

    assert dict(headers) == {
        "adgauge-reason": b"not_json",
        "adgauge-stage": b"parse",
        "adgauge-detail": b"line 1: no JSON",
        "adgauge-origin": b"products/2/41",
        "adgauge-origin-event-ms": b"1234",
        "adgauge-version": b"1.2.3",
    }


@pytest.mark.tool("kafka")
def test_a_score_log_line_is_readable_json(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = make_topic("scores")
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    KafkaScoreLog(writer, topic, generation=3, model="m/1", contract="cd").append([SCORE])
    writer.close()
    ((_, value, _),) = read(kafka_bootstrap, topic)

    assert json.loads(value or b"") == {
        "id": "P1",
        "outcome": "scored",
        "generation": 3,
        "model": "m/1",
        "contract": "cd",
        "event_ms": 1000,
        "offset": 7,
        "score": 4.25,
        "scored_at_ms": 2000,
        "flags": ["no_image", "text_cut"],
        "digest": "ab" * 32,
        "image_reason": None,
    }


@pytest.mark.tool("kafka")
def test_a_large_dead_letter_fits_a_topic_that_allows_it(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = make_topic("dlq", configs={"max.message.bytes": str(12 * 2**20)})
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    value = bytes(range(256)) * 40 * 1024
    KafkaDeadLetters(writer, topic, "1").put([(envelope(b"k", value), REJECTION)])
    writer.close()

    assert read(kafka_bootstrap, topic)[0][1] == value


@pytest.mark.tool("kafka")
def test_a_record_the_topic_cannot_hold_is_a_configuration_error(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("dlq", configs={"max.message.bytes": "1000", "compression.type": "uncompressed"})
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    value = bytes(range(256)) * 40
    with pytest.raises(ConfigurationError, match=r"max\.message\.bytes"):
        KafkaDeadLetters(writer, topic, "1").put([(envelope(b"k", value), REJECTION)])
    writer.close()


@pytest.mark.tool("kafka")
def test_a_publisher_says_where_each_record_stands(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    topic = make_topic("products")
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    positions = KafkaPublisher(writer, topic).publish([(b"P1", b"{}"), (b"P1", None)])
    writer.close()

    assert [each.offset for each in positions] == [0, 1]
    assert {each.partition for each in positions} == {Partition(topic, 0)}


@pytest.fixture
def own_kafka(workspace: Workspace, request: pytest.FixtureRequest) -> Iterator[Kafka]:
    """A broker that may come to harm, with the topic `dlq` of four partitions."""
    require_tool("kafka", request.config)
    kafka = Kafka(workspace, jars=KAFKA_JARS, name=f"kafka-{uuid.uuid4().hex[:8]}")
    kafka.start()
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.create_topics([NewTopic("dlq", 4, 1)])
    admin.close()
    yield kafka
    kafka.kill()


@pytest.mark.tool("kafka")
def test_brokers_that_hang_are_waited_for_once_by_a_write_and_not_at_all_by_a_close(
    own_kafka: Kafka,
) -> None:
    impatient = KafkaWriter(plain_connection(own_kafka.bootstrap, timeout_s=1.0))
    patient = KafkaWriter(plain_connection(own_kafka.bootstrap, timeout_s=60.0))
    messages: list[Message] = [(str(number).encode(), b"v", ()) for number in range(64)]
    for writer in (impatient, patient):
        writer.write("dlq", messages)
    os.kill(own_kafka.process.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(BackendUnavailable):
        impatient.write("dlq", messages)
    waited = time.monotonic()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(patient.write, "dlq", messages)
        time.sleep(0.5)
        closing = time.monotonic()
        patient.close()
        impatient.close()
        closed = time.monotonic()
        with pytest.raises(BackendUnavailable):
            waiting.result()

    assert waited - began < 3.0
    assert closed - closing < 2.5


@pytest.mark.tool("kafka")
def test_a_writer_writes_again_after_an_outage_longer_than_its_patience(own_kafka: Kafka) -> None:
    writer = KafkaWriter(plain_connection(own_kafka.bootstrap, timeout_s=1.0))
    messages: list[Message] = [(str(number).encode(), b"v", ()) for number in range(64)]
    writer.write("dlq", messages)
    os.kill(own_kafka.process.pid, signal.SIGSTOP)
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            writer.write("dlq", messages)
    os.kill(own_kafka.process.pid, signal.SIGCONT)

    assert len(_write_patiently(writer, messages)) == 64
    writer.close()
    with pytest.raises(BackendUnavailable, match="the writer is closed"):
        writer.write("dlq", messages)


def _write_patiently(writer: KafkaWriter, messages: list[Message], topic: str = "dlq") -> list[Position]:
    deadline = time.monotonic() + 15.0
    while True:
        try:
            return writer.write(topic, messages)
        except BackendUnavailable:
            if time.monotonic() > deadline:
                raise


@pytest.mark.tool("kafka")
def test_writing_to_a_missing_topic_is_unavailable_within_its_time_and_names_it(kafka_bootstrap: str) -> None:
    writer = KafkaWriter(plain_connection(kafka_bootstrap, timeout_s=1.0))
    with pytest.raises(BackendUnavailable, match=r"^kafka: writing to adgauge-test-nowhere: [^\n]*$"):
        writer.write("adgauge-test-nowhere", [(b"k", b"v", ())])
    writer.close()


@pytest.mark.tool("kafka")
def test_a_topic_that_vanishes_is_named_and_is_written_to_when_it_is_back(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("dlq")
    writer = KafkaWriter(plain_connection(kafka_bootstrap, timeout_s=1.0))
    with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        admin.delete_topics([topic])
        with pytest.raises(BackendUnavailable, match=rf"^kafka: writing to {topic}: [^\n]*$"):
            write_until_it_fails(writer, topic)
        admin.create_topics([NewTopic(topic, 1, 1)])

    assert len(_write_patiently(writer, [(b"k", b"v", ())], topic)) == 1
    writer.close()


def write_until_it_fails(writer: KafkaWriter, topic: str) -> None:
    """The broker takes a topic away a little after it said so."""
    deadline = time.monotonic() + 15.0
    while time.monotonic() < deadline:
        writer.write(topic, [(b"k", b"v", ())])


@pytest.mark.tool("kafka")
def test_a_missing_topic_is_named(kafka_bootstrap: str, make_topic: MakeTopic) -> None:
    there = make_topic("products")
    with pytest.raises(ConfigurationError, match=r"no topic adgauge-test-nowhere: create it"):
        require_topics(plain_connection(kafka_bootstrap), [there, "adgauge-test-nowhere"])
