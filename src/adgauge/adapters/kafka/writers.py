"""What is written to Kafka: the score log, dead letters, and products themselves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import Any

from kafka import KafkaProducer, Serializer
from kafka import errors as kafka_errors

from adgauge.adapters.kafka.connection import BACKEND, KafkaConnection, ms, translated
from adgauge.adapters.kafka.header_names import HeaderName
from adgauge.errors import BackendUnavailable, ConfigurationError
from adgauge.pipeline.score_log import score_log_record
from adgauge.records import Envelope, Partition, Position, Rejection, Score, Tombstone

log = logging.getLogger(__name__)

Headers = Sequence[tuple[str, bytes]]
Message = tuple[bytes | None, bytes | None, Headers]
"""Key, value and headers of a record to write."""

REASON_HEADER = "adgauge-reason"
STAGE_HEADER = "adgauge-stage"
DETAIL_HEADER = "adgauge-detail"
ORIGIN_HEADER = "adgauge-origin"
"""`topic/partition/offset` of the rejected record."""
ORIGIN_EVENT_HEADER = "adgauge-origin-event-ms"
"""Its event time, which a replay must keep."""
VERSION_HEADER = "adgauge-version"


MAX_REQUEST_BYTES = 2**30
"""No limit of ours: how large a record may be is the topic's `max.message.bytes`."""

CLOSE_S = 1.0
"""How long the producer's thread may take to end."""


class _Wrapped(Serializer):  # type: ignore[misc]  # kafka-python is untyped
    """kafka-python refuses a record without key and value. Kafka has them, and they become dead letters."""

    def serialize(self, topic: str, headers: Headers, data: tuple[bytes | None]) -> bytes | None:
        return data[0]


