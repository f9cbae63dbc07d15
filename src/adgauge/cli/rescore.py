"""`adgauge rescore`: scores that the score log says something of, made again from the products topic."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from typing import Any

from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.redeciding import ScoresSettings, logged, redeciding
from adgauge.cli.terminal import Progress, printable
from adgauge.pipeline.rescore import Counts, Rescorer, Where

NAMED = 10
"""Products named on a terminal; JSON names all."""


def rescore(where: Where, *, dry_run: bool, since_ms: int | None, rate: float | None, as_json: bool) -> int:
    """Count what is meant, decide it again and print what became of it; 1 when some could not be decided.

    Raises what ends it half-way, after the counts were printed: what is rescored stays rescored.
    """
    # Without the pictures on disk: what is looked at again may lie there, and be fresh.
    servers = load_settings(ServerSettings).model_copy(update={"image_cache_dir": None})
    with ExitStack() as stack:
        tools = redeciding(stack, servers, load_settings(ScoresSettings), dry_run=dry_run, rate=rate)
        progress = Progress(sys.stderr, time.monotonic)

        def progressed(counts: Counts) -> None:
            tools.waiting.progressed()
            progress.show(f"read {counts.read}, selected {counts.selected}, rescored {counts.rescored}")

        rescorer = Rescorer(
            tools.held,
            tools.redecider,
            where,
            generation=tools.generation,
            max_record_bytes=servers.max_record_bytes,
            progressed=progressed,
        )
        try:
            _find(rescorer, servers, since_ms)
            if not dry_run:
                _rescore(rescorer, servers)
        finally:  # also of what ended half-way
            progress.clear()
            _report(rescorer.counts, tools.generation, dry_run=dry_run, as_json=as_json)
    return 1 if rescorer.counts.rejected or rescorer.counts.gone else 0


def _find(rescorer: Rescorer, servers: ServerSettings, since_ms: int | None) -> None:
    with KafkaLog(servers.kafka(), servers.scores_topic) as log:
        rescorer.find(record.value for record in log.read(log.partitions, since_ms))
    rescorer.select()


def _rescore(rescorer: Rescorer, servers: ServerSettings) -> None:
    with KafkaLog(servers.kafka(), servers.products_topic) as log:
        for partition in log.partitions:
            rescorer.rescore(logged(log, partition))
    rescorer.finish()


def _report(counts: Counts, generation: int, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"generation": generation, "dry_run": dry_run, **_as_dict(counts)}))
        return
    print(
        f"read {counts.read} lines of the score log: generation {generation} has {counts.found.total()} such"
        f" products{_by_reason(counts.found)}, selected {counts.selected}"
    )
    if counts.unreadable:
        print(f"skipped {counts.unreadable} lines that cannot be read")
    if not dry_run:
        print(
            f"rescored {counts.rescored}, still without a picture"
            f" {counts.no_image.total()}{_by_reason(counts.no_image)}"
        )
    print(f"left alone, a newer version is stored: {counts.superseded}")
    _name_undecided(counts)


def _name_undecided(counts: Counts) -> None:
    if counts.rejected:
        why = [f"{name} ({detail})" for name, detail in counts.rejected.items()]
        print(f"rejected, the earlier score stays: {_named(why)}")
    if counts.gone:
        print(
            f"gone from the products topic: {_named(counts.gone)}; `adgauge explain ID` says whether a newer"
            " version waits or was rejected, else publish them again"
        )


def _named(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - NAMED} more (--json names all)" if len(every) > NAMED else ""
    return f"{len(every)}: {printable(', '.join(every[:NAMED]))}{more}"


def _by_reason(counts: Mapping[str, int] | Mapping[str | None, int]) -> str:
    ordered = Counter({name or "with a picture": count for name, count in counts.items()}).most_common()
    return f" ({', '.join(f'{count} {printable(name)}' for name, count in ordered)})" if ordered else ""


def _as_dict(counts: Counts) -> dict[str, Any]:
    found = {name or "with_picture": count for name, count in counts.found.items()}
    return {**vars(counts), "found": counts.found.total(), "found_by_reason": found}
