"""Who may be in the consumer group, on Apache Kafka."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from kafka import KafkaConsumer
from kafka.coordinator.assignors.range import RangePartitionAssignor

from adgauge.adapters.kafka import KafkaSource, plain_connection
from adgauge.errors import ConfigurationError
from tests.conftest import MakeTopic
from tests.contract.test_source import DEADLINE_S, Recording

pytestmark = pytest.mark.tool("kafka")


@contextmanager
def joined(bootstrap: str, topic: str, instance_id: str | None) -> Iterator[tuple[KafkaSource, Recording]]:
    source, listener = (
        KafkaSource(
            plain_connection(bootstrap),
            topic,
            group=topic,
            instance_id=instance_id,
            session_timeout_s=6.0,
            max_records=100,
            clock_ms=lambda: time.time_ns() // 1_000_000,
        ),
        Recording(),
    )
    source.subscribe(listener)
    try:
        yield source, listener
    finally:
        source.close()


def poll_until_assigned(source: KafkaSource, listener: Recording) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not listener.partitions:
        assert time.monotonic() < deadline, "no partition came"
        source.poll(0.1)


def poll_until_refused(source: KafkaSource) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        source.poll(0.1)


def test_of_two_workers_with_one_instance_id_the_former_ends_with_one_line(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("products")
    with joined(kafka_bootstrap, topic, "worker-0") as (former, told):
        poll_until_assigned(former, told)
        with joined(kafka_bootstrap, topic, "worker-0") as (latter, told_latter):
            poll_until_assigned(latter, told_latter)
            with pytest.raises(ConfigurationError, match=r"^Kafka refuses us: [^\n]*$"):
                poll_until_refused(former)


def test_a_group_of_consumers_that_assign_otherwise_is_refused_with_one_line(
    kafka_bootstrap: str, make_topic: MakeTopic
) -> None:
    topic = make_topic("products")
    other = KafkaConsumer(
        topic,
        bootstrap_servers=kafka_bootstrap,
        group_id=topic,
        enable_auto_commit=False,
        partition_assignment_strategy=[RangePartitionAssignor],
    )
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not other.assignment():
            assert time.monotonic() < deadline, "the other program got no partition"
            other.poll(100)
        with (
            joined(kafka_bootstrap, topic, None) as (source, _),
            pytest.raises(ConfigurationError, match=r"^Kafka refuses us: [^\n]*$"),
        ):
            poll_until_refused(source)
    finally:
        other.close()
