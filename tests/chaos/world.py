"""Everything that runs: servers, links, workers, publisher. Nothing of it outlives the `with`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from services.embedded.workspace import Workspace
from tests.brightness import export_brightness
from tests.chaos.links import Link, Toxiproxy
from tests.chaos.schedule import LINKS, SESSION_S, WORKERS
from tests.chaos.servers import Broker, Redis, Triton
from tests.chaos.slow_images import SlowImageHost
from tests.chaos.workers import Worker
from tools.install import KAFKA_JARS

TOPICS = ("catalog.products", "catalog.scores", "catalog.products.dlq")
PRODUCTS, SCORES, DEAD_LETTERS = TOPICS
GROUP = "chaos"
GENERATION = 1
PARTITIONS = 6


@dataclass
class World:
    """What faults strike and what the judge looks at."""

    workspace: Workspace
    broker: Broker
    redis: Redis
    triton: Triton
    toxiproxy: Toxiproxy
    links: dict[str, Link]
    images: SlowImageHost
    settings: dict[str, str]
    workers: dict[str, Worker] = field(default_factory=dict)
    guests: list[Worker] = field(default_factory=list)

    def worker(self, name: str) -> Worker:
        """By its name in the schedule."""
        return self.workers[name]

    def link(self, target: str) -> Link:
        """By its name in the schedule, `link redis`."""
        return self.links[target.removeprefix("link ")]

    def everybody(self) -> list[Worker]:
        """The workers and those that joined for a while."""
        return [*self.workers.values(), *self.guests]

    def add_worker(self) -> Worker:
        """One more, of a name of its own."""
        guest = Worker(self.workspace, f"guest-{len(self.guests)}", self.settings)
        self.guests.append(guest)
        return guest

    def start_workers(self) -> None:
        """Those that faults strike."""
        for name in WORKERS:
            self.workers[name] = Worker(self.workspace, name, self.settings)

    def let_go(self) -> None:
        """Workers that end now are not started again."""
        self.triton.let_go()
        for worker in self.everybody():
            worker.let_go()

    def check(self) -> None:
        """Raise ServerFailed when what no fault strikes has died."""
        self.toxiproxy.process.check()


@contextmanager
def running_world(appendfsync: Literal["always", "everysec"], *, cached: bool) -> Iterator[World]:
    """Servers, links and topics; raises ServerFailed. The workers are not started yet."""
    with ExitStack() as stack:
        workspace = stack.enter_context(Workspace())
        images = stack.enter_context(SlowImageHost())
        model_dir = export_brightness(workspace.subfolder("repository"))
        broker = Broker(workspace, KAFKA_JARS)
        redis, triton = Redis(workspace, appendfsync), Triton(workspace, model_dir)
        toxiproxy = Toxiproxy(workspace)
        links = {
            "kafka": toxiproxy.link("kafka", broker.inner_port, port=broker.advertised_port),
            "redis": toxiproxy.link("redis", redis.port),
            "triton": toxiproxy.link("triton", triton.port),
        }
        assert tuple(links) == LINKS
        settings = _settings(links, model_dir, images, cached=cached)
        _create_topics(broker.bootstrap)
        world = World(workspace, broker, redis, triton, toxiproxy, links, images, settings)
        stack.callback(world.let_go)
        yield world


def _settings(
    links: dict[str, Link], model_dir: Path, images: SlowImageHost, *, cached: bool
) -> dict[str, str]:
    """What the workers are told: every server behind its link."""
    redis_url = f"redis://{links['redis'].address}/0"
    settings = {
        "ADGAUGE_KAFKA_BOOTSTRAP": links["kafka"].address,
        "ADGAUGE_REDIS_URL": redis_url,
        "ADGAUGE_TRITON_URL": links["triton"].address,
        "ADGAUGE_MODEL_DIR": str(model_dir),
        "ADGAUGE_GENERATION": str(GENERATION),
        "ADGAUGE_GROUP": GROUP,
        "ADGAUGE_PRODUCTS_TOPIC": PRODUCTS,
        "ADGAUGE_SCORES_TOPIC": SCORES,
        "ADGAUGE_DEAD_LETTERS_TOPIC": DEAD_LETTERS,
        "ADGAUGE_SESSION_TIMEOUT_S": str(SESSION_S),
        "ADGAUGE_IMAGE_SCHEMES": "data,http",
        "ADGAUGE_IMAGE_NETWORKS": "127.0.0.0/8",
        "ADGAUGE_IMAGE_PORTS": str(images.port),
    }
    return settings | ({"ADGAUGE_CONTENT_CACHE_URL": redis_url} if cached else {})


def _create_topics(bootstrap: str) -> None:
    with KafkaAdmin(plain_connection(bootstrap)) as admin:
        for plan in planned_topics(*TOPICS):
            admin.create(plan, PARTITIONS)
