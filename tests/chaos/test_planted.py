"""The checker fails a scorer with a bug, and passes the same story with the scorer as it is."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

import pytest
import redis
import tritonclient.grpc as triton
from kafka import KafkaProducer

from services.embedded.ports import HOST, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import ServerProcess
from services.embedded.scorer import scrape, total
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tests.chaos.checker import Verdict, check, main
from tests.chaos.drafts import Draft
from tests.chaos.facts import Run, committed_of, ends_of
from tests.chaos.ledger import Kind, Picture
from tests.chaos.planted import BUGS
from tests.chaos.publisher import make_record
from tests.chaos.slow_images import grey_png
from tests.conftest import MakeTopic

pytestmark = pytest.mark.tool("kafka")

DEADLINE_S = 30.0
NOW_MS = time.time_ns() // 1_000_000
MODEL = "brightness"
_numbers = count()


class PictureHost(ThreadingHTTPServer):
    """Sends a picture once it may."""

    LEVEL = 90
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__((HOST, 0), _Answer)
        self.may_answer = threading.Event()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}"


class _Answer(BaseHTTPRequestHandler):
    server: PictureHost

    def do_GET(self) -> None:
        self.server.may_answer.wait()
        with suppress(OSError):  # who asked may be dead
            self.send_response(200)
            self.end_headers()
            self.wfile.write(grey_png(PictureHost.LEVEL))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        return


@pytest.fixture
def pictures() -> Iterator[PictureHost]:
    with PictureHost() as host:
        serving = threading.Thread(target=host.serve_forever)
        serving.start()
        yield host
        host.may_answer.set()
        host.shutdown()
        serving.join()


class Story:
    """One run: a topic with what the test publishes, and one worker at a time."""

    def __init__(
        self, run: Run, environment: dict[str, str], workspace: Workspace, pictures: PictureHost
    ) -> None:
        self.run = run
        self.pictures = pictures
        self._environment = environment
        self._workspace = workspace
        self._workers: list[ServerProcess] = []
        self._producer = KafkaProducer(bootstrap_servers=run.bootstrap, acks="all")
        self._models = triton.InferenceServerClient(environment["ADGAUGE_TRITON_URL"])
        self._versions = count(1)
        self._port = 0

    def start(self, bug: str | None = None) -> ServerProcess:
        """A worker that consumes, with a bug or as it is."""
        module = ["tests.chaos.planted", bug] if bug else ["services.scorer"]
        self._port = free_port()
        worker = self._workspace.start(
            f"planted-{next(_numbers)}",
            [sys.executable, "-m", *module],
            self._environment | {"ADGAUGE_METRICS_PORT": str(self._port)},
        )
        self._workers.append(worker)
        self.wait(self.is_ready)
        self.wait(lambda: self._metric("adgauge_assigned_partitions") == 1)
        return worker

    def publish(self, level: int | None, picture: Picture = "data", event_ms: int = NOW_MS) -> None:
        """A version of the only product; without a level, its deletion."""
        kind: Kind = "deleted" if level is None else "grey"
        draft = Draft("P", next(self._versions), kind, level, picture, "newer", "a thing", 1)
        record = make_record(draft, event_ms, self.pictures.url)
        sent = self._producer.send(self.run.products_topic, record.value, record.key, record.headers)
        where = sent.get(DEADLINE_S)
        with self.run.ledger.open("a") as ledger:
            ledger.write(record.acknowledged(where.partition, where.offset).to_json() + "\n")

    def is_ready(self) -> bool:
        return http_ok(self._port, "/healthz/ready")

    def has_a_record_in_flight(self) -> bool:
        return self._metric("adgauge_in_flight_records") == 1

    def _metric(self, name: str) -> float:
        return total(scrape(f"http://{HOST}:{self._port}/metrics"), name)

    def wait(self, condition: Callable[[], bool]) -> None:
        self._workers[-1].wait_until(condition, timeout_s=DEADLINE_S)

    def wait_until_committed(self) -> None:
        self.wait(lambda: committed_of(self.run) == ends_of(self.run))

    def unload_model(self) -> None:
        self._models.unload_model(MODEL)
        self.wait(lambda: not self._models.is_model_ready(MODEL))

    def load_model(self) -> None:
        if not self._models.is_model_ready(MODEL):
            self._models.load_model(MODEL)

    def verdict(self) -> Verdict:
        return check(self.run)

    def close(self) -> None:
        for worker in self._workers:
            worker.kill()
        self.load_model()
        self._models.close()
        self._producer.close()


@pytest.fixture
def story(
    make_topic: MakeTopic,
    kafka_bootstrap: str,
    redis_url: str,
    triton_url: str,
    brightness_dir: Path,
    workspace: Workspace,
    pictures: PictureHost,
    tmp_path: Path,
) -> Iterator[Story]:
    products, scores, letters = make_topic("products"), make_topic("scores"), make_topic("dlq")
    run = Run(tmp_path / "ledger", kafka_bootstrap, products, scores, letters, products, redis_url, 1)
    settings = {
        "ADGAUGE_KAFKA_BOOTSTRAP": kafka_bootstrap,
        "ADGAUGE_REDIS_URL": redis_url,
        "ADGAUGE_TRITON_URL": triton_url,
        "ADGAUGE_MODEL_DIR": str(brightness_dir),
        "ADGAUGE_GENERATION": "1",
        "ADGAUGE_GROUP": products,
        "ADGAUGE_PRODUCTS_TOPIC": products,
        "ADGAUGE_SCORES_TOPIC": scores,
        "ADGAUGE_DEAD_LETTERS_TOPIC": letters,
        "ADGAUGE_INSTANCE_ID": "worker",  # one that was killed is replaced at once
        "ADGAUGE_COMMIT_INTERVAL_S": "0.2",
        "ADGAUGE_IMAGE_SCHEMES": "data,http",
        "ADGAUGE_IMAGE_NETWORKS": f"{HOST}/32",
        "ADGAUGE_IMAGE_PORTS": str(pictures.server_port),
    }
    story = Story(run, child_environment() | settings, workspace, pictures)
    yield story
    story.close()


def killed_while_it_waits_for_a_picture(story: Story, bug: str | None) -> None:
    worker = story.start(bug)
    story.publish(PictureHost.LEVEL, "slow")
    story.wait(story.has_a_record_in_flight)
    if bug:
        story.wait_until_committed()
    worker.kill()
    story.pictures.may_answer.set()
    story.start()
    story.wait_until_committed()


def an_older_version_comes_late(story: Story, bug: str | None) -> None:
    story.start(bug)
    story.publish(10, event_ms=NOW_MS - 1000)
    story.wait_until_committed()
    story.publish(200, event_ms=NOW_MS - 2000)
    story.wait_until_committed()


def an_older_version_comes_after_the_deletion(story: Story, bug: str | None) -> None:
    story.start(bug)
    story.publish(10, event_ms=NOW_MS - 3000)
    story.publish(None, event_ms=NOW_MS - 1000)
    story.wait_until_committed()
    story.publish(200, event_ms=NOW_MS - 2000)
    story.wait_until_committed()


def the_model_is_away_for_a_while(story: Story, bug: str | None) -> None:
    story.start(bug)
    story.unload_model()
    story.publish(10)
    if bug:
        story.wait_until_committed()
    else:
        story.wait(lambda: story.has_a_record_in_flight() or not story.is_ready())
    story.load_model()
    story.wait_until_committed()


Told = Callable[[Story, str | None], None]
STORIES: dict[str, tuple[Told, dict[str, int]]] = {
    "commit-before-store": (killed_while_it_waits_for_a_picture, {"lost": 1, "stale": 0}),
    "unconditional-set": (an_older_version_comes_late, {"lost": 0, "stale": 1}),
    "bare-delete": (an_older_version_comes_after_the_deletion, {"lost": 0, "stale": 1}),
    "reject-on-dead-model": (the_model_is_away_for_a_while, {"lost": 1, "stale": 0}),
}


def test_each_bug_has_its_story() -> None:
    assert set(STORIES) == set(BUGS)


@pytest.mark.parametrize("bug", STORIES)
def test_the_checker_fails_a_scorer_with_a_bug(story: Story, bug: str) -> None:
    told, expected = STORIES[bug]
    told(story, bug)
    verdict = story.verdict()

    assert not verdict.sound
    assert {name: getattr(verdict, name) for name in expected} == expected, verdict.examples
    assert verdict.undecided == verdict.strangers == 0


@pytest.mark.parametrize("bug", STORIES)
def test_the_checker_passes_the_same_story_without_the_bug(story: Story, bug: str) -> None:
    told, _ = STORIES[bug]
    told(story, None)
    verdict = story.verdict()

    assert verdict.sound, verdict.examples


def test_the_checker_is_a_command_as_well(
    story: Story, redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    an_older_version_comes_late(story, None)
    arguments = [part for name, value in vars(story.run).items() for part in (option(name), str(value))]
    code, printed = main(arguments), capsys.readouterr().out
    with redis.Redis.from_url(redis_url) as client:
        client.delete("ag:1:P")
    code_after, printed_after = main(arguments), capsys.readouterr().out

    assert (code, code_after) == (0, 1)
    assert printed.splitlines()[-1] == "sound"
    assert "P version 1" in printed_after
    assert printed_after.splitlines()[-1] == "NOT SOUND"


def option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
