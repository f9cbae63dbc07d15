"""One row that breaks the model among thousands: what finding it costs, and who else suffers."""

import json
import math
import random
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import admit
from adgauge.adapters.memory import MemoryDeadLetters, MemoryImages, MemoryScoreLog, MemoryScoreStore
from adgauge.adapters.triton import REQUEST_ROWS, plain_triton
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.records import Envelope, ImageResult, Order, Partition, Position, Score
from adgauge.telemetry.metrics import Metrics
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace
from tests.brightness import POISON, SIDE, export_brightness, grey_score
from tests.outages.load import Say

BATCH_RECORDS, BATCHES, REQUESTS = 64, 4, 8
"""As a scorer has them by default."""
WORDS = ("a", "thing")
TITLE_BITS = 15  # with the poison 16 words, which is as many as the model reads
TOLERANCE = 1e-4
DEADLINE_S = 10.0
MAX_BYTES = 10_000
NOW_MS = 1_800_000_000_000
BOUND = 2 * math.log2(REQUEST_ROWS) + 2
MERGED_BOUND = BOUND + REQUESTS - 1
"""Each other request of the worker that Triton merged with it is asked once more."""
ROUNDS = 10


@dataclass(frozen=True)
class _Row:
    """A product and the record that carries it."""

    product_id: str
    level: int
    poison: bool
    record: Envelope[bytes | None]


@dataclass(frozen=True)
class Cost:
    """What one poison row did to its worker and to a neighbour.

    `extra` counts requests beyond those of the same rows without poison, `neighbours_extra` those of the
    neighbour; `wrong` counts good rows of both that have no score, or another than they should.
    """

    rows: int
    requests: int
    extra: int
    rejected: int
    neighbours_extra: int
    neighbours_rejected: int
    wrong: int


@dataclass(frozen=True)
class Costs:
    """Alone: one request at a time and no other worker, so that only the row's own request fails.

    Merged: several rounds beside another worker, with all the requests at a time that a scorer sends.
    """

    alone: Cost
    merged: tuple[Cost, ...]


