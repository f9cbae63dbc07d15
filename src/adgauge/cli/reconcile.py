"""`adgauge reconcile`: what the input topic has and Redis has lost, scored again as a scorer would."""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

from prometheus_client import CollectorRegistry
from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from adgauge.adapters.admission import admit
from adgauge.adapters.files import Nowhere
from adgauge.adapters.kafka import KafkaScoreLog, KafkaWriter, envelope_of, require_topics
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.redis import (
    TOMBSTONE_TTL_MS,
    RedisScoreStore,
    ScoreReader,
    connect,
    register_generation,
)
from adgauge.adapters.settings import PREFIX, ServerSettings, load_settings
from adgauge.cli.terminal import Progress
from adgauge.errors import ConfigurationError
from adgauge.images.http import HttpPolicy
from adgauge.images.loader import ImageLoader
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.reconcile import AT_ONCE, Counts, Logged, Raw, Reconciler
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.records import CLOCK_SKEW_MS, Order, Outcome
from adgauge.telemetry.metrics import Metrics

BATCH_RECORDS = 64
PACES_PER_SECOND = 10
GIVE_UP_S = 120.0
"""A server that is away for so long ends the command: it may be run again."""

Decide = Callable[[Sequence[Raw]], Sequence[Outcome]]


class ScoresSettings(BaseSettings):
    """Which scores are repaired, under the scorer's names. Without a generation the live one."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    generation: PositiveInt | None = None
    score_ttl_s: PositiveFloat = Field(default=180 * 86400.0)


class _Waiting:
    """Waits for servers, until nothing has got on for GIVE_UP_S."""

    def __init__(self) -> None:
        self._progressed_at = time.monotonic()

    def progressed(self) -> None:
        self._progressed_at = time.monotonic()

    def wait(self, seconds: float) -> bool:
        time.sleep(seconds)
        return time.monotonic() - self._progressed_at > GIVE_UP_S


def reconcile(*, dry_run: bool, since_ms: int | None, rate: float | None, as_json: bool) -> int:
    """Count what is missing, decide it again and print what became of it.

    Raises what ends it half-way, after the counts were printed: what is repaired stays repaired.
    """
    servers, scores = load_settings(ServerSettings), load_settings(ScoresSettings)
    with ExitStack() as stack:
        waiting, metrics = _Waiting(), Metrics(CollectorRegistry())
        redis = connect(servers.redis(), servers.redis_timeout_s, servers.redis_ca_file)
        reader = ScoreReader(redis, time.monotonic)
        stack.callback(reader.close)
        generation = scores.generation or reader.get([]).generation
        if generation is None:
            raise ConfigurationError("no generation is live: name the one to repair in ADGAUGE_GENERATION")
        circuits = Circuits(
            waiting.wait, random.random, time.monotonic, metrics, probes={}, patience=Patience()
        )
        decide = _nothing if dry_run else _pipeline(stack, servers, scores, generation, circuits, metrics)

        def held(ids: Sequence[str]) -> Mapping[str, Order | None]:
            waiting.progressed()
            found = circuits.call("redis", lambda: reader.get(ids, generation)).entries
            return {name: entry.order if entry is not None else None for name, entry in found.items()}

        progress = Progress(sys.stderr, time.monotonic)

        def progressed(counts: Counts) -> None:
            waiting.progressed()
            done = counts.scored + counts.deleted + counts.superseded
            progress.show(f"read {counts.read}, missing {counts.missing}, repaired {done}")

        reconciler = Reconciler(
            held,
            decide,
            stack.enter_context(ThreadPoolExecutor(AT_ONCE, "reconcile")),
            now_ms=_now_ms(),
            score_lives_ms=round(scores.score_ttl_s * 1000),
            deletion_lives_ms=TOMBSTONE_TTL_MS,
            max_record_bytes=servers.max_record_bytes,
            batch_records=min(BATCH_RECORDS, max(int((rate or 1e9) / PACES_PER_SECOND / AT_ONCE), 1)),
            pace=_pace(rate),
            progressed=progressed,
        )
        log = stack.enter_context(KafkaLog(servers.kafka(), servers.products_topic))
        try:
            _each_partition(reconciler, log, since_ms, dry_run=dry_run)
        finally:  # also of what ended half-way
            progress.clear()
            _report(reconciler.counts, generation, dry_run=dry_run, as_json=as_json)
    return 0


def _each_partition(reconciler: Reconciler, log: KafkaLog, since_ms: int | None, *, dry_run: bool) -> None:
    for partition in log.partitions:
        missing = reconciler.find(_logged(log, partition, since_ms))
        if missing and not dry_run:
            reconciler.repair(partial(_logged, log, partition, since_ms), missing)


def _logged(log: KafkaLog, partition: int, since_ms: int | None) -> Iterator[Logged]:
    """A partition's records, in the order that a scorer gave them when they were new.

    It set impossible timestamps to the time of day. That was after everything before them was written: by
    today's time of day, they would overtake newer versions.
    """
    latest_ms = 0
    for record in log.read([partition], since_ms):
        now_ms = _now_ms()
        possible = 0 <= record.timestamp <= now_ms + CLOCK_SKEW_MS
        if possible:
            latest_ms = max(latest_ms, record.timestamp)
        written_ms = record.timestamp if possible else latest_ms
        yield Logged(envelope_of(record, now_ms if possible else latest_ms), written_ms)


def _pipeline(
    stack: ExitStack,
    servers: ServerSettings,
    scores: ScoresSettings,
    generation: int,
    circuits: Circuits,
    metrics: Metrics,
) -> Decide:
    """The scorer's pipeline; what it rejects is in the dead letters already and is not written again."""
    kafka = servers.kafka()
    admitted = admit(servers.model(), servers.triton(), metrics, requests=servers.triton_requests)
    stack.callback(admitted.scorer.close)
    contract = admitted.contract
    model, digest = f"{contract.name}/{contract.version}", contract.digest()
    redis = connect(servers.redis(), servers.redis_timeout_s, servers.redis_ca_file)
    store = RedisScoreStore(
        redis,
        generation,
        scores.score_ttl_s,
        random.random,
        wait_replicas=servers.redis_wait_replicas,
        wait_s=servers.redis_timeout_s / 2,
    )
    stack.callback(store.close)
    register_generation(redis, generation, {"model": model, "digest": digest})
    require_topics(kafka, servers.topics())
    writer = KafkaWriter(kafka)
    stack.callback(writer.close)
    images = ImageLoader(
        contract.spec.image,
        schemes=servers.image_schemes,
        roots=servers.image_roots,
        http=HttpPolicy(ports=servers.image_ports, allowed_networks=servers.image_networks),
    )
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
        clock_ms=_now_ms,
        max_record_bytes=servers.max_record_bytes,
    ).run


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


def _report(counts: Counts, generation: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"generation": generation, "dry_run": dry_run, **counts.as_dict()}))
        return
    print(
        f"read {counts.read} records of {counts.products} products: generation {generation} holds"
        f" {counts.held}, misses {counts.missing}; {counts.expired} would have expired"
    )
    if not dry_run:
        print(
            f"scored {counts.scored}, deleted {counts.deleted}, superseded {counts.superseded},"
            f" rejected again {counts.rejected}"
        )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
