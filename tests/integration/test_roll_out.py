"""A new version of a model replaces the one before while products keep coming."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from adgauge.cli import main
from adgauge.contract import load_contract
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace
from tests.brightness import add_inverted, export_brightness
from tests.chaos.checker import judge
from tests.chaos.facts import Facts, Logged, Run, committed_of, ends_of, gather
from tests.conftest import MakeTopic
from tests.integration.test_rolling_restart import PARTITIONS, Worker, publishing_to, settings_of

pytestmark = pytest.mark.tool("kafka")

WORKERS = 2


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return export_brightness(tmp_path / "repository")


@pytest.fixture
def triton(workspace: Workspace, first: Path) -> Iterator[Triton]:
    settings = EmbeddedSettings()
    served = start_triton(
        workspace, venv=settings.triton_venv, repository=first.parents[1], models=["brightness"]
    )
    served.wait_until_ready()
    yield served
    served.process.kill()


@pytest.fixture
def run(make_topic: MakeTopic, kafka_bootstrap: str, redis_url: str, tmp_path: Path) -> Run:
    products = make_topic("products", partitions=PARTITIONS)
    scores, letters = make_topic("scores"), make_topic("dlq")
    # Generations of this test's own: the Redis is the session's.
    return Run(tmp_path / "ledger", kafka_bootstrap, products, scores, letters, products, redis_url, 701)


@pytest.mark.timeout(240)  # four workers start, one after the other
def test_a_new_version_replaces_the_old_one_under_load_and_each_score_is_of_its_own_version(
    run: Run, first: Path, triton: Triton, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADGAUGE_TRITON_URL", triton.url)
    after = replace(run, generation=run.generation + 1)
    old, new = (settings_of(each, triton.url, first) for each in (run, after))
    workers: list[Worker] = []
    try:
        with publishing_to(run) as publishing:
            workers = [Worker(workspace, f"old-{number}", old) for number in range(WORKERS)]
            second = add_inverted(first)
            assert main(["models", "load", "brightness", "--model-dir", str(second)]) == 0
            assert all(worker.is_ready() for worker in workers)  # on the version that they name
            for number, worker in enumerate(workers):
                # The other one still scores with version 1.
                workers[number] = Worker(workspace, f"new-{number}", new | {"ADGAUGE_MODEL_DIR": str(second)})
                worker.stop()
            publishing.stop()
            workers[0].wait(lambda: committed_of(run) == ends_of(run))
    finally:
        for worker in workers:
            worker.process.kill()
    before_it, after_it = gather(run), gather(after)

    for facts, folder in ((before_it, first), (after_it, second)):
        assert {each.contract for each in facts.log if each.score is not None} == {
            load_contract(folder).digest()
        }
    verdict = judge(as_one(before_it, after_it))
    assert verdict.sound, verdict.examples


def as_one(before: Facts, after: Facts) -> Facts:
    """Both generations as if version 1 had scored everything: version 2 scores 6 less what it does."""
    lines = dict(before.lines)
    for product_id, line in after.lines.items():
        ours = _line_of_version_one(line)
        if product_id not in lines or _order(ours) > _order(lines[product_id]):
            lines[product_id] = ours
    log = [*before.log, *map(_log_of_version_one, after.log)]
    return replace(after, log=log, lines=lines)


def _log_of_version_one(line: Logged) -> Logged:
    return line if line.score is None else replace(line, score=6 - line.score)


def _line_of_version_one(line: str) -> str:
    first, *rest = line.split(" ")
    return line if first == "deleted" else " ".join([f"{6 - float(first):.4f}", *rest])


def _order(line: str) -> tuple[int, int]:
    _, event_ms, offset, *_ = line.split(" ")
    return int(event_ms), int(offset)