def measure(rows: int, say: Say) -> Costs:
    """Score `rows` good rows and a poison row on a tritonserver of their own; raises ServerFailed."""
    with Workspace() as workspace:
        model_dir = export_brightness(workspace.subfolder("repository"))
        triton = start_triton(
            workspace,
            venv=EmbeddedSettings().triton_venv,
            repository=model_dir.parents[1],
            models=[model_dir.parent.name],
        )
        triton.wait_until_ready()
        say(f"one poison row among {rows:,}, one request at a time")
        alone = _cost(triton.url, model_dir, rows, requests=1, neighbour=False)
        say(f"{alone.extra} requests more; the same beside another worker, {REQUESTS} requests at a time")
        merged = [
            _cost(triton.url, model_dir, rows // ROUNDS, requests=REQUESTS, neighbour=True)
            for _ in range(ROUNDS)
        ]
        return Costs(alone, tuple(merged))


def problems(found: Costs) -> list[str]:
    """The bounds that were missed, in words."""
    missed = [
        f"one poison row: {each.rejected} rejected, of another worker {each.neighbours_rejected},"
        f" {each.wrong} good rows without their score"
        for each in (found.alone, *found.merged)
        if (each.rejected, each.neighbours_rejected, each.wrong) != (1, 0, 0)
    ]
    if found.alone.extra > BOUND:
        missed.append(f"a poison row cost {found.alone.extra} requests more, {BOUND:g} are allowed")
    if (worst := max(each.extra for each in found.merged)) > MERGED_BOUND:
        missed.append(f"a poison row and what was merged with it cost {worst} more, not {MERGED_BOUND:g}")
    if not _hit(found):
        missed.append("a poison row: Triton merged it with no row of another worker, so nothing is proven")
    return missed


def rows(found: Costs) -> dict[str, str]:
    """What the table says."""
    return {
        "rows, requests for them": f"{found.alone.rows:,}, {found.alone.requests:,}",
        f"requests more for one poison row of {REQUEST_ROWS}": f"{found.alone.extra}, allowed {BOUND:g}",
        "… and for what Triton had merged with it, worst": f"{max(each.extra for each in found.merged)}",
        "requests of another worker asked once more": f"{_hit(found)} in {len(found.merged)} rounds",
        "rejected, good rows without their score": f"1 each time, {_wrong(found)}",
    }


def figures(found: Costs) -> dict[str, object]:
    """Numbers by name, for docs/figures."""
    return {
        "rows": found.alone.rows,
        "rows_of_a_request": REQUEST_ROWS,
        "requests": found.alone.requests,
        "extra": found.alone.extra,
        "allowed": round(BOUND),
        "rejected": found.alone.rejected,
        "rounds_merged": len(found.merged),
        "merged_extra_worst": max(each.extra for each in found.merged),
        "neighbours_extra": _hit(found),
        "neighbours_rejected": sum(each.neighbours_rejected for each in found.merged),
        "wrong": _wrong(found),
    }


def _hit(found: Costs) -> int:
    """Requests of another worker that failed with the poison row and were asked again."""
    return sum(each.neighbours_extra for each in found.merged)


def _wrong(found: Costs) -> int:
    return sum(each.wrong for each in (found.alone, *found.merged))


def _cost(url: str, model_dir: Path, rows: int, *, requests: int, neighbour: bool) -> Cost:
    with _worker(url, model_dir, requests) as ours, _worker(url, model_dir, requests) as other:
        plain = ours.work(_catalog("G", rows + 1))
        with _beside(other, _catalog("N", BATCH_RECORDS * BATCHES) if neighbour else []):
            with_poison = ours.work(_catalog("P", rows + 1, poison=rows // 2))
        return Cost(
            rows=rows,
            requests=plain,
            extra=with_poison - plain,
            rejected=ours.rejected,
            neighbours_extra=other.extra,
            neighbours_rejected=other.rejected,
            wrong=ours.wrong + other.wrong,
        )


class _Worker:
    """A scorer's pipeline on a model of Triton's; what it writes stays in memory."""

    def __init__(self, pipeline: ScoringPipeline, store: MemoryScoreStore, metrics: Metrics) -> None:
        self._pipeline = pipeline
        self._store = store
        self._metrics = metrics
        self._levels: dict[str, int | None] = {}
        self.extra = 0

    def work(self, catalog: Sequence[_Row]) -> int:
        """Score it in batches, several at once, and return how many requests that took."""
        self._levels |= {row.product_id: None if row.poison else row.level for row in catalog}
        before = self._value("adgauge_request_rows_count")
        batches = [catalog[start : start + BATCH_RECORDS] for start in range(0, len(catalog), BATCH_RECORDS)]
        with ThreadPoolExecutor(BATCHES) as pool:
            for _ in pool.map(lambda batch: self._pipeline.run([row.record for row in batch]), batches):
                pass
        return round(self._value("adgauge_request_rows_count") - before)

    def work_until(self, stop: threading.Event, catalog: Sequence[_Row]) -> None:
        """Score it over and over."""
        needed = math.ceil(len(catalog) / REQUEST_ROWS)
        while not stop.is_set():
            self.extra += self.work(catalog) - needed

    @property
    def rejected(self) -> int:
        """Records, repetitions included."""
        return round(self._value("adgauge_records_total", outcome="rejected", reason="model_error"))

    @property
    def wrong(self) -> int:
        """Good rows without the score that they should have."""
        return sum(not self._is_right(name, level) for name, level in self._levels.items())

    def _is_right(self, product_id: str, level: int | None) -> bool:
        entry = self._store.entries.get(product_id)
        if level is None:
            return entry is None
        return isinstance(entry, Score) and abs(entry.value - grey_score(level)) <= TOLERANCE

    def _value(self, name: str, **labels: str) -> float:
        return self._metrics.registry.get_sample_value(name, labels) or 0.0


@contextmanager
def _worker(url: str, model_dir: Path, requests: int) -> Iterator[_Worker]:
    metrics, store, stop = Metrics(CollectorRegistry()), MemoryScoreStore(), threading.Event()
    model = admit(model_dir, plain_triton(url, DEADLINE_S), metrics, requests=requests)
    circuits = Circuits(stop.wait, random.random, time.monotonic, metrics, probes={}, patience=Patience())
    pipeline = ScoringPipeline(
        canonicalizer=model.canonicalizer,
        images=MemoryImages(_pictures()),
        cache=None,
        scorer=model.scorer,
        store=store,
        score_log=MemoryScoreLog(),
        dead_letters=MemoryDeadLetters(),
        circuits=circuits,
        fuse=Fuse(window=500, judged_from=200, limit=0.5),
        metrics=metrics,
        clock_ms=lambda: NOW_MS,
        max_record_bytes=MAX_BYTES,
    )
    try:
        yield _Worker(pipeline, store, metrics)
    finally:
        stop.set()
        model.scorer.close()


@contextmanager
def _beside(worker: _Worker, catalog: Sequence[_Row]) -> Iterator[None]:
    """The worker scores the catalog over and over meanwhile; nothing where it is empty."""
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(worker.work_until, stop, catalog) if catalog else None
        try:
            yield
        finally:
            stop.set()
        if working is not None:
            working.result()


def _catalog(prefix: str, rows: int, poison: int | None = None) -> list[_Row]:
    """Rows of different content, so that each has to be asked for; one breaks the model."""
    return [_row(f"{prefix}{number:06d}", number, poison=number == poison) for number in range(rows)]


def _row(product_id: str, number: int, *, poison: bool) -> _Row:
    level = number % 256
    words = " ".join(WORDS[number >> bit & 1] for bit in range(TITLE_BITS))
    product = {
        "parent_asin": product_id,
        "title": f"{POISON} {words}" if poison else words,
        "images": [{"variant": "MAIN", "large": _url(level)}],
    }
    value: bytes | None = json.dumps(product).encode()
    position, order = Position(Partition("products", 0), number), Order(NOW_MS, number)
    return _Row(
        product_id,
        level,
        poison,
        Envelope(value, position, order, product_id.encode(), value, (), frozenset()),
    )


def _url(level: int) -> str:
    return f"https://pictures/{level}.png"


@cache
def _pictures() -> Mapping[str, ImageResult]:
    return {_url(level): np.full((3, SIDE, SIDE), level, dtype=np.uint8) for level in range(256)}
