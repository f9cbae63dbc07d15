"""The check at start that topics exist. `adapters/kafka_admin.py` creates them."""

from __future__ import annotations

from collections.abc import Collection

from kafka import KafkaAdminClient

from adgauge.adapters.kafka.connection import KafkaConnection, translated
from adgauge.errors import ConfigurationError


def require_topics(connection: KafkaConnection, names: Collection[str]) -> None:
    """Raises ConfigurationError when a topic is missing, BackendUnavailable when nobody answers."""
    with translated(connection.bootstrap):
        client = KafkaAdminClient(**connection.options())
        try:
            described = client.describe_topics(sorted(names))
        finally:
            client.close()
    missing = set(names) - {topic["name"] for topic in described if topic["error_code"] == 0}
    if missing:
        raise ConfigurationError(
            f"Kafka at {connection.bootstrap} has no topic {', '.join(sorted(missing))}:"
            " create it with `adgauge topics create`, or name another"
        )
