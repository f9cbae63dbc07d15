"""`adgauge topics create`."""

from __future__ import annotations

from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from adgauge.adapters.settings import ServerSettings, load_settings


def create_missing_topics(partitions: int) -> int:
    """Create the three topics where they are missing, each with its retention."""
    settings = load_settings(ServerSettings)
    plans = planned_topics(*settings.topics())
    with KafkaAdmin(settings.kafka()) as admin:
        existing = admin.topics([plan.name for plan in plans])
        for plan in plans:
            created = plan.name not in existing and admin.create(plan, partitions)
            what = f"created with {partitions} partitions" if created else "exists, left as it is"
            print(f"{plan.name}: {what}")
    return 0
