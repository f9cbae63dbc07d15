"""The stream of products, as one consumer of a group."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from adgauge.adapters.kafka.connection import KafkaConnection, ms, translated
from adgauge.pipeline.ports import PartitionListener
from adgauge.records import EVENT_HEADER, Envelope, Flag, Partition, Position, event_order

log = logging.getLogger(__name__)


COMMIT_S = 3.0
"""A commit holds up polling, so it may not take long; what was not committed is committed next time."""


class KafkaSource:
    """One consumer of a group on one topic; offsets are committed by hand, partitions move cooperatively.

    `instance_id` makes it a static member. `clock_ms` is the time of day. Raises BackendUnavailable when
    no broker answers at the start.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        topic: str,
        group: str,
        *,
        instance_id: str | None,
        session_timeout_s: float,
        max_records: int,
        clock_ms: Callable[[], int],
    ) -> None:
        self._topic = topic
        self._clock_ms = clock_ms
        self._commit_timeout_ms = ms(min(connection.timeout_s, COMMIT_S))
        self._paused = False
        with translated(connection.bootstrap):
            self._consumer = KafkaConsumer(
                **connection.options(),
                group_id=group,
                group_instance_id=instance_id,
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                allow_auto_create_topics=False,
                # Only cooperative: under the eager protocol a partition that is revoked and given back at
                # once goes on at its position, and what waited here would be skipped.
                partition_assignment_strategy=[CooperativeStickyAssignor],
                session_timeout_ms=ms(session_timeout_s),
                heartbeat_interval_ms=ms(session_timeout_s / 3),
                max_poll_records=max_records,
            )
        _finish_every_join(self._consumer)

    def subscribe(self, listener: PartitionListener) -> None:
        """See `ports.Source`."""
        self._consumer.subscribe([self._topic], listener=_Rebalances(self._consumer, self, listener))

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """See `ports.Source`."""
        with translated():
            polled = self._consumer.poll(timeout_ms=ms(timeout_s))
        now_ms = self._clock_ms()
        return [_envelope(record, now_ms) for records in polled.values() for record in records]

    def pause(self) -> None:
        """See `ports.Source`."""
        self._paused = True
        self.pause_if_paused()

    def pause_if_paused(self) -> None:
        """Partitions that arrive while the source is paused are paused as well."""
        if self._paused:
            self._consumer.pause(*self._consumer.assignment())

    def resume(self) -> None:
        """See `ports.Source`."""
        self._paused = False
        self._consumer.resume(*self._consumer.assignment())

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See `ports.Source`."""
        with translated():
            self._consumer.commit(_offsets(next_offsets), timeout_ms=self._commit_timeout_ms)

    def lag(self) -> Mapping[Partition, int]:
        """See `ports.Source`."""
        lags = {}
        with translated():
            for name in self._consumer.assignment():
                end = self._consumer.highwater(name)
                if end is not None:  # fetched from, so its position is known without asking
                    lags[_partition(name)] = max(end - self._consumer.position(name, timeout_ms=100), 0)
        return lags

    def close(self) -> None:
        """See `ports.Source`."""
        try:
            self._consumer.close(autocommit=False, timeout_ms=self._commit_timeout_ms)
        except kafka_errors.KafkaError as error:
            log.warning("leaving the group: %s", error)


class _Rebalances(AsyncConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python is untyped
    """Runs on kafka-python's own loop, where a blocking commit would stop the heartbeats."""

    def __init__(self, consumer: KafkaConsumer, source: KafkaSource, listener: PartitionListener) -> None:
        self._consumer = consumer
        self._source = source
        self._listener = listener

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._source.pause_if_paused()
        self._listener.assigned([_partition(name) for name in assigned])

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        offsets = self._listener.revoked([_partition(name) for name in revoked])
        if offsets:
            try:
                await self._consumer.commit_async(_offsets(offsets))
            except kafka_errors.KafkaError as error:
                log.warning("not committed on revocation, these records come again: %s", error)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._listener.lost([_partition(name) for name in lost])


def _finish_every_join(consumer: KafkaConsumer) -> None:
    """Take up the result of a join that outlives a poll, whatever started it.

    kafka-python drops the assignment when changed metadata had started the join: the consumer then stays
    in the group without partitions and without heartbeats. Java's client had the like (KAFKA-9815).
    """
    coordinator = consumer._coordinator
    need_rejoin = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: need_rejoin() or coordinator.rejoining


def _envelope(record: Any, now_ms: int) -> Envelope[bytes | None]:
    headers = tuple((name, value or b"") for name, value in record.headers)
    stated = dict(headers).get(EVENT_HEADER)
    order, clamped = event_order(stated, record.timestamp, now_ms, record.offset)
    return Envelope(
        payload=record.value,
        position=Position(Partition(record.topic, record.partition), record.offset),
        order=order,
        key=record.key,
        value=record.value,
        headers=headers,
        flags=frozenset({Flag.EVENT_CLAMPED}) if clamped else frozenset(),
    )


def _partition(name: TopicPartition) -> Partition:
    return Partition(name.topic, name.partition)


def _offsets(next_offsets: Mapping[Partition, int]) -> dict[TopicPartition, OffsetAndMetadata]:
    return {
        TopicPartition(partition.topic, partition.number): OffsetAndMetadata(offset, "", -1)
        for partition, offset in next_offsets.items()
    }
