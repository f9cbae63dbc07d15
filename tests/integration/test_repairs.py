"""`adgauge dlq` and `adgauge reconcile` against Apache Kafka, Valkey, tritonserver and a running scorer."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition

from adgauge.adapters.kafka import KafkaWriter, plain_connection
from adgauge.adapters.kafka.writers import Message
from adgauge.adapters.kafka_admin import KafkaAdmin
from adgauge.records import EVENT_HEADER
from services.embedded.cache import Cache
from tests.brightness import grey_score, product_bytes
from tests.integration.test_cli import TOPICS, Ran, in_a_process, variables

pytestmark = pytest.mark.tool("kafka")

PRODUCTS = 60
NOW_MS = time.time_ns() // 1_000_000


class World:
    """The topics, servers and settings of one test, and what it does with them."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.environment = environment
        self.topic = environment["ADGAUGE_PRODUCTS_TOPIC"]
        self.redis = redis.Redis.from_url(environment["ADGAUGE_REDIS_URL"], decode_responses=True)
        self._folder = folder
        self._writer = KafkaWriter(plain_connection(environment["ADGAUGE_KAFKA_BOOTSTRAP"]))

    def publish(self, *records: Message) -> list[str]:
        written = self._writer.write(self.topic, records)
        return [f"{self.topic}/{each.partition.number}/{each.offset}" for each in written]

    def adgauge(self, *arguments: str) -> Ran:
        return in_a_process(self.environment, *arguments)

    def json(self, *arguments: str) -> Any:
        return json.loads(self.adgauge(*arguments, "--json").out)

    def held(self) -> dict[str, list[str]]:
        """Redis by key: score or `deleted`, event time and offset."""
        names = [str(name) for name in self.redis.keys("ag:7:*")]
        return {name: str(self.redis.get(name)).split(" ")[:3] for name in names}

    @contextmanager
    def scorer(self) -> Iterator[None]:
        with (self._folder / "scorer.log").open("ab") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "services.scorer"],
                env={**os.environ, **self.environment},
                stderr=output,
            )
        try:
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=30)

    def decided(self) -> bool:
        """Whether the scorers' group has committed everything."""
        connection = plain_connection(self.environment["ADGAUGE_KAFKA_BOOTSTRAP"])
        consumer = KafkaConsumer(**connection.options())
        numbers = sorted(consumer.partitions_for_topic(self.topic))
        ends = consumer.end_offsets([TopicPartition(self.topic, number) for number in numbers])
        consumer.close(autocommit=False)
        with KafkaAdmin(connection) as admin:
            committed = admin.committed(self.environment["ADGAUGE_GROUP"], self.topic, numbers)
        return all(committed[name.partition] == end for name, end in ends.items())

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, (self._folder / "scorer.log").read_text()
            time.sleep(0.1)

    def close(self) -> None:
        self._writer.close()
        self.redis.close()


@pytest.fixture
def world(
    kafka_bootstrap: str, valkey: Cache, triton_url: str, brightness_dir: Path, tmp_path: Path
) -> Iterator[World]:
    environment = variables(kafka_bootstrap, valkey.url, triton_url, brightness_dir)
    environment["ADGAUGE_REJECT_SHARE_LIMIT"] = "1"
    world = World(environment, tmp_path)
    world.redis.flushall()
    assert world.adgauge("topics", "create", "--partitions", "3", "--replication", "1").code == 0
    yield world
    world.close()
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_topics([environment[f"ADGAUGE_{topic}"] for topic in TOPICS])
    admin.close()


def product(name: str, level: int, *headers: tuple[str, bytes]) -> Message:
    return name.encode(), product_bytes(name, level), headers


def filled(world: World) -> dict[str, list[str]]:
    """Products with two versions each, some deleted, some whose newest version is rejected."""
    names = [f"P{number}" for number in range(PRODUCTS)]
    world.publish(*(product(name, 10) for name in names))
    world.publish(*(product(name, 100 + number) for number, name in enumerate(names)))
    world.publish(*((name.encode(), None, ()) for name in names[:10]))
    world.publish(*((name.encode(), b"{broken", ()) for name in names[10:15]))
    world.wait(world.decided)
    return world.held()


