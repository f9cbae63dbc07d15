"""A topic that is deleted while it is read, on Apache Kafka."""

import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka.presence import GONE_S
from adgauge.errors import BackendUnavailable, ConfigurationError
from tests.conftest import MakeTopic
from tests.contract.test_source import (
    DEADLINE_S,
    NOW_MS,
    OnKafka,
    Recording,
    poll_for,
    poll_until,
    source_over,
)

pytestmark = pytest.mark.tool("kafka")


@pytest.fixture
def admin(kafka_bootstrap: str) -> Iterator[KafkaAdminClient]:
    with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        yield admin


def test_a_topic_that_is_gone_for_a_while_ends_polling_with_one_line(
    kafka_bootstrap: str, make_topic: MakeTopic, admin: KafkaAdminClient
) -> None:
    topic = make_topic("products")
    now_ms = NOW_MS
    listener = Recording()
    source = source_over(plain_connection(kafka_bootstrap), topic, lambda: now_ms)
    source.subscribe(listener)
    poll_until(source, lambda _: bool(listener.partitions))
    admin.delete_topics([topic])
    poll_until(source, lambda _: bool(listener.gone))
    now_ms += round(GONE_S * 1000) - 1
    source.poll(0.5)
    now_ms += 1
    for _ in range(2):  # it stays so
        with pytest.raises(
            ConfigurationError, match=rf"^Kafka has no topic {topic} any more: create it [^\n]*$"
        ):
            source.poll(0.1)
    admin.create_topics([NewTopic(topic, 1, 1)])
    began = time.monotonic()
    source.close()

    assert time.monotonic() - began < 5


def test_a_topic_that_is_made_again_is_read_from_its_beginning_after_a_restart(
    kafka_bootstrap: str, make_topic: MakeTopic, admin: KafkaAdminClient
) -> None:
    log = OnKafka(plain_connection(kafka_bootstrap), make_topic("products"))
    log.publish([(b"a", b"old")] * 3)
    source, listener = log.open(), Recording(committable={log.partition: 3})
    source.subscribe(listener)
    poll_until(source, lambda found: len(found) == 3)
    admin.delete_topics([log.partition.topic])
    poll_until(source, lambda _: bool(listener.gone))
    admin.create_topics([NewTopic(log.partition.topic, 1, 1)])
    log.publish([(b"a", b"new")] * 5)
    with pytest.raises(ConfigurationError, match=r"^[^\n]* was deleted and made again: [^\n]*$"):
        poll_for(source, DEADLINE_S)
    with pytest.raises(BackendUnavailable, match=log.partition.topic):
        source.commit({log.partition: 3})
    source.close()
    again = log.open()
    again.subscribe(Recording())
    found = poll_until(again, lambda found: len(found) == 5)
    again.close()

    assert [each.position.offset for each in found] == [0, 1, 2, 3, 4]
