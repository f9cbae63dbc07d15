"""`adgauge topics create`."""

from __future__ import annotations

import re

from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.errors import ConfigurationError

_LEGAL = re.compile(r"[a-zA-Z0-9._-]{1,249}")


def create_missing_topics(partitions: int, replication: int | None) -> int:
    """Create the three topics where they are missing, each with its retention."""
    settings = load_settings(ServerSettings)
    for name in settings.topics():
        _require_legal(name)
    plans = planned_topics(*settings.topics(), replication=replication)
    with KafkaAdmin(settings.kafka()) as admin:
        existing = admin.topics([plan.name for plan in plans])
        for plan in plans:
            created = plan.name not in existing and admin.create(plan, partitions, replication)
            what = f"created with {partitions} partitions" if created else "exists, left as it is"
            print(f"{plan.name}: {what}")
    return 0


def _require_legal(name: str) -> None:
    if not _LEGAL.fullmatch(name) or name in (".", ".."):
        raise ConfigurationError(
            f"{name!r} is no name for a topic: letters, digits, `.`, `_` and `-`, at most 249 of them"
        )
