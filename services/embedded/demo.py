"""`make demo`: publish a catalog, watch it being scored by real servers, and say what came out."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from adgauge.adapters.files import CatalogFile, key_and_value
from adgauge.adapters.kafka import KafkaPublisher, KafkaWriter, plain_connection
from adgauge.adapters.redis import Reading, ScoreReader, connect
from adgauge.adapters.settings import load_settings
from adgauge.cli.terminal import Progress
from adgauge.errors import ConfigurationError, RecordRejected
from adgauge.product import parse_product
from services.embedded.processes import ServerFailed
from services.embedded.report import Report, print_report
from services.embedded.scorer import TOPICS, Samples, create_topics, scrape, start_scorer, total
from services.embedded.settings import EmbeddedSettings
from services.embedded.stack import Stack, running_stack

MODEL = "effimini_lite0"
VERSION = "1"
MAX_RECORD_BYTES = 2**20
STALL_S = 60.0
"""The demo gives up when no record is decided for so long."""


@dataclass(frozen=True)
class Catalog:
    """What is published, and what must have a score in the end: id → title."""

    path: Path
    records: list[tuple[bytes, bytes | None]]
    blank: int
    scorable: dict[str, str]


def run_demo(path: Path) -> int:
    """Exit code 0 when every record was decided and every scorable product has a score."""
    catalog = read_catalog(path)
    settings = load_settings(EmbeddedSettings)
    if settings.kafka_bootstrap or settings.redis_url:
        raise ConfigurationError(
            "the demo writes to servers of its own: unset ADGAUGE_KAFKA_BOOTSTRAP and ADGAUGE_REDIS_URL"
            " (`adgauge publish` sends a catalog to yours)"
        )
    print(f"catalog   {os.path.relpath(path)}: {len(catalog.records)} records")
    started = time.monotonic()
    with running_stack(settings, [MODEL]) as stack:
        print(
            f"servers   broker {stack.kafka_bootstrap} · redis {stack.redis_url} · triton {stack.triton_url}"
        )
        create_topics(stack)
        scorer = start_scorer(stack, settings.model_repository / MODEL / VERSION, path.parent.resolve())
        scorer.wait_until_assigned()
        print(f"scorer    ready after {time.monotonic() - started:.1f} s · metrics at {scorer.metrics_url}")
        before = triton_samples(stack)
        began = time.monotonic()
        publish(stack, catalog)
        try:
            samples = wait_until_decided(stack, scorer.metrics_url, len(catalog.records))
        except KeyboardInterrupt:
            print("\nstopping")  # servers take a moment
            raise
        seconds = time.monotonic() - began
        report = Report(
            catalog=path,
            titles=catalog.scorable,
            records=len(catalog.records),
            blank=catalog.blank,
            seconds=seconds,
            reading=read_scores(stack, list(catalog.scorable)),
            scorer=samples,
            triton_before=before,
            triton_after=triton_samples(stack),
            metrics_url=scorer.metrics_url,
        )
        print_report(report)
    return 1 if report.unscored else 0


def read_catalog(path: Path) -> Catalog:
    """The records of a catalog file; raises ConfigurationError when it cannot be read."""
    scorable: dict[str, str] = {}
    with CatalogFile(str(path), sys.stdin.buffer, MAX_RECORD_BYTES) as file:
        records = [key_and_value(line) for _, line in file]
        for key, value in records:
            if value is None:
                scorable.pop(key.decode(), None)
            else:
                scorable |= _title(value)
        return Catalog(path, records, file.blank, scorable)


def _title(value: bytes) -> dict[str, str]:
    try:
        product = parse_product(value, MAX_RECORD_BYTES)
    except RecordRejected:
        return {}
    return {product.parent_asin: product.title}


def publish(stack: Stack, catalog: Catalog) -> None:
    """All records, acknowledged."""
    writer = KafkaWriter(plain_connection(stack.kafka_bootstrap))
    try:
        KafkaPublisher(writer, TOPICS[0].name).publish(catalog.records)
    finally:
        writer.close()


def wait_until_decided(stack: Stack, metrics_url: str, records: int) -> Samples:
    """Show progress until each record has an outcome; raises ServerFailed when nothing moves any more."""
    progress = Progress(sys.stdout, time.monotonic)
    decided, moved_at, began = 0, time.monotonic(), time.monotonic()
    while True:
        stack.check()
        samples = scrape(metrics_url)
        now_decided = int(total(samples, "adgauge_records_total"))
        if now_decided >= records:
            progress.clear()
            return samples
        if now_decided > decided:
            decided, moved_at = now_decided, time.monotonic()
        if time.monotonic() - moved_at > STALL_S:
            raise ServerFailed(
                f"{decided} of {records} records decided, and none in the last {STALL_S:.0f} s"
            )
        progress.show(
            f"scoring   {_bar(decided, records)} {decided}/{records}  {time.monotonic() - began:.0f} s"
        )
        time.sleep(0.1)


def _bar(done: int, whole: int, width: int = 30) -> str:
    filled = round(width * done / max(whole, 1))
    return "█" * filled + "·" * (width - filled)


def read_scores(stack: Stack, product_ids: list[str]) -> Reading:
    """What a recommender would read now."""
    reader = ScoreReader(connect(stack.redis_url, timeout_s=5.0), time.monotonic)
    try:
        return reader.get(product_ids)
    finally:
        reader.close()


def triton_samples(stack: Stack) -> Samples:
    """Triton's own counters; none where Triton is not ours."""
    return scrape(stack.triton_metrics_url) if stack.triton_metrics_url else {}