def test_what_redis_lost_is_scored_again_from_the_log(world: World) -> None:
    with world.scorer():
        before = filled(world)
    letters = world.json("dlq", "list")["by_reason"]
    keys = sorted(before)
    world.redis.delete(*keys[:20])
    for key in keys[20:40]:
        world.redis.set(key, "1.0000 1 0 1 - 000000000000")

    dry = world.json("reconcile", "--dry-run")
    regressed = world.held()
    repaired = world.json("reconcile")
    again = world.json("reconcile", "--dry-run")

    assert len(before) == PRODUCTS
    assert dry["products"] == PRODUCTS
    assert 40 <= dry["missing"] <= 45  # a newest version that is rejected is never held
    assert regressed != before
    assert repaired["scored"] + repaired["deleted"] >= 40
    assert repaired["rejected"] == again["missing"] == 5
    assert world.held() == before
    assert world.json("dlq", "list")["by_reason"] == letters == {"not_json": 5}


def test_everything_lost_is_repaired_while_a_scorer_goes_on(world: World) -> None:
    with world.scorer():
        before = filled(world)
        world.redis.flushall()
        newer = [f"P{number}" for number in range(20, 40)]
        world.publish(*(product(name, 250) for name in newer))
        ran = world.adgauge("reconcile")
        world.wait(world.decided)
    held = world.held()

    assert ran.code == 0, ran.err
    assert world.redis.get("ag:live") == "7"
    assert {held[f"ag:7:{name}"][0] for name in newer} == {f"{grey_score(250):.4f}"}
    unchanged = before.keys() - {f"ag:7:{name}" for name in newer}
    assert {key: held[key] for key in unchanged} == {key: before[key] for key in unchanged}


def test_dead_letters_are_listed_shown_and_replayed_once(world: World) -> None:
    event_ms = str(NOW_MS - 60_000).encode()
    with world.scorer():
        (broken, *_) = world.publish(
            (b"B1", b"{broken \x1b[31m", [("own", b"1"), ("own", b"\xff"), (EVENT_HEADER, event_ms)]),
            (b"B2", b"\xff\xfe", []),
            product("OK", 50),
        )
        world.wait(world.decided)
        listed = world.json("dlq", "list", "--since", "2h")
        none = world.json("dlq", "list", "--until", "2020-01-01")
        shown = world.json("dlq", "show", broken)[0]
        text = world.adgauge("dlq", "show", broken).out
        dry = world.json("dlq", "replay", "--dry-run")
        undisturbed = world.json("dlq", "list")
        replayed = world.adgauge("dlq", "replay", "--rate", "100", "--json")
        world.wait(lambda: world.decided() and len(world.json("dlq", "list")["letters"]) == 4)
        second = world.adgauge("dlq", "replay", "--json")
        letters = world.json("dlq", "list")["letters"]

    assert listed["by_reason"] == {"not_json": 1, "not_utf8": 1}
    assert none["letters"] == []
    assert shown["event_ms"] == int(event_ms)
    assert [each["name"] for each in shown["headers"]] == ["own", "own", EVENT_HEADER]
    assert shown["headers"][1] == {"name": "own", "value_base64": "/w=="}
    assert "\x1b" not in text
    assert (dry["selected"], dry["sent"], len(undisturbed["letters"])) == (2, 0, 2)
    assert (replayed.code, replayed.json["sent"]) == (0, 2)
    assert (second.code, second.json["sent"], len(second.json["refused"])) == (1, 0, 2)
    assert "replayed 1 times and rejected again" in second.json["refused"][0]["why"]
    again = next(each for each in letters if each["key"] == "B1" and each["replays"] == 1)
    assert (again["event_ms"], again["first_origin"]) == (int(event_ms), broken)


def test_a_letter_that_no_record_has_is_one_line(world: World) -> None:
    ran = world.adgauge("dlq", "show", f"{world.topic}/0/99")

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)


def test_an_illegal_topic_name_is_one_line(world: World) -> None:
    world.environment["ADGAUGE_SCORES_TOPIC"] = "bad topic!"
    ran = world.adgauge("topics", "create")
    world.environment["ADGAUGE_SCORES_TOPIC"] = world.topic.replace("products", "scores")

    assert (ran.code, ran.err) == (
        1,
        "adgauge: 'bad topic!' is no name for a topic:"
        " letters, digits, `.`, `_` and `-`, at most 249 of them\n",
    )
