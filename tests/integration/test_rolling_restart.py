"""Three workers are replaced one after the other while products keep coming."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.embedded.ports import HOST, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import ServerProcess
from services.embedded.scorer import scrape, total
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tests.chaos.checker import check
from tests.chaos.facts import Run, committed_of, ends_of
from tests.chaos.publisher import Publisher
from tests.conftest import MakeTopic

pytestmark = pytest.mark.tool("kafka")

WORKERS = 3
PARTITIONS = 6
WINDOW = 128
"""Records that one worker may have in flight."""
RATE = 60.0  # less than one worker scores on a machine that does other things as well
DEADLINE_S = 90.0


class Worker:
    """A scorer that consumes by the time it is made."""

    def __init__(self, workspace: Workspace, name: str, settings: dict[str, str]) -> None:
        self._port = free_port()
        environment = child_environment() | settings | {"ADGAUGE_METRICS_PORT": str(self._port)}
        self.process = workspace.start(name, [sys.executable, "-m", "services.scorer"], environment)
        self.wait(self.is_ready)
        self.wait(lambda: self.gauge("adgauge_assigned_partitions") > 0)

    def is_ready(self) -> bool:
        return http_ok(self._port, "/healthz/ready")

    def gauge(self, name: str) -> float:
        return total(scrape(f"http://{HOST}:{self._port}/metrics"), name)

    def wait(self, condition: Callable[[], bool]) -> None:
        self.process.wait_until(condition, timeout_s=DEADLINE_S)

    def stop(self) -> None:
        """SIGTERM; returns when it has ended by itself."""
        os.kill(self.process.pid, signal.SIGTERM)
        assert ended_by_itself(self.process)


def ended_by_itself(process: ServerProcess) -> bool:
    status = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return status is not None and (status.si_code, status.si_status) == (os.CLD_EXITED, 0)


def settings_of(run: Run, triton_url: str, model_dir: Path) -> dict[str, str]:
    """Of a worker of this run."""
    return {
        "ADGAUGE_KAFKA_BOOTSTRAP": run.bootstrap,
        "ADGAUGE_REDIS_URL": run.redis_url,
        "ADGAUGE_TRITON_URL": triton_url,
        "ADGAUGE_MODEL_DIR": str(model_dir),
        "ADGAUGE_IMAGE_SCHEMES": "data",
        "ADGAUGE_GENERATION": str(run.generation),
        "ADGAUGE_GROUP": run.group,
        "ADGAUGE_PRODUCTS_TOPIC": run.products_topic,
        "ADGAUGE_SCORES_TOPIC": run.scores_topic,
        "ADGAUGE_DEAD_LETTERS_TOPIC": run.dead_letters_topic,
        "ADGAUGE_IN_FLIGHT_RECORDS": str(WINDOW),
        "ADGAUGE_BATCH_RECORDS": "32",
    }


@pytest.fixture
def run(make_topic: MakeTopic, kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Run:
    products = make_topic("products", partitions=PARTITIONS)
    scores, letters = make_topic("scores"), make_topic("dlq")
    return Run(tmp_path / "ledger", kafka_bootstrap, products, scores, letters, products, redis_url, 1)


@pytest.fixture
def start(
    run: Run, triton_url: str, brightness_dir: Path, workspace: Workspace
) -> Iterator[Callable[[str], Worker]]:
    settings = settings_of(run, triton_url, brightness_dir)
    workers: list[Worker] = []

    def start(name: str) -> Worker:
        workers.append(Worker(workspace, name, settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.process.kill()


@pytest.fixture
def publishing(run: Run) -> Iterator[Publisher]:
    with publishing_to(run) as publisher:
        yield publisher


@contextmanager
def publishing_to(run: Run) -> Iterator[Publisher]:
    """A load at RATE until it is stopped."""
    publisher = Publisher(
        run.bootstrap,
        run.products_topic,
        run.ledger,
        seed=3,
        products=100_000,
        records=1_000_000,
        rate=RATE,
        distinct_titles=True,
        slow_image_url=None,
    )
    publisher.start()
    try:
        yield publisher
    finally:
        publisher.stop()


@pytest.mark.timeout(240)  # six workers start, one after the other
def test_a_rolling_restart_under_load_loses_nothing_and_repeats_at_most_what_was_in_flight(
    run: Run, start: Callable[[str], Worker], publishing: Publisher
) -> None:
    workers = [start(f"rolled-{number}") for number in range(WORKERS)]
    restarted_at = publishing.acknowledged
    for number, worker in enumerate(workers):
        worker.stop()
        workers[number] = start(f"rolled-{number}-again")
    under_load = publishing.acknowledged - restarted_at
    publishing.stop()
    workers[0].wait(lambda: committed_of(run) == ends_of(run))
    verdict = check(run)

    assert verdict.sound, verdict.examples
    assert under_load > 0
    assert verdict.twice <= WORKERS * WINDOW
