"""The scorer as one more child process of the stack: the program that production runs, unchanged."""

import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from services.embedded.ports import HOST, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import ServerProcess
from services.embedded.settings import scorer_environment
from services.embedded.stack import Stack

READY_TIMEOUT_S = 60.0
PARTITIONS = 3
TOPICS = planned_topics("catalog.products", "catalog.scores", "catalog.products.dlq")
GENERATION = 1

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Metric values by sample name and labels."""


@dataclass(frozen=True)
class RunningScorer:
    """A scorer that has passed its checks and consumes."""

    process: ServerProcess
    metrics_url: str

    def wait_until_assigned(self) -> None:
        """Return when the group gave it every partition: joining takes seconds that are not scoring."""
        self.process.wait_until(
            lambda: total(scrape(self.metrics_url), "adgauge_assigned_partitions") == PARTITIONS,
            timeout_s=READY_TIMEOUT_S,
        )


def create_topics(stack: Stack) -> None:
    """The product's topics, where they are missing."""
    with KafkaAdmin(plain_connection(stack.kafka_bootstrap)) as admin:
        existing = admin.topics([plan.name for plan in TOPICS])
        for plan in TOPICS:
            if plan.name not in existing:
                admin.create(plan, PARTITIONS)


def start_scorer(stack: Stack, model_dir: Path, image_root: Path) -> RunningScorer:
    """Start a scorer on the stack's servers that may read pictures below `image_root`.

    Raises ServerFailed with the scorer's own line when it refuses to serve.
    """
    port = free_port()
    variables = connection_variables(stack) | {
        "ADGAUGE_MODEL_DIR": str(model_dir),
        "ADGAUGE_GENERATION": str(GENERATION),
        "ADGAUGE_IMAGE_ROOTS": str(image_root),
        "ADGAUGE_IMAGE_SCHEMES": "https,data,file",
        "ADGAUGE_METRICS_PORT": str(port),
    }
    argv = [sys.executable, "-m", "services.scorer"]
    process = stack.workspace.start("scorer", argv, scorer_environment() | variables)
    process.wait_until(lambda: http_ok(port, "/healthz/ready"), timeout_s=READY_TIMEOUT_S)
    return RunningScorer(process, f"http://{HOST}:{port}/metrics")


def connection_variables(stack: Stack) -> dict[str, str]:
    """The variables that point any adgauge program at the stack's servers."""
    return {
        "ADGAUGE_KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "ADGAUGE_REDIS_URL": stack.redis_url,
        "ADGAUGE_TRITON_URL": stack.triton_url,
    }


def scrape(url: str) -> Samples:
    """The samples of a Prometheus page; none while it cannot be read."""
    try:
        with urlopen(url, timeout=5.0) as page:  # noqa: S310 - an http address of our own making
            text = page.read().decode()
    except OSError:
        return {}
    families = text_string_to_metric_families(text)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    """Sum of the samples of that name that carry at least these labels."""
    wanted = set(labels.items())
    return sum(value for (sample, found), value in samples.items() if sample == name and wanted <= found)
