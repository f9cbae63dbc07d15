"""Everything that runs: servers once, and for each measurement scorers with topics of their own."""

import itertools
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from services.embedded.cache import Cache, start_cache
from services.embedded.ports import HOST
from services.embedded.probes import http_ok
from services.embedded.processes import ServerFailed
from services.embedded.scorer import Samples, scrape, total
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace
from tests.chaos.commands import until
from tests.chaos.watch import Progress, Watch
from tests.chaos.workers import Worker, go_on
from tests.pictures.catalog import Listing
from tests.pictures.hosts import PictureHosts, running_hosts
from tests.pictures.model import export_wordy_brightness
from tests.pictures.publishing import Published, publish
from tests.pictures.verdict import Found, Verdict, find, judge, read_log

PARTITIONS = 6
TOPIC_PREFIX = "adgauge-test-"
READY_S, DECIDED_S = 60.0, 300.0
PROBED_S = 0.3
"""Longer than a probe takes."""
_generations = itertools.count(1)


@dataclass(frozen=True)
class Servers:
    """What measurements share. `extra` is told to every scorer, last."""

    workspace: Workspace
    bootstrap: str
    valkey: Cache
    triton: Triton
    pictures: PictureHosts
    settings: Mapping[str, str]


@contextmanager
def running_servers(
    workspace: Workspace, bootstrap: str, extra: Mapping[str, str] | None = None
) -> Iterator[Servers]:
    """Start all but Kafka; raises ServerFailed. `extra` is told to every scorer."""
    model_dir = export_wordy_brightness(workspace.subfolder(f"model-{uuid.uuid4().hex[:8]}"))
    valkey = start_cache(workspace)
    triton = start_triton(
        workspace,
        venv=EmbeddedSettings().triton_venv,
        repository=model_dir.parents[1],
        models=[model_dir.parent.name],
    )
    with running_hosts(workspace) as pictures:
        valkey.wait_until_ready()
        triton.wait_until_ready()
        settings = {
            "ADGAUGE_KAFKA_BOOTSTRAP": bootstrap,
            "ADGAUGE_REDIS_URL": valkey.url,
            "ADGAUGE_TRITON_URL": triton.url,
            "ADGAUGE_MODEL_DIR": str(model_dir),
            "ADGAUGE_IMAGE_SCHEMES": "http",
            "ADGAUGE_IMAGE_NETWORKS": "127.0.0.0/8",
            "ADGAUGE_IMAGE_PORTS": str(pictures.port),
            **(extra or {}),
        }
        yield Servers(workspace, bootstrap, valkey, triton, pictures, settings)
    triton.process.stop()
    valkey.process.stop()


@dataclass
class Scorers:
    """One group at work, and what it works on."""

    servers: Servers
    topics: tuple[str, str, str]
    generation: int
    workers: list[Worker]
    watch: Watch
    frozen: list[int] = field(default_factory=list)

    @property
    def pictures(self) -> PictureHosts:
        """Of the servers."""
        return self.servers.pictures

    def freeze(self) -> None:
        """SIGSTOP, so that what is published next is there before anybody works on it."""
        self.frozen = [pid for worker in self.workers for pid in worker.stop()]

    def thaw(self) -> float:
        """SIGCONT; the time of day, in seconds."""
        now_s = time.time()
        go_on(self.frozen)
        self.frozen = []
        return now_s

    def publish(self, listings: Sequence[Listing]) -> list[Published]:
        """All of them, acknowledged."""
        return publish(self.servers.bootstrap, self.topics[0], listings)

    def work_off(self, listings: Sequence[Listing]) -> tuple[float, list[Published]]:
        """Publish to frozen scorers, let them go on and return when all is committed, with when they did."""
        self.freeze()
        published = self.publish(listings)
        self.pictures.count_anew()
        began_s = self.thaw()
        self.wait_until_decided()
        return began_s, published

    def wait_until_decided(self, timeout_s: float = DECIDED_S) -> None:
        """Return when the group has committed all there is; raises ServerFailed."""
        asked_s = time.monotonic()
        until(lambda: self._committed_since(asked_s), timeout_s, "not every record is committed")

    def found(self, published: Sequence[Published]) -> list[Found]:
        """With what Redis holds."""
        return find(self.servers.valkey.url, self.generation, published)

    def judged(self, found: Sequence[Found]) -> Verdict:
        """Held against what had to come of them."""
        return judge(found, read_log(self.servers.bootstrap, self.topics[1]))

    def samples(self) -> list[Samples]:
        """The metrics of each worker."""
        return [scrape(f"http://{HOST}:{worker.metrics_port}/metrics") for worker in self.workers]

    def sum(self, name: str, **labels: str) -> float:
        """Of a metric over all workers."""
        return sum(total(samples, name, **labels) for samples in self.samples())

    def pictures_by_result(self) -> dict[str, int]:
        """`adgauge_images_total`."""
        found: dict[str, int] = {}
        for samples in self.samples():
            for (name, labels), value in samples.items():
                if name == "adgauge_images_total" and value:
                    result = dict(labels)["result"]
                    found[result] = found.get(result, 0) + int(value)
        return found

    def asked_of_triton(self) -> "Asked":
        """What Triton was asked for scores so far, without the probes, which no record asks for."""
        before = self._asked()
        while True:
            time.sleep(PROBED_S)
            now = self._asked()
            if now == before:
                return now
            before = now  # a probe was under way, which Triton counts first

    def _asked(self) -> "Asked":
        probes = self.sum("adgauge_model_probes_total")
        samples = scrape(self.servers.triton.metrics_url)
        requests, rows = (
            total(samples, f"nv_inference_{name}_total") for name in ("request_success", "count")
        )
        return Asked(int(requests - probes), int(rows - probes))

    def check(self) -> None:
        """Raise ServerFailed when a worker did not live through it."""
        for worker in self.workers:
            for departure in worker.departures:
                raise ServerFailed(f"{departure.name} ended: {departure.words}")

    def _committed_since(self, asked_s: float) -> bool:
        self.check()
        return bool(self.watch.progress) and _settled(self.watch.progress[-1], asked_s)

    def _assigned(self) -> bool:
        self.check()
        ready = all(http_ok(worker.metrics_port, "/healthz/ready") for worker in self.workers)
        each = [total(samples, "adgauge_assigned_partitions") for samples in self.samples()]
        return ready and sum(each) == PARTITIONS and min(each) == PARTITIONS // len(each)


