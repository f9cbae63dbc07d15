"""The stream of products, as one consumer of a group."""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import AsyncConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka import errors as kafka_errors
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor

from adgauge.adapters.kafka.connection import BACKEND, KafkaConnection, ms, translated
from adgauge.adapters.kafka.presence import Presence
from adgauge.errors import BackendUnavailable, ConfigurationError
from adgauge.pipeline.ports import PartitionListener
from adgauge.records import EVENT_HEADER, Envelope, Flag, Partition, Position, event_order

log = logging.getLogger(__name__)


COMMIT_S = 3.0
"""A commit holds up polling, so it may not take long; what was not committed is committed next time."""
ENDS_S, ENDS_EVERY_S = 1.0, 10.0
"""Asking where partitions end holds up polling as well. Fetches tell too, but not while paused."""
HEARTBEATS = 10
"""In a session. They also tell of a rebalance, and a cooperative one waits for each member twice."""
UNDECODABLE = (kafka_errors.CorruptRecordError, kafka_errors.UnsupportedCodecError)
"""What kafka-python says of a batch it cannot decode; of a record in it, whatever Python raised there."""
DECODING = ("kafka.record", "kafka.codec", "adgauge.adapters.kafka.header_names")


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
        self._group = group
        self._clock_ms = clock_ms
        self._commit_timeout_ms = ms(min(connection.timeout_s, COMMIT_S))
        self._paused = False
        self._pausing = threading.Lock()  # of the flag and of what the client is told by it
        self._ended: ConfigurationError | None = None  # why nothing can be read on
        self._ends: dict[TopicPartition, int] = {}
        self._ends_asked_ms = 0
        self._told: set[TopicPartition] = set()  # partitions the listener knows to be ours
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
                heartbeat_interval_ms=ms(session_timeout_s / HEARTBEATS),
                max_poll_records=max_records,
            )
        self._presence = Presence(self._consumer._cluster, topic, group, clock_ms)
        _finish_every_join(self._consumer)
        _tell_when_fenced(self._consumer, self._fenced)

    def subscribe(self, listener: PartitionListener) -> None:
        """See `ports.Source`."""
        self._listener = listener
        self._consumer.subscribe([self._topic], listener=_Rebalances(self._consumer, self, listener))

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """See `ports.Source`."""
        if self._ended is not None:
            raise self._ended
        with translated():
            polled = self._poll(ms(timeout_s))
        try:
            self._presence.require()
        except ConfigurationError as error:
            self._ended = error
            raise
        # In one rebalance kafka-python fetches from what it gained while it still commits what it lost.
        self.tell_assigned(polled.keys() & self._consumer.assignment())
        now_ms = self._clock_ms()
        return [envelope_of(record, now_ms) for records in polled.values() for record in records]

    def _poll(self, timeout_ms: int) -> Mapping[TopicPartition, Sequence[Any]]:
        """Polls until there is a record that cannot be decoded: never again, it would spin for ever."""
        fetcher = self._consumer._fetcher
        try:
            polled: Mapping[TopicPartition, Sequence[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
        except Exception as exc:
            if not is_undecodable(exc):
                raise
            self._ended = self._cannot_decode(exc, fetcher._next_partition_records)
            raise self._ended from exc
        # What came before it is delivered first; kafka-python would forget the error in a pause.
        kept = fetcher._next_in_line_exception_metadata
        if kept is not None and is_undecodable(kept.exception):
            self._ended = self._cannot_decode(kept.exception, fetcher._next_partition_records)
        return polled

    def _fenced(self, instance_id: str) -> None:
        self._ended = ConfigurationError(
            f"Kafka refuses us: another worker of group {self._group} has come with ADGAUGE_INSTANCE_ID"
            f" {instance_id} and has our partitions: give each worker a name of its own"
        )

    def _cannot_decode(self, error: Exception, at: Any) -> ConfigurationError:
        where = (
            f"{at.topic_partition.topic}/{at.topic_partition.partition} at offset {at.next_fetch_offset}"
            if at is not None
            else f"topic {self._topic}"
        )
        return ConfigurationError(
            f"Kafka: a record cannot be decoded, {where}: {type(error).__name__}: {error}; nothing behind it"
            f" was read: set the offset of group {self._group} behind its batch and start again"
        )

    def pause(self) -> None:
        """See `ports.Source`."""
        with self._pausing:
            self._paused = True
            self._each(self._consumer.pause)

    def tell_assigned(self, names: Collection[TopicPartition]) -> None:
        """Tell the listener of partitions before it is given their records."""
        new = [_partition(name) for name in names if name not in self._told]
        self._told.update(names)
        if new:
            self._listener.assigned(new)

    def forget(self, names: Collection[TopicPartition]) -> None:
        """These are no longer ours."""
        self._told.difference_update(names)

    def pause_if_paused(self) -> None:
        """Partitions that arrive while the source is paused are paused as well."""
        with self._pausing:
            if self._paused:
                self._each(self._consumer.pause)

    def resume(self) -> None:
        """See `ports.Source`."""
        with self._pausing:
            self._paused = False
            self._each(self._consumer.resume)

    def _each(self, change: Callable[[TopicPartition], None]) -> None:
        for name in self._consumer.assignment():
            with suppress(KeyError):  # it went to another worker in between
                change(name)

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See `ports.Source`."""
        if not self.may_commit():
            raise BackendUnavailable(BACKEND, f"topic {self._topic} is gone, its offsets are of no use")
        with translated():
            self._consumer.commit(_offsets(next_offsets), timeout_ms=self._commit_timeout_ms)

    def may_commit(self) -> bool:
        """Not to a topic that was made again under the name of the one that we read."""
        return self._presence.is_same()

    def lag(self, undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """See `ports.Source`."""
        self._ask_ends()
        lags = {}
        with translated():
            for name in self._consumer.assignment():
                partition = _partition(name)
                first = undecided.get(partition)
                if first is None:
                    first = self._consumer.position(name, timeout_ms=100)
                ends = (self._ends.get(name), self._consumer.highwater(name))
                end = max((each for each in ends if each is not None), default=None)
                if first is not None and end is not None:
                    lags[partition] = max(end - first, 0)
        return lags

    def _ask_ends(self) -> None:
        now_ms = self._clock_ms()
        if abs(now_ms - self._ends_asked_ms) < ms(ENDS_EVERY_S):
            return
        self._ends_asked_ms = now_ms
        try:
            self._ends = self._consumer.end_offsets(self._consumer.assignment(), timeout_ms=ms(ENDS_S))
        except kafka_errors.KafkaError as error:
            log.debug("where partitions end is not known: %s", error)

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
        self._source.tell_assigned(assigned)

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._source.forget(revoked)
        offsets = self._listener.revoked([_partition(name) for name in revoked])
        if offsets and self._source.may_commit():
            try:
                committed = self._consumer.commit_async(_offsets(offsets))
                await self._consumer._manager.wait_for(committed, ms(COMMIT_S))
            except kafka_errors.KafkaError as error:
                log.warning("not committed on revocation, these records come again: %s", error)

    async def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._source.forget(lost)
        self._listener.lost([_partition(name) for name in lost])


def _finish_every_join(consumer: KafkaConsumer) -> None:
    """Take up the result of a join that outlives a poll, whatever started it.

    kafka-python drops the assignment when changed metadata had started the join: the consumer then stays
    in the group without partitions and without heartbeats. Java's client had the like (KAFKA-9815).
    """
    coordinator = consumer._coordinator
    need_rejoin = coordinator.need_rejoin
    coordinator.need_rejoin = lambda: need_rejoin() or coordinator.rejoining


def _tell_when_fenced(consumer: KafkaConsumer, fenced: Callable[[str], None]) -> None:
    """Call `fenced` with our instance id when another member has taken it.

    kafka-python only ends its heartbeats then: it would go on delivering records that are another's.
    """
    coordinator = consumer._coordinator
    send = coordinator._send_heartbeat_request

    async def send_and_tell() -> None:
        try:
            await send()
        except kafka_errors.FencedInstanceIdError:
            fenced(coordinator.group_instance_id)
            raise

    coordinator._send_heartbeat_request = send_and_tell


def is_undecodable(error: Exception) -> bool:
    """Whether it was a record, and not the client or the machine, that went wrong."""
    if isinstance(error, (kafka_errors.KafkaError, OSError, MemoryError)):
        return isinstance(error, UNDECODABLE)
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(frame.f_globals.get("__name__", "").startswith(DECODING) for frame in frames)


def envelope_of(record: Any, now_ms: int) -> Envelope[bytes | None]:
    """A consumer's record as the pipeline takes it; everything that reads products orders them by this."""
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