class KafkaWriter:
    """Writes records and waits until all in-sync replicas have them. Thread-safe."""

    def __init__(self, connection: KafkaConnection) -> None:
        # A record expires after `timeout_s`; before that, topics may be asked for.
        self._wait_s = 1.5 * connection.timeout_s
        self._connection = connection
        self._lock = threading.Lock()
        self._closed = False
        self._api_version: object = None  # asked at the start
        self._producer: KafkaProducer | None = self._new_producer()
        # Later producers need no answer to be made: one that gets none would leave its sockets open.
        self._api_version = self._producer.config["api_version"]

    def write(self, topic: str, messages: Sequence[Message]) -> list[Position]:
        """Where each record stands now; raises BackendUnavailable when one was not acknowledged."""
        producer = self._current()
        deadline = time.monotonic() + self._wait_s
        try:
            with translated():
                sent = [
                    producer.send(topic, key=key, value=(value,), headers=_writable(headers))
                    for key, value, headers in messages
                ]
                written = [_acknowledged(future, topic, deadline) for future in sent]
        except BackendUnavailable as error:
            self._discard(producer)
            # Waiting for a topic that is gone, kafka-python says no more than that time is up.
            raise BackendUnavailable(BACKEND, f"writing to {topic}: {error.detail}") from error
        return [Position(Partition(each.topic, each.partition), each.offset) for each in written]

    def close(self) -> None:
        """Never raises, takes about a second; a `write` that still waits ends as unavailable."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is not None:
            _end(producer)

    def _current(self) -> KafkaProducer:
        with self._lock:
            if self._closed:
                raise BackendUnavailable(BACKEND, "the writer is closed")
            if self._producer is None:
                self._producer = self._new_producer()
            return self._producer

    def _discard(self, producer: KafkaProducer) -> None:
        """The next write starts with a new producer; writes that wait for this one end as unavailable.

        kafka-python's idempotent producer acknowledges nothing ever again once a record that had been sent
        has expired, though the broker is long back.
        """
        with self._lock:
            if self._producer is not producer:
                return
            self._producer = None
        _end(producer)

    def _new_producer(self) -> KafkaProducer:
        connection = self._connection
        with translated(connection.bootstrap):
            return KafkaProducer(
                **connection.options()
                | {
                    "acks": "all",
                    "allow_auto_create_topics": False,
                    "compression_type": "lz4",
                    "delivery_timeout_ms": ms(connection.timeout_s),
                    "request_timeout_ms": ms(connection.timeout_s / 2),
                    "max_block_ms": ms(connection.timeout_s / 2),
                    "max_request_size": MAX_REQUEST_BYTES,
                    "linger_ms": 2,
                    "value_serializer": _Wrapped(),
                    "api_version": self._api_version,
                }
            )


def _end(producer: KafkaProducer) -> None:
    # `write` returns only what is acknowledged, so nobody misses the rest. Without force, a broker that hangs
    # is waited for, and waited for again when the producer is collected.
    producer._sender.force_close()
    try:
        producer.close(timeout=CLOSE_S)
    except kafka_errors.KafkaError as error:
        log.warning("closing the producer: %s", error)


def _writable(headers: Headers) -> list[tuple[str, bytes]]:
    return [(HeaderName(name), value) for name, value in headers]


def _acknowledged(future: Any, topic: str, deadline: float) -> Any:
    try:
        return future.get(timeout=max(deadline - time.monotonic(), 0.0))
    except kafka_errors.MessageSizeTooLargeError as exc:
        raise ConfigurationError(
            f"topic {topic} cannot hold a record: raise its max.message.bytes above that of the products"
        ) from exc


class KafkaScoreLog:
    """The history of one generation's scores, as JSON keyed by product id."""

    def __init__(
        self, writer: KafkaWriter, topic: str, *, generation: int, model: str, contract: str
    ) -> None:
        self._writer = writer
        self._topic = topic
        self._generation = generation
        self._model = model
        self._contract = contract

    def append(self, entries: Sequence[Score | Tombstone]) -> None:
        """See `ports.ScoreLog`."""
        self._writer.write(self._topic, [self._message(entry) for entry in entries])

    def _message(self, entry: Score | Tombstone) -> Message:
        record = score_log_record(
            entry, generation=self._generation, model=self._model, contract=self._contract
        )
        return entry.product_id.encode(), record.model_dump_json().encode(), ()

    def close(self) -> None:
        """The writer belongs to the caller."""


class KafkaDeadLetters:
    """Rejected records as they came, with why, where from, and by which version."""

    def __init__(self, writer: KafkaWriter, topic: str, version: str) -> None:
        self._writer = writer
        self._topic = topic
        self._version = version

    def put(self, rejected: Sequence[tuple[Envelope[bytes | None], Rejection]]) -> None:
        """See `ports.DeadLetters`."""
        self._writer.write(self._topic, [self._message(*each) for each in rejected])

    def _message(self, envelope: Envelope[bytes | None], rejection: Rejection) -> Message:
        at = envelope.position
        why = {
            REASON_HEADER: rejection.reason,
            STAGE_HEADER: rejection.stage,
            DETAIL_HEADER: rejection.detail,
            ORIGIN_HEADER: f"{at.partition.topic}/{at.partition.number}/{at.offset}",
            ORIGIN_EVENT_HEADER: str(envelope.order.event_ms),
            VERSION_HEADER: self._version,
        }
        ours = tuple((name, text.encode(errors="replace")) for name, text in why.items())
        return envelope.key, envelope.value, envelope.headers + ours

    def close(self) -> None:
        """The writer belongs to the caller."""


class KafkaPublisher:
    """Publishes products: what `adgauge publish` and the demo use."""

    def __init__(self, writer: KafkaWriter, topic: str) -> None:
        self._writer = writer
        self._topic = topic

    def publish(self, records: Sequence[tuple[bytes | None, bytes | None]]) -> list[Position]:
        """Write (key, value) records, a null value deletes; returns where they stand."""
        return self._writer.write(self._topic, [(key, value, ()) for key, value in records])
