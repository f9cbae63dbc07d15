"""A worker is told to stop while Redis hangs: nothing holds the process, nothing unfinished is committed."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from adgauge.adapters.kafka import KafkaWriter, plain_connection
from services.embedded.cache import Valkey
from services.embedded.workspace import Workspace
from tests.brightness import product_bytes
from tests.chaos.facts import Run, committed_of
from tests.conftest import MakeTopic
from tests.integration.test_rolling_restart import Worker, ended_by_itself

pytestmark = pytest.mark.tool("kafka")

RECORDS = 20
LEAVING_S = 5.0
"""A last poll and commit, leaving the group and closing clients, on two busy cores."""
REDIS_TIMEOUT_S = 1.0
HUNG = {"ADGAUGE_REDIS_TIMEOUT_S": "300"}
"""A write that gives up long after the test."""


@dataclass(frozen=True)
class Stuck:
    """A worker whose records wait for a write that Redis does not answer."""

    worker: Worker
    run: Run

    def terminate(self) -> None:
        os.kill(self.worker.process.pid, signal.SIGTERM)

    def seconds_to_its_end(self) -> float:
        """Until the process is gone by itself, with exit code 0."""
        began = time.monotonic()
        assert ended_by_itself(self.worker.process)
        return time.monotonic() - began


MakeStuck = Callable[[dict[str, str]], Stuck]


@pytest.fixture
def server(workspace: Workspace, request: pytest.FixtureRequest) -> Iterator[Valkey]:
    server = Valkey(workspace, f"valkey-{request.node.name}")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def run(make_topic: MakeTopic, kafka_bootstrap: str, server: Valkey, tmp_path: Path) -> Run:
    products, scores, letters = make_topic("products"), make_topic("scores"), make_topic("dlq")
    return Run(tmp_path / "ledger", kafka_bootstrap, products, scores, letters, products, server.url, 1)


@pytest.fixture
def make_stuck(
    run: Run, server: Valkey, triton_url: str, brightness_dir: Path, workspace: Workspace
) -> Iterator[MakeStuck]:
    settings = {
        "ADGAUGE_KAFKA_BOOTSTRAP": run.bootstrap,
        "ADGAUGE_REDIS_URL": run.redis_url,
        "ADGAUGE_TRITON_URL": triton_url,
        "ADGAUGE_MODEL_DIR": str(brightness_dir),
        "ADGAUGE_IMAGE_SCHEMES": "data",
        "ADGAUGE_GENERATION": str(run.generation),
        "ADGAUGE_GROUP": run.group,
        "ADGAUGE_PRODUCTS_TOPIC": run.products_topic,
        "ADGAUGE_SCORES_TOPIC": run.scores_topic,
        "ADGAUGE_DEAD_LETTERS_TOPIC": run.dead_letters_topic,
    }
    workers: list[Worker] = []

    def make(chosen: dict[str, str]) -> Stuck:
        workers.append(Worker(workspace, run.group, settings | chosen))
        os.kill(server.process.pid, signal.SIGSTOP)
        publish(run)
        workers[0].wait(lambda: workers[0].gauge("adgauge_in_flight_records") == RECORDS)
        return Stuck(workers[0], run)

    yield make
    for worker in workers:
        worker.process.kill()


def publish(run: Run) -> None:
    writer = KafkaWriter(plain_connection(run.bootstrap))
    names = [f"P{number}" for number in range(RECORDS)]
    writer.write(run.products_topic, [(name.encode(), product_bytes(name, 100), ()) for name in names])
    writer.close()


def test_a_stop_does_not_wait_for_a_redis_that_hangs(make_stuck: MakeStuck, run: Run) -> None:
    stuck = make_stuck({"ADGAUGE_REDIS_TIMEOUT_S": str(REDIS_TIMEOUT_S)})
    stuck.terminate()

    assert stuck.seconds_to_its_end() < REDIS_TIMEOUT_S + LEAVING_S
    assert committed_of(run) == {}


def test_the_deadline_ends_a_worker_whose_write_hangs(make_stuck: MakeStuck, run: Run) -> None:
    stuck = make_stuck(HUNG | {"ADGAUGE_DRAIN_S": "1"})
    stuck.terminate()

    assert stuck.seconds_to_its_end() < 1.0 + LEAVING_S
    assert committed_of(run) == {}


def test_a_second_sigterm_ends_a_worker_whose_write_hangs(make_stuck: MakeStuck, run: Run) -> None:
    stuck = make_stuck(HUNG | {"ADGAUGE_DRAIN_S": "300"})
    stuck.terminate()
    stuck.worker.wait(lambda: not stuck.worker.is_ready())
    stuck.terminate()

    assert stuck.seconds_to_its_end() < LEAVING_S
    assert committed_of(run) == {}
