"""The three topics: what they keep, whether they exist, creating them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient

from adgauge.adapters.kafka.connection import KafkaConnection, ms, translated
from adgauge.errors import ConfigurationError

DAY_MS = 24 * 3600 * 1000
MESSAGE_BYTES = 16 * 2**20
HEADROOM_BYTES = 64 * 2**10
"""A dead letter is larger than its record by its headers."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of the three topics."""

    products: str
    scores: str
    dead_letters: str

    def settings(self) -> dict[str, dict[str, str]]:
        """Retention and compaction of each; a dead letter must fit wherever its record did."""
        return {
            self.products: {
                "cleanup.policy": "compact",
                "min.compaction.lag.ms": str(7 * DAY_MS),
                "max.message.bytes": str(MESSAGE_BYTES),
            },
            self.scores: {"cleanup.policy": "delete", "retention.ms": str(400 * DAY_MS)},
            self.dead_letters: {
                "cleanup.policy": "delete",
                "retention.ms": str(14 * DAY_MS),
                "max.message.bytes": str(MESSAGE_BYTES + HEADROOM_BYTES),
            },
        }


def missing_topics(connection: KafkaConnection, names: Collection[str]) -> list[str]:
    """Those of `names` that do not exist. Raises ConfigurationError, BackendUnavailable."""
    with _admin(connection) as admin:
        described = admin.describe_topics(sorted(names))
    found = {topic["name"] for topic in described if topic["error_code"] == 0}
    return sorted(set(names) - found)


def require_topics(connection: KafkaConnection, names: Collection[str]) -> None:
    """Raises ConfigurationError when a topic is missing, BackendUnavailable when nobody answers."""
    if missing := missing_topics(connection, names):
        raise ConfigurationError(
            f"Kafka at {connection.bootstrap} has no topic {', '.join(missing)}:"
            " create it with `adgauge topics create`, or name another"
        )


def create_topics(
    connection: KafkaConnection, topics: Topics, partitions: int, replication: int
) -> list[str]:
    """Create what is missing and return its names; existing topics stay as they are."""
    settings = topics.settings()
    missing = missing_topics(connection, settings)
    if missing:
        with _admin(connection) as admin:
            wanted = {
                name: {
                    "num_partitions": partitions,
                    "replication_factor": replication,
                    "configs": settings[name],
                }
                for name in missing
            }
            admin.create_topics(wanted, timeout_ms=ms(connection.timeout_s), wait_for_metadata=True)
    return missing


@contextmanager
def _admin(connection: KafkaConnection) -> Iterator[Any]:
    with translated(connection.bootstrap):
        client = KafkaAdminClient(**connection.options())
        try:
            yield client
        finally:
            client.close()
