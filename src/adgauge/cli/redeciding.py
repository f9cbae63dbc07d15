"""What `adgauge reconcile` and `adgauge rescore` share: the scorer's pipeline, with the log as its source."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

from prometheus_client import CollectorRegistry
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from adgauge.adapters.admission import admit
from adgauge.adapters.files import Nowhere
from adgauge.adapters.kafka import KafkaScoreLog, KafkaWriter, envelope_of, require_topics
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.redis import ScoreReader, connect, register_generation
from adgauge.adapters.settings import PREFIX, ServerSettings
from adgauge.errors import ConfigurationError
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.redeciding import AT_ONCE, Decide, Held, Logged, Raw, Redecider
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.records import CLOCK_SKEW_MS, Order, Outcome
from adgauge.telemetry.metrics import Metrics
from adgauge.wiring import image_loader, score_store

BATCH_RECORDS = 64
PACES_PER_SECOND = 10
GIVE_UP_S = 120.0
"""A server that is away for so long ends the command: it may be run again."""


class ScoresSettings(BaseSettings):
    """Which scores are repaired, under the scorer's names. Without a generation the live one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    generation: PositiveInt | None = None
    score_ttl_s: PositiveFloat = Field(default=180 * 86400.0)


class Waiting:
    """Waits for servers, until nothing has got on for GIVE_UP_S."""

    def __init__(self) -> None:
        self._progressed_at = time.monotonic()

    def progressed(self) -> None:
        """Something got on."""
        self._progressed_at = time.monotonic()

    def wait(self, seconds: float) -> bool:
        """Whether to give up, after so long."""
        time.sleep(seconds)
        return time.monotonic() - self._progressed_at > GIVE_UP_S


@dataclass(frozen=True, slots=True)
class Redeciding:
    """What a repair works with; `waiting` is to be told of progress."""

    generation: int
    held: Held
    redecider: Redecider
    waiting: Waiting


def redeciding(
    stack: ExitStack, servers: ServerSettings, scores: ScoresSettings, *, dry_run: bool, rate: float | None
) -> Redeciding:
    """Connected, and closed with the stack. A dry run decides nothing; `rate` bounds records a second."""
    waiting, metrics = Waiting(), Metrics(CollectorRegistry())
    redis = connect(servers.redis(), servers.redis_timeout_s, servers.redis_ca_file)
    reader = ScoreReader(redis, time.monotonic)
    stack.callback(reader.close)
    generation = scores.generation or reader.get([]).generation
    if generation is None:
        raise ConfigurationError("no generation is live: name the one to repair in ADGAUGE_GENERATION")
    circuits = Circuits(waiting.wait, random.random, time.monotonic, metrics, probes={}, patience=Patience())
    decide = _nothing if dry_run else _pipeline(stack, servers, scores, generation, circuits, metrics)

    def held(ids: Sequence[str]) -> Mapping[str, Order | None]:
        waiting.progressed()
        found = circuits.call("redis", lambda: reader.get(ids, generation)).entries
        return {name: entry.order if entry is not None else None for name, entry in found.items()}

    redecider = Redecider(
        decide,
        stack.enter_context(ThreadPoolExecutor(AT_ONCE, "redecide")),
        batch_records=min(BATCH_RECORDS, max(int((rate or 1e9) / PACES_PER_SECOND / AT_ONCE), 1)),
        pace=_pace(rate),
    )
    return Redeciding(generation, held, redecider, waiting)


def logged(log: KafkaLog, partition: int, since_ms: int | None = None) -> Iterator[Logged]:
    """A partition's records, in the order that a scorer gave them when they were new.

    It set impossible timestamps to the time of day. That was after everything before them was written: by
    today's time of day, they would overtake newer versions.
    """
    latest_ms = 0
    for record in log.read([partition], since_ms):
        at_ms = now_ms()
        possible = 0 <= record.timestamp <= at_ms + CLOCK_SKEW_MS
        if possible:
            latest_ms = max(latest_ms, record.timestamp)
        written_ms = record.timestamp if possible else latest_ms
        yield Logged(envelope_of(record, at_ms if possible else latest_ms), written_ms)


def now_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


def _pipeline(
    stack: ExitStack,
    servers: ServerSettings,
    scores: ScoresSettings,
    generation: int,
    circuits: Circuits,
    metrics: Metrics,
) -> Decide:
    """The scorer's pipeline. What it rejects stays as it was stored, and no dead letter is written."""
    kafka = servers.kafka()
    admitted = admit(servers.model(), servers.triton(), metrics, requests=servers.triton_requests)
    stack.callback(admitted.scorer.close)
    contract = admitted.contract
    model, digest = f"{contract.name}/{contract.version}", contract.digest()
    redis = connect(servers.redis(), servers.redis_timeout_s, servers.redis_ca_file)
    store = score_store(redis, servers, generation, scores.score_ttl_s)
    stack.callback(store.close)
    register_generation(redis, generation, {"model": model, "digest": digest})
    require_topics(kafka, servers.topics())
    writer = KafkaWriter(kafka)
    stack.callback(writer.close)
    images = image_loader(contract.spec.image, servers, metrics, patience_s=GIVE_UP_S / 2)
    stack.callback(images.close)
    return ScoringPipeline(
        canonicalizer=admitted.canonicalizer,
        images=images,
        cache=None,
        scorer=admitted.scorer,
        store=store,
        score_log=KafkaScoreLog(
            writer, servers.scores_topic, generation=generation, model=model, contract=digest
        ),
        dead_letters=Nowhere(),
        circuits=circuits,
        fuse=Fuse(window=1, judged_from=1, limit=1.0),  # it judged these records when they were new
        metrics=metrics,
        clock_ms=now_ms,
        max_record_bytes=servers.max_record_bytes,
    ).decide


def _nothing(batch: Sequence[Raw]) -> Sequence[Outcome]:
    raise AssertionError("a dry run decides nothing")


def _pace(rate: float | None) -> Callable[[int], None]:
    """Waits so that at most `rate` records are begun a second."""
    next_at = time.monotonic()

    def pace(records: int) -> None:
        nonlocal next_at
        if rate is not None:
            time.sleep(max(next_at - time.monotonic(), 0))
            next_at = max(next_at, time.monotonic()) + records / rate

    return pace
