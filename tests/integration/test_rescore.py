"""`adgauge rescore` against Apache Kafka, Valkey, tritonserver, a running scorer and a picture server."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka.writers import Message
from adgauge.cli import main
from services.embedded.cache import Cache
from services.embedded.workspace import Workspace
from tests.brightness import grey_score, product_bytes
from tests.integration.test_cli import TOPICS, Ran, variables
from tests.integration.test_repairs import World
from tests.pictures.hosts import PictureHosts, running_hosts
from tests.pictures.server import State

pytestmark = pytest.mark.tool("kafka")

BUSY, STEADY = "127.0.0.21", "127.0.0.22"
LEVEL = 200
Rescore = Callable[..., Ran]


@pytest.fixture
def hosts(workspace: Workspace) -> Iterator[PictureHosts]:
    with running_hosts(workspace, (BUSY, STEADY)) as hosts:
        hosts.enter(BUSY, State.UNAVAILABLE)
        yield hosts


@pytest.fixture
def world(
    kafka_bootstrap: str,
    valkey: Cache,
    triton_url: str,
    brightness_dir: Path,
    hosts: PictureHosts,
    tmp_path: Path,
) -> Iterator[World]:
    environment = variables(kafka_bootstrap, valkey.url, triton_url, brightness_dir) | {
        "ADGAUGE_IMAGE_SCHEMES": "http,data",
        "ADGAUGE_IMAGE_NETWORKS": "127.0.0.0/8",
        "ADGAUGE_IMAGE_PORTS": str(hosts.port),
        "ADGAUGE_IMAGE_TIMEOUT_S": "1",
        "ADGAUGE_IMAGE_HOST_PATIENCE_S": "0.5",
    }
    world = World(environment, tmp_path)
    world.redis.flushall()
    assert world.adgauge("topics", "create", "--partitions", "3", "--replication", "1").code == 0
    yield world
    world.close()
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.delete_topics([environment[f"ADGAUGE_{topic}"] for topic in TOPICS])
    admin.close()


@pytest.fixture
def rescore(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Rescore:
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)

    def run(where: str, *arguments: str) -> Ran:
        code = main(["rescore", "--where", where, *arguments])
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def pictured(name: str, url: str) -> Message:
    images = [{"variant": "MAIN", "large": url}]
    value = {"parent_asin": name, "title": "a thing", "images": images}
    return name.encode(), json.dumps(value).encode(), ()


def published(world: World, hosts: PictureHosts) -> None:
    """Products without a picture: four passing, two lasting, one that names none, two that are over."""
    busy = hosts.url(BUSY, f"/p/{LEVEL}/thing.png")
    dead = hosts.url(STEADY, "/dead/thing.png")
    with world.scorer():
        world.publish(
            *(pictured(f"BUSY{number}", busy) for number in range(4)),
            *(pictured(f"DEAD{number}", dead) for number in range(2)),
            (b"BARE", product_bytes("BARE", None), ()),
            pictured("NEWER", busy),
            pictured("DELETED", busy),
        )
        world.wait(world.decided)
        world.publish((b"NEWER", product_bytes("NEWER", 50), ()), (b"DELETED", None, ()))
        world.wait(world.decided)


def test_what_had_no_picture_for_a_time_is_scored_again_once_its_host_is_back(
    world: World, hosts: PictureHosts, rescore: Rescore
) -> None:
    published(world, hosts)
    before = world.held()
    dry = rescore("reason=passing", "--dry-run", "--json").json
    hosts.enter(BUSY, State.UP)
    world.redis.delete("ag:7:BUSY3")  # as when it expired
    repaired = rescore("reason=passing", "--json")
    after = world.held()
    again = rescore("reason=passing")
    still = rescore("reason=lasting", "--where", "flag=no_image", "--json").json
    forget_products(world)
    gone = rescore("reason=not_found")

    assert (dry["found_by_reason"], dry["selected"], dry["rescored"]) == ({"server_error": 4}, 4, 0)
    assert repaired.code == 0
    assert (repaired.json["rescored"], repaired.json["no_image"], repaired.json["gone"]) == (4, {}, [])
    changed = {name for name, entry in after.items() if entry != before[name]}
    assert changed == {f"ag:7:BUSY{number}" for number in range(4)}
    for name in changed:
        assert after[name] == [f"{grey_score(LEVEL):.4f}", *before[name][1:]]  # its order stays
    assert again.code == 0
    assert "generation 7 has 0 such products, selected 0\nrescored 0," in again.out
    assert (still["rescored"], still["no_image"]) == (2, {"not_found": 2})
    assert gone.code == 1
    assert "has 2 such products (2 not_found), selected 2" in gone.out
    assert "gone from the products topic: 2: DEAD0, DEAD1; `adgauge explain ID`" in gone.out


def forget_products(world: World) -> None:
    """As retention does."""
    bootstrap = world.environment["ADGAUGE_KAFKA_BOOTSTRAP"]
    names = [TopicPartition(world.topic, number) for number in range(3)]
    consumer = KafkaConsumer(**plain_connection(bootstrap).options())
    ends = consumer.end_offsets(names)
    consumer.close(autocommit=False)
    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.alter_configs([ConfigResource("TOPIC", world.topic, {"cleanup.policy": "delete"})])
    admin.delete_records(ends)
    admin.close()
