"""What there is to judge by, read with Kafka's and Redis's own clients: plain values, nothing interpreted."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import RetriableError
from redis.cluster import RedisCluster

from tests.chaos.ledger import Entry, read_ledger, record_digest

QUIET_POLLS = 50
"""Polls of POLL_MS without a record before a topic is given up."""
POLL_MS = 200
COORDINATOR_S = 30.0
CHUNK = 1000
"""Keys read from Redis at once."""

Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True)
class Run:
    """Where one run left its traces."""

    ledger: Path
    bootstrap: str
    products_topic: str
    scores_topic: str
    dead_letters_topic: str
    group: str
    redis_url: str
    generation: int


@dataclass(frozen=True, slots=True)
class Logged:
    """One line of the score log."""

    id: str
    outcome: str
    event_ms: int
    offset: int
    score: float | None
    contract: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: which record it holds, the digest of its bytes, and why."""

    partition: int
    offset: int
    digest: str
    reason: str


@dataclass(frozen=True)
class Facts:
    """Everything read. `published` is the products' topic itself: the digest of the record at each place."""

    ledger: Sequence[Entry]
    published: Mapping[Place, str]
    log: Sequence[Logged]
    letters: Sequence[Letter]
    lines: Mapping[str, str]
    committed: Mapping[int, int]
    ends: Mapping[int, int]

    @cached_property
    def places(self) -> Mapping[str, list[Place]]:
        """Where each record stands, by its digest; more than one place when it was sent twice."""
        found: dict[str, list[Place]] = defaultdict(list)
        for place, digest in self.published.items():
            found[digest].append(place)
        return found

    def log_of(self, product_id: str) -> Sequence[Logged]:
        """A product's lines in the score log."""
        return self._logs.get(product_id, ())

    @cached_property
    def _logs(self) -> Mapping[str, list[Logged]]:
        found: dict[str, list[Logged]] = defaultdict(list)
        for each in self.log:
            found[each.id].append(each)
        return found


def gather(run: Run) -> Facts:
    """Read the ledger, the three topics, the group's offsets and Redis.

    Raises what the clients raise, and TimeoutError when a topic stops answering.
    """
    return Facts(
        ledger=read_ledger(run.ledger),
        published={
            (each.partition, each.offset): record_digest(each.key, each.value, each.headers)
            for each in records_of(run.bootstrap, run.products_topic)
        },
        log=[
            _logged(line)
            for each in records_of(run.bootstrap, run.scores_topic)
            if (line := json.loads(each.value))["generation"] == run.generation
        ],
        letters=[
            _letter(each, run.products_topic) for each in records_of(run.bootstrap, run.dead_letters_topic)
        ],
        lines=_lines(run.redis_url, f"ag:{run.generation}:"),
        committed=committed_of(run),
        ends=ends_of(run),
    )


def records_of(bootstrap: str, topic: str) -> Iterator[Any]:
    """All records that are in a topic by now."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)) as consumer:
        names = _names(consumer, topic)
        consumer.assign(names)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(names)
        quiet = 0
        while any(consumer.position(name) < end for name, end in ends.items()):
            polled = consumer.poll(timeout_ms=POLL_MS, max_records=5000)
            quiet = 0 if polled else quiet + 1
            if quiet > QUIET_POLLS:
                raise TimeoutError(f"{topic} cannot be read to its end")
            for records in polled.values():
                yield from records


def _names(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    partitions = consumer.partitions_for_topic(topic)
    if not partitions:
        raise ValueError(f"there is no topic {topic}")
    return [TopicPartition(topic, partition) for partition in sorted(partitions)]


def ends_of(run: Run) -> dict[int, int]:
    """Per partition of the products' topic the offset of its next record."""
    with closing(KafkaConsumer(bootstrap_servers=run.bootstrap, enable_auto_commit=False)) as consumer:
        ends = consumer.end_offsets(_names(consumer, run.products_topic))
    return {name.partition: end for name, end in ends.items()}


def committed_of(run: Run) -> dict[int, int]:
    """Per partition the next offset that the group will read; none where it has not committed."""
    with closing(KafkaAdminClient(bootstrap_servers=run.bootstrap)) as admin:
        offsets = _group_offsets(admin, run.group)
    return {
        name.partition: each.offset
        for name, each in offsets.items()
        if name.topic == run.products_topic and each.offset >= 0
    }


def _group_offsets(admin: KafkaAdminClient, group: str) -> Mapping[TopicPartition, Any]:
    """A coordinator is elected after a broker's return, and at first use: until then there is none to ask."""
    deadline = time.monotonic() + COORDINATOR_S
    while True:
        try:
            offsets: Mapping[TopicPartition, Any] = admin.list_group_offsets([group])[group]
            return offsets
        except RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _logged(line: Mapping[str, Any]) -> Logged:
    fields = ("id", "outcome", "event_ms", "offset", "score", "contract")
    return Logged(*(line[field] for field in fields))


def _letter(record: Any, products_topic: str) -> Letter:
    """The record that a dead letter holds; one of another topic has place (-1, -1)."""
    headers = dict(record.headers)
    topic, partition, offset = headers["adgauge-origin"].decode().rsplit("/", 2)
    place = (int(partition), int(offset)) if topic == products_topic else (-1, -1)
    digest = record_digest(record.key, record.value, record.headers)
    return Letter(*place, digest, headers.get("adgauge-reason", b"").decode())


def _lines(url: str, prefix: str) -> dict[str, str]:
    """What each key with this prefix holds, without the prefix; of every node of a Redis Cluster."""
    with closing(_client(url)) as client:
        keys: list[str] = list(client.scan_iter(match=f"{prefix}*", count=CHUNK))
        read = client.mget_nonatomic if isinstance(client, RedisCluster) else client.mget
        found: dict[str, str] = {}
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            values = zip(chunk, read(chunk), strict=True)
            found |= {key.removeprefix(prefix): value for key, value in values if value is not None}
    return found


def _client(url: str) -> Any:
    client = redis.Redis.from_url(url, decode_responses=True, encoding_errors="replace")
    if not client.info("cluster").get("cluster_enabled"):
        return client
    client.close()
    return RedisCluster.from_url(url, decode_responses=True, encoding_errors="replace")
