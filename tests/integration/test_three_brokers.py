"""Three brokers, of which one is killed under load: its partitions get new leaders and nothing is lost."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kafka.admin import KafkaAdminClient

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from services.embedded.kafka import Kafka, KafkaCluster
from services.embedded.workspace import Workspace
from tests.chaos.checker import check
from tests.chaos.facts import Run, committed_of, ends_of
from tests.integration.test_rolling_restart import PARTITIONS, Worker, publishing_to, settings_of
from tests.pinned_tools import require_tool
from tools.install import KAFKA_JARS

pytestmark = pytest.mark.tool("kafka")

BROKERS = 3
TOPICS = ("products", "scores", "products.dlq")
UNDER_LOAD = 200
"""Records that are published while a broker is dead, and again when it is back."""
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def cluster(workspace: Workspace, request: pytest.FixtureRequest) -> Iterator[KafkaCluster]:
    require_tool("kafka", request.config)
    cluster = KafkaCluster(workspace, jars=KAFKA_JARS, brokers=BROKERS)
    cluster.start()
    yield cluster
    cluster.kill()


@pytest.fixture
def run(cluster: KafkaCluster, redis_url: str, tmp_path: Path) -> Run:
    with KafkaAdmin(plain_connection(cluster.bootstrap)) as admin:
        for plan in planned_topics(*TOPICS):
            assert admin.create(plan, PARTITIONS, replication=BROKERS)
    return Run(tmp_path / "ledger", cluster.bootstrap, *TOPICS, "scorer", redis_url, 1)


@pytest.fixture
def workers(run: Run, triton_url: str, brightness_dir: Path, workspace: Workspace) -> Iterator[list[Worker]]:
    settings = settings_of(run, triton_url, brightness_dir)
    workers = [Worker(workspace, f"replicated-{number}", settings) for number in range(2)]
    yield workers
    for worker in workers:
        worker.process.kill()


def leaders(admin: KafkaAdminClient, topic: str) -> set[int]:
    (described,) = admin.describe_topics([topic])
    return {partition["leader_id"] for partition in described["partitions"]}


def least_in_sync(admin: KafkaAdminClient) -> int:
    """Replicas that the partition with the fewest has in sync, of all topics."""
    described = admin.describe_topics([*TOPICS, "__consumer_offsets"])
    return min(len(partition["isr_nodes"]) for topic in described for partition in topic["partitions"])


def coordinator(admin: KafkaAdminClient, group: str) -> int:
    # What kafka-python offers to everybody does not tell.
    found: int = admin._manager.run(admin._find_coordinator_id, group)
    return found


def struck(cluster: KafkaCluster, run: Run) -> Kafka:
    """The broker that coordinates the group; it leads partitions of the products as well."""
    with closing(KafkaAdminClient(bootstrap_servers=cluster.bootstrap)) as admin:
        node = coordinator(admin, run.group)
        assert node in leaders(admin, run.products_topic)
    return cluster.brokers[node - 1]


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.1)


def all_in_sync(cluster: KafkaCluster) -> bool:
    with closing(KafkaAdminClient(bootstrap_servers=cluster.bootstrap)) as admin:
        return least_in_sync(admin) == BROKERS


def decided(run: Run, ends: dict[int, int]) -> bool:
    committed = committed_of(run)
    return all(committed.get(partition, 0) >= end for partition, end in ends.items())


@pytest.mark.timeout(240)  # three brokers and two workers start, on a machine that does other things as well
def test_a_broker_that_is_killed_under_load_loses_nothing(
    cluster: KafkaCluster, run: Run, workers: list[Worker]
) -> None:
    with publishing_to(run) as publisher:
        wait(lambda: publisher.acknowledged >= UNDER_LOAD)
        broker = struck(cluster, run)
        broker.kill()
        killed_at = publisher.acknowledged
        wait(lambda: publisher.acknowledged >= killed_at + UNDER_LOAD)
        published = ends_of(run)
        wait(lambda: decided(run, published))  # two of three are enough
        broker.start()
        back_at = publisher.acknowledged
        wait(lambda: publisher.acknowledged >= back_at + UNDER_LOAD)
        wait(lambda: all_in_sync(cluster))
    wait(lambda: decided(run, ends_of(run)))
    verdict = check(run)

    assert verdict.sound, verdict.examples
    assert (verdict.lost, verdict.stale) == (0, 0)
    assert all(worker.process.is_running() for worker in workers)
