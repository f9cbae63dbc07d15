"""`adgauge topics create`."""

from __future__ import annotations

from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from adgauge.cli.settings import load_settings


def create_missing_topics(partitions: int) -> int:
    """Create the three topics where they are missing, each with its retention."""
    settings = load_settings()
    plans = planned_topics(settings.products_topic, settings.scores_topic, settings.dead_letters_topic)
    with KafkaAdmin(settings.kafka()) as admin:
        existing = admin.topics([plan.name for plan in plans])
        for plan in plans:
            created = plan.name not in existing and admin.create(plan, partitions)
            what = f"created with {partitions} partitions" if created else "exists, left as it is"
            print(f"{plan.name}: {what}")
    return 0
