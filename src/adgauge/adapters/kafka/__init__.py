"""Kafka: the stream of products in, score log and dead letters out. kafka-python 3."""

from adgauge.adapters.kafka.connection import KafkaConnection, plain_connection
from adgauge.adapters.kafka.header_names import read_any_header_name
from adgauge.adapters.kafka.repeated_lines import say_seldom
from adgauge.adapters.kafka.source import KafkaSource, envelope_of
from adgauge.adapters.kafka.topics import require_topics
from adgauge.adapters.kafka.writers import KafkaDeadLetters, KafkaPublisher, KafkaScoreLog, KafkaWriter

read_any_header_name()
say_seldom()

__all__ = [
    "KafkaConnection",
    "KafkaDeadLetters",
    "KafkaPublisher",
    "KafkaScoreLog",
    "KafkaSource",
    "KafkaWriter",
    "envelope_of",
    "plain_connection",
    "require_topics",
]
