"""Reading a topic as a log: outside any group, without committing, bounded by what is in it now."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition

from adgauge.adapters.kafka.connection import BACKEND, KafkaConnection, ms, translated
from adgauge.errors import BackendUnavailable, ConfigurationError

_POLL_S = 0.3
_PAST_THE_END_S = 1.0
"""The embedded broker understates ends, so reading goes on a little, until the topic falls silent."""
_PATIENCE = 3.0
"""Time-outs of the connection without any record until a topic counts as unreadable."""


class KafkaLog:
    """One topic, read as often as one likes. Raises ConfigurationError and BackendUnavailable.

    Where reading ends is asked once, when it is opened, so that a reader who causes new records ends.
    """

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self.topic = topic
        self._stalled_s = _PATIENCE * connection.timeout_s
        with translated(connection.bootstrap):
            self._consumer = KafkaConsumer(
                **connection.options(), enable_auto_commit=False, allow_auto_create_topics=False
            )
        with translated():
            numbers = sorted(self._consumer.partitions_for_topic(topic) or ())
            if not numbers:
                self._consumer.close(autocommit=False)
                raise ConfigurationError(
                    f"there is no topic {topic}, or it may not be read: `adgauge topics create`"
                )
            self._ends = self._consumer.end_offsets([TopicPartition(topic, each) for each in numbers])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close(autocommit=False)

    @property
    def partitions(self) -> list[int]:
        """The numbers of its partitions."""
        return [name.partition for name in self._ends]

    def read(self, partitions: Sequence[int], since_ms: int | None = None) -> Iterator[Any]:
        """kafka-python's records of these partitions, each in its order; `since_ms` by record timestamp."""
        with translated():
            names = [TopicPartition(self.topic, number) for number in partitions]
            self._consumer.assign(names)
            self._seek(names, since_ms)
            read_at, reached_at = time.monotonic(), None
            while reached_at is None or time.monotonic() - reached_at < _PAST_THE_END_S:
                polled = self._consumer.poll(timeout_ms=ms(_POLL_S))
                if polled:
                    read_at = time.monotonic()
                for records in polled.values():
                    yield from records
                    read_at = time.monotonic()  # what was done with them does not count
                if all(self._consumer.position(name) >= self._ends[name] for name in names):
                    if not polled:
                        return
                    reached_at = reached_at or time.monotonic()
                elif time.monotonic() - read_at > self._stalled_s:
                    raise BackendUnavailable(BACKEND, f"{self.topic} gave nothing for {self._stalled_s:g} s")

    def _seek(self, names: Sequence[TopicPartition], since_ms: int | None) -> None:
        if since_ms is None:
            self._consumer.seek_to_beginning(*names)
            return
        found = self._consumer.offsets_for_times(dict.fromkeys(names, since_ms))
        for name in names:
            at = found.get(name)
            self._consumer.seek(name, at.offset if at is not None else self._ends[name])
