"""Whether the topic that is read is still there, and still the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adgauge.adapters.kafka.connection import ms
from adgauge.errors import ConfigurationError

GONE_S = 10.0
"""Brokers that say for so long that there is no such topic are believed."""


class Presence:
    """A topic as the brokers speak of it to a consumer; `cluster` is what its client knows of them.

    Of a topic that was deleted kafka-python polls nothing for ever; of one that was made again by the same
    name it reads on at the offset of the one before, and what is in front of it would be skipped.
    Brokers that do not answer say nothing about topics.
    """

    def __init__(self, cluster: Any, topic: str, group: str, clock_ms: Callable[[], int]) -> None:
        self._cluster = cluster
        self._topic = topic
        self._group = group
        self._clock_ms = clock_ms
        self._id: object = None  # of the topic that we read; older brokers have none
        self._known = False
        self._missing_since_ms: int | None = None

    def require(self) -> None:
        """Call it after each poll; raises ConfigurationError when the topic is another or gone."""
        if self._cluster.partitions_for_topic(self._topic):
            self._require_same()
        elif self._known:
            self._require_back_soon()

    def is_same(self) -> bool:
        """Whether the topic that we read is there: offsets of it are nothing to commit to another."""
        there = bool(self._cluster.partitions_for_topic(self._topic))
        return there and self._cluster.topic_id(self._topic) == self._id

    def _require_same(self) -> None:
        now = self._cluster.topic_id(self._topic)
        if not self._known:
            self._known, self._id = True, now
        self._missing_since_ms = None
        if now != self._id:
            raise ConfigurationError(
                f"Kafka's topic {self._topic} was deleted and made again: start again, group {self._group}"
                " then reads it from its beginning"
            )

    def _require_back_soon(self) -> None:
        now_ms = self._clock_ms()
        if self._missing_since_ms is None:
            self._missing_since_ms = now_ms
        if abs(now_ms - self._missing_since_ms) >= ms(GONE_S):
            raise ConfigurationError(
                f"Kafka has no topic {self._topic} any more: create it with `adgauge topics create`"
            )
