"""`adgauge reconcile`: what the input topic has and Redis has lost, scored again as a scorer would."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack
from functools import partial

from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.redis import TOMBSTONE_TTL_MS
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.redeciding import ScoresSettings, logged, now_ms, redeciding
from adgauge.cli.terminal import Progress
from adgauge.pipeline.reconcile import Counts, Reconciler


def reconcile(*, dry_run: bool, since_ms: int | None, rate: float | None, as_json: bool) -> int:
    """Count what is missing, decide it again and print what became of it.

    Raises what ends it half-way, after the counts were printed: what is repaired stays repaired.
    """
    servers, scores = load_settings(ServerSettings), load_settings(ScoresSettings)
    with ExitStack() as stack:
        tools = redeciding(stack, servers, scores, dry_run=dry_run, rate=rate)
        progress = Progress(sys.stderr, time.monotonic)

        def progressed(counts: Counts) -> None:
            tools.waiting.progressed()
            done = counts.scored + counts.deleted + counts.superseded
            progress.show(f"read {counts.read}, missing {counts.missing}, repaired {done}")

        reconciler = Reconciler(
            tools.held,
            tools.redecider,
            now_ms=now_ms(),
            score_lives_ms=round(scores.score_ttl_s * 1000),
            deletion_lives_ms=TOMBSTONE_TTL_MS,
            max_record_bytes=servers.max_record_bytes,
            progressed=progressed,
        )
        log = stack.enter_context(KafkaLog(servers.kafka(), servers.products_topic))
        try:
            _each_partition(reconciler, log, since_ms, dry_run=dry_run)
        finally:  # also of what ended half-way
            progress.clear()
            _report(reconciler.counts, tools.generation, dry_run=dry_run, as_json=as_json)
    return 0


def _each_partition(reconciler: Reconciler, log: KafkaLog, since_ms: int | None, *, dry_run: bool) -> None:
    for partition in log.partitions:
        missing = reconciler.find(logged(log, partition, since_ms))
        if missing and not dry_run:
            reconciler.repair(partial(logged, log, partition, since_ms), missing)


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
