"""Real servers for the tests, each started once a session."""

import logging
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from kafka.admin import KafkaAdminClient, NewTopic

from services.embedded.cache import Cache, ValkeyCluster, start_cache
from services.embedded.kafka import Kafka
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace
from tests.brightness import export_brightness
from tests.kafka_over_tls import kafka_over_tls as kafka_over_tls

# pytest finds hooks by their names here.
from tests.pinned_tools import pytest_runtest_setup as pytest_runtest_setup
from tests.pinned_tools import pytest_terminal_summary as pytest_terminal_summary
from tests.pinned_tools import require_tool
from tests.redis_over_tls import redis_over_tls as redis_over_tls
from tests.redis_over_tls import tls_server as tls_server
from tools.install import KAFKA_JARS

if TYPE_CHECKING:
    from adgauge.export.repository import Written

    Export = Callable[[str], Written]

TOPIC_PREFIX = "adgauge-test-"

# A shell ignores these for what it runs in the background, and children inherit that: tests of Ctrl-C and
# of a closed terminal would then send signals that nobody can hear.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

MakeTopic = Callable[..., str]


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository; what is in it is for reading."""
    return tmp_path_factory.mktemp("tiny") / "repository"


@pytest.fixture(scope="session")
def exported(tiny_repository: Path) -> "Export":
    """Exports a system into `tiny_repository`, once a session."""
    # Torch takes seconds to import, and most tests do without.
    from adgauge.export.repository import write_version
    from adgauge.export.source import open_source

    @cache
    def export(name: str) -> "Written":
        return write_version(open_source(name), tiny_repository)

    return export


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """A program under test sets up logging to the streams of its test, which are closed when it ends."""
    loggers = [logging.getLogger(name) for name in (None, "adgauge", "services", "kafka")]
    before = [(logger, logger.handlers[:], logger.level) for logger in loggers]
    yield
    for logger, handlers, level in before:
        logger.handlers[:] = [each for each in logger.handlers if each in handlers]
        logger.setLevel(level)


@pytest.fixture(scope="session")
def workspace() -> Iterator[Workspace]:
    """Where the session's servers run; they are stopped when the session ends, however it ends."""
    with Workspace() as workspace:
        yield workspace


@pytest.fixture(scope="session")
def kafka(workspace: Workspace, request: pytest.FixtureRequest) -> Kafka:
    """Apache Kafka with its files at hand."""
    require_tool("kafka", request.config)
    kafka = Kafka(workspace, jars=KAFKA_JARS)
    kafka.start()
    return kafka


@pytest.fixture(scope="session")
def kafka_bootstrap(request: pytest.FixtureRequest) -> str:
    """Apache Kafka, or the cluster named by ADGAUGE_TEST_KAFKA_BOOTSTRAP."""
    given = os.environ.get("ADGAUGE_TEST_KAFKA_BOOTSTRAP")
    if given:
        return given
    kafka: Kafka = request.getfixturevalue("kafka")
    return kafka.bootstrap


@pytest.fixture
def make_topic(kafka_bootstrap: str) -> Iterator[MakeTopic]:
    """Create topics of unique names, all with the prefix of tests; they are deleted afterwards.

    `make_topic("products", partitions=3, configs={"cleanup.policy": "compact"})` returns the name.
    """
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    made: list[str] = []

    def make(purpose: str = "t", *, partitions: int = 1, configs: dict[str, str] | None = None) -> str:
        name = f"{TOPIC_PREFIX}{uuid.uuid4().hex[:12]}-{purpose}"
        admin.create_topics([NewTopic(name, partitions, 1, topic_configs=configs or {})])
        made.append(name)
        return name

    try:
        yield make
        if made:
            admin.delete_topics(made)
    finally:
        admin.close()


@pytest.fixture(scope="session")
def valkey(workspace: Workspace) -> Cache:
    cache = start_cache(workspace)
    cache.wait_until_ready()
    return cache


@pytest.fixture
def redis_url(valkey: Cache) -> str:
    """A Redis-protocol server that holds nothing."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture(scope="session")
def valkey_cluster(workspace: Workspace) -> ValkeyCluster:
    """Three masters and their replicas; a test that kills one brings it back."""
    cluster = ValkeyCluster(workspace)
    cluster.start()
    return cluster


@pytest.fixture(scope="session")
def brightness_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the model `brightness` with contract and golden records, as an exporter leaves it."""
    return export_brightness(tmp_path_factory.mktemp("repository"))


@pytest.fixture(scope="session")
def triton_url(workspace: Workspace, brightness_dir: Path) -> str:
    """A tritonserver that serves the model `brightness`: score = 1 + 4 * mean(image) / 255."""
    venv = EmbeddedSettings().triton_venv
    triton = start_triton(workspace, venv=venv, repository=brightness_dir.parents[1], models=["brightness"])
    triton.wait_until_ready()
    return triton.url