@dataclass(frozen=True, slots=True)
class Asked:
    """Of Triton: requests, and rows in them."""

    requests: int
    rows: int

    def __sub__(self, other: "Asked") -> "Asked":
        return Asked(self.requests - other.requests, self.rows - other.rows)


@contextmanager
def running_scorers(
    servers: Servers, *, workers: int = 1, cached: bool = False, settings: Mapping[str, str] | None = None
) -> Iterator[Scorers]:
    """Entered once every worker has its partitions; raises ServerFailed.

    `cached`: with a content cache, and for each worker a folder for pictures.
    """
    name, generation = uuid.uuid4().hex[:8], next(_generations)
    topics = (f"{TOPIC_PREFIX}{name}", f"{TOPIC_PREFIX}{name}-scores", f"{TOPIC_PREFIX}{name}-dlq")
    with KafkaAdmin(plain_connection(servers.bootstrap)) as admin:
        for plan in planned_topics(*topics):
            admin.create(plan, PARTITIONS)
    ours = _settings(servers, topics, generation) | dict(settings or {})
    places = [
        Worker(
            servers.workspace, f"scorer-{name}-{number}", ours | _caches(servers, f"{name}-{number}", cached)
        )
        for number in range(workers)
    ]
    try:
        with Watch(servers.bootstrap, topics[0], name, lambda: places) as watch:
            scorers = Scorers(servers, topics, generation, places, watch)
            until(scorers._assigned, READY_S, "not every worker has its partitions")
            yield scorers
            scorers.check()
    finally:
        for worker in places:
            worker.close()


def _settings(servers: Servers, topics: tuple[str, str, str], generation: int) -> dict[str, str]:
    products, scores, dead_letters = topics
    return {
        **servers.settings,
        "ADGAUGE_GENERATION": str(generation),
        "ADGAUGE_GROUP": products.removeprefix(TOPIC_PREFIX),
        "ADGAUGE_PRODUCTS_TOPIC": products,
        "ADGAUGE_SCORES_TOPIC": scores,
        "ADGAUGE_DEAD_LETTERS_TOPIC": dead_letters,
    }


def _caches(servers: Servers, name: str, cached: bool) -> dict[str, str]:
    if not cached:
        return {}
    folder = servers.workspace.subfolder(f"pictures-{name}")
    return {
        "ADGAUGE_CONTENT_CACHE_URL": f"redis://{HOST}:{servers.valkey.port}/1",
        "ADGAUGE_IMAGE_CACHE_DIR": str(folder),
    }


def _settled(progress: Progress, asked_s: float) -> bool:
    """As of a sample that was taken after somebody asked."""
    return progress.at_s > asked_s and progress.lag == 0
