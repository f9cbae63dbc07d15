import json
import time
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient, NewTopic

from services.embedded.kafka import Kafka
from services.embedded.workspace import Workspace
from tests.chaos.drafts import Draft, body, drafts
from tests.chaos.facts import records_of
from tests.chaos.ledger import Entry, by_product, read_ledger, record_digest
from tests.chaos.publisher import Publisher
from tests.conftest import MakeTopic
from tools.install import KAFKA_JARS

DEADLINE_S = 60.0


def made(seed: int = 1, records: int = 3000) -> list[Draft]:
    return list(drafts(seed=seed, products=1000, records=records, distinct_titles=True, slow_pictures=True))


def test_the_same_seed_makes_the_same_versions() -> None:
    assert made() == made()
    assert made() != made(seed=2)


def test_every_product_occurs_and_every_kind_of_version() -> None:
    found = made(records=20_000)

    assert len({each.id for each in found}) == 1000
    assert {(each.kind, each.timing) for each in found} >= {
        ("grey", "newer"),
        ("grey", "late"),
        ("grey", "equal"),
        ("deleted", "newer"),
        ("deleted", "late"),
        ("poison", "newer"),
        ("garbage", "newer"),
    }
    assert {each.picture for each in found} == {"data", "slow", "never", "none"}


def test_rejects_are_few() -> None:
    kinds = Counter(each.kind for each in made(records=20_000))

    assert 0.01 < (kinds["poison"] + kinds["garbage"]) / 20_000 < 0.03


def test_distinct_titles_are_distinct_for_the_model() -> None:
    titles = [each.title for each in made() if each.kind == "grey"]

    assert len(set(titles)) == len(titles)
    assert {word for title in titles for word in title.split()} == {"a", "thing"}


def test_garbage_is_never_a_product_under_its_own_key() -> None:
    garbage = [body(each, None) for each in made(records=20_000) if each.kind == "garbage"]

    assert len({(value or b"")[:3] for _, value in garbage}) >= 4
    for key, value in garbage:
        try:
            product = json.loads(value or b"")
        except ValueError:
            continue
        assert not isinstance(product, dict) or product.get("parent_asin", "").encode() != key


def test_too_few_records_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        next(drafts(seed=1, products=2, records=1, distinct_titles=True, slow_pictures=False))


def publisher(bootstrap: str, topic: str, ledger: Path, records: int, rate: float) -> Publisher:
    return Publisher(
        bootstrap,
        topic,
        ledger,
        seed=7,
        products=records // 3,
        records=records,
        rate=rate,
        distinct_titles=True,
        slow_image_url=None,
    )


@pytest.fixture
def kafka(workspace: Workspace) -> Iterator[Kafka]:
    kafka = Kafka(workspace, jars=KAFKA_JARS, name="publishers-kafka")
    kafka.start()
    yield kafka
    kafka.stop()


def assert_ledger_is_the_topic(bootstrap: str, topic: str, ledger: Path) -> None:
    written = {
        (each.partition, each.offset): record_digest(each.key, each.value, each.headers)
        for each in records_of(bootstrap, topic)
    }
    assert written == {(each.partition, each.offset): each.digest for each in read_ledger(ledger)}


@pytest.mark.tool("kafka")
def test_the_ledger_holds_what_the_topic_holds(
    kafka_bootstrap: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, ledger = make_topic("products", partitions=3), tmp_path / "ledger.jsonl"
    publishing = publisher(kafka_bootstrap, topic, ledger, 3000, 1e6)
    publishing.start()
    publishing.wait(DEADLINE_S)
    publishing.stop()

    assert publishing.acknowledged == 3000
    assert_ledger_is_the_topic(kafka_bootstrap, topic, ledger)
    for entries in by_product(read_ledger(ledger)).values():
        assert [each.version for each in entries] == list(range(1, len(entries) + 1))
        assert len({each.partition for each in entries if each.kind != "garbage"}) <= 1
        assert_event_times_are_as_drafted(entries)


def assert_event_times_are_as_drafted(entries: list[Entry]) -> None:
    timings = {(each.id, each.version): each.timing for each in planned(3000)}
    newest = latest = 0
    for entry in entries:
        timing = timings[entry.id, entry.version]
        if newest and timing == "late":
            assert entry.event_ms < newest
        elif newest and timing == "equal":
            assert entry.event_ms == newest
        else:
            assert entry.event_ms > latest
        latest = max(latest, entry.event_ms)
        if entry.kind in ("grey", "deleted"):
            newest = max(newest, entry.event_ms)


@lru_cache
def planned(records: int) -> list[Draft]:
    """What `publisher` publishes."""
    return list(
        drafts(seed=7, products=records // 3, records=records, distinct_titles=True, slow_pictures=False)
    )


@pytest.mark.tool("kafka")
def test_it_pauses_and_stops_when_told_to(
    kafka_bootstrap: str, make_topic: MakeTopic, tmp_path: Path
) -> None:
    topic, ledger = make_topic("products", partitions=3), tmp_path / "ledger.jsonl"
    publishing = publisher(kafka_bootstrap, topic, ledger, 100_000, 1000)
    publishing.start()
    wait_for(publishing, 100)
    publishing.pause()
    time.sleep(0.2)  # what was sent is acknowledged
    paused_at = publishing.acknowledged
    time.sleep(0.3)
    assert publishing.acknowledged == paused_at
    publishing.resume()
    wait_for(publishing, paused_at + 100)
    publishing.stop()

    assert publishing.acknowledged == len(read_ledger(ledger)) < 100_000
    assert_ledger_is_the_topic(kafka_bootstrap, topic, ledger)


@pytest.mark.tool("kafka")
def test_records_are_sent_until_a_broker_that_was_killed_is_back(kafka: Kafka, tmp_path: Path) -> None:
    topic, ledger = "adgauge-test-products", tmp_path / "ledger.jsonl"
    create_topic(kafka.bootstrap, topic)
    publishing = publisher(kafka.bootstrap, topic, ledger, 3000, 1500)
    publishing.start()
    wait_for(publishing, 300)
    kafka.kill()
    kafka.start()
    publishing.wait(DEADLINE_S)
    publishing.stop()

    assert publishing.acknowledged == 3000
    assert_ledger_is_the_topic(kafka.bootstrap, topic, ledger)


def wait_for(publishing: Publisher, acknowledged: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while publishing.acknowledged < acknowledged:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def create_topic(bootstrap: str, topic: str) -> None:
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([NewTopic(topic, 3, 1)])
    admin.close()
