"""What people ask of Kafka: topics and rights, committed offsets, reading a topic from its beginning."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.admin import ConfigResource, ConfigResourceType

from adgauge.adapters.kafka.connection import KafkaConnection, ms, translated

DAY_MS = 24 * 3600 * 1000
MESSAGE_BYTES = 16 * 2**20
"""What a topic takes: more than a scorer does, so that a record too large for it becomes a dead letter."""
HEADROOM_BYTES = 64 * 2**10
"""A dead letter is larger than its record by its headers."""
_POLL_S = 0.3
_LOADING_S = 0.1


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be created."""

    name: str
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is; `rights` (READ, WRITE …) None: the broker does not say what we may do."""

    partitions: int
    rights: frozenset[str] | None
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class TopicRecord:
    """A record that was read from a topic."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    def header(self, name: str) -> bytes | None:
        """The value of a header; the last one where it comes several times."""
        return dict(self.headers).get(name)


class OutOfTime(Exception):
    """A topic was not read to its end; what was read is good."""


def planned_topics(
    products: str, scores: str, dead_letters: str, *, replication: int | None = None
) -> list[TopicPlan]:
    """Input, score log and dead letters with what they keep.

    Of three replicas or more two must have a write before it counts; otherwise that is the brokers' default.

    The input is a table: the newest record of each product stays, and every record for at least 7 days.
    Scores stay 400 days, so that a month can be compared with the same one a year before; dead letters 14.
    """
    table = {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": str(7 * DAY_MS),
        "max.message.bytes": str(MESSAGE_BYTES),
    }
    letters = _kept(14) | {"max.message.bytes": str(MESSAGE_BYTES + HEADROOM_BYTES)}
    safe = {"min.insync.replicas": "2"} if (replication or 0) >= 3 else {}
    plans = {products: table, scores: _kept(400), dead_letters: letters}
    return [TopicPlan(name, configs | safe) for name, configs in plans.items()]


def _kept(days: int) -> dict[str, str]:
    return {"cleanup.policy": "delete", "retention.ms": str(days * DAY_MS)}


class KafkaAdmin:
    """Looks at a cluster and creates topics. Raises ConfigurationError and BackendUnavailable."""

    def __init__(self, connection: KafkaConnection) -> None:
        self._connection = connection
        with translated(connection.bootstrap):
            self._client = KafkaAdminClient(**connection.options())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def topics(self, names: Sequence[str]) -> dict[str, TopicState]:
        """Those of the named topics that exist and that we may see."""
        with translated():
            found = self._client.describe_topics(list(names))
        return {
            topic["name"]: TopicState(
                len(topic["partitions"]),
                _rights(topic["authorized_operations"]),
                min((len(each["replica_nodes"]) for each in topic["partitions"]), default=0),
            )
            for topic in found
            if topic["error_code"] == 0
        }

    def configs(self, topic: str) -> dict[str, str]:
        """How a topic is configured, defaults included; empty when the broker does not say."""
        asked = ConfigResource(ConfigResourceType.TOPIC, topic)
        with translated():
            try:
                found = self._client.describe_configs([asked], config_filter="all")
            except kafka_errors.AuthorizationError:
                return {}
        by_topic: Mapping[str, Mapping[str, Any]] = next(iter(found.values()), {})
        return {name: str(each["value"]) for name, each in by_topic.get(topic, {}).items()}

    def create(self, plan: TopicPlan, partitions: int, replication: int | None = None) -> bool:
        """Create a topic, with the brokers' replication unless it is given; False when it was there."""
        wanted = {
            plan.name: {
                "num_partitions": partitions,
                "replication_factor": replication or -1,
                "configs": dict(plan.configs),
            }
        }
        with translated():
            try:
                self._client.create_topics(wanted, wait_for_metadata=True)
            except kafka_errors.TopicAlreadyExistsError:
                return False
        return True

    def committed(self, group: str, topic: str, partitions: Sequence[int]) -> dict[int, int]:
        """Next offset that `group` will read, by partition; 0 where it has not committed."""
        asked = [TopicPartition(topic, number) for number in partitions]
        deadline = time.monotonic() + self._connection.timeout_s
        with translated():
            while True:
                try:
                    found = self._client.list_group_offsets({group: asked})[group]
                    break
                except kafka_errors.CoordinatorNotAvailableError:  # no group has been here yet
                    return dict.fromkeys(partitions, 0)
                except kafka_errors.CoordinatorLoadInProgressError:  # a broker that took the group over
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_LOADING_S)
        return {name.partition: max(committed.offset, 0) for name, committed in found.items()}

    def read(self, topic: str, deadline: float) -> Iterator[TopicRecord]:
        """Every record of a topic, from its beginning to what is its end now.

        Raises OutOfTime when `deadline` (of time.monotonic) passes first.
        """
        options = self._connection.options() | {"enable_auto_commit": False}
        with translated(), closing(KafkaConsumer(**options)) as consumer:
            partitions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            # The embedded broker understates ends, so the topic also has to fall silent.
            silent = False
            while not silent or any(consumer.position(name) < end for name, end in ends.items()):
                if time.monotonic() > deadline:
                    raise OutOfTime
                polled = consumer.poll(timeout_ms=ms(_POLL_S))
                silent = not polled
                yield from (topic_record(record) for records in polled.values() for record in records)


def topic_record(record: Any) -> TopicRecord:
    """A consumer's record as a value."""
    return TopicRecord(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp_ms=record.timestamp,
        key=record.key,
        value=record.value,
        headers=tuple((name, value or b"") for name, value in record.headers),
    )


def _rights(operations: list[str] | None) -> frozenset[str] | None:
    return None if operations is None else frozenset(operations)
