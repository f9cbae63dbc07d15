"""`adgauge scores get`: what recommenders read."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from adgauge.adapters.redis import Reading, ScoreReader, StoredScore, connect
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.records import Tombstone


def print_scores(product_ids: Sequence[str], *, as_json: bool) -> int:
    """Print each product's score in the live generation; 1 when none has one."""
    reading = read_scores(load_settings(ServerSettings), product_ids)
    if as_json:
        entries = {name: entry_as_json(entry) for name, entry in reading.entries.items()}
        print(json.dumps({"generation": reading.generation, "products": entries}, ensure_ascii=False))
    else:
        for name, entry in reading.entries.items():
            print(f"{name}  {describe(entry)}")
        print(_generation(reading))
    return 0 if any(reading.scores.values()) else 1


def read_scores(settings: ServerSettings, product_ids: Sequence[str]) -> Reading:
    """Ask Redis once."""
    reader = ScoreReader(
        connect(settings.redis(), settings.redis_timeout_s, settings.redis_ca_file), time.monotonic
    )
    try:
        return reader.get(product_ids)
    finally:
        reader.close()


def describe(entry: StoredScore | Tombstone | None) -> str:
    """An entry in words."""
    if entry is None:
        return "never scored or expired"
    when = utc(entry.order.event_ms)
    if isinstance(entry, Tombstone):
        return f"deleted  event {when}"
    return f"{entry.value:.4f}  event {when}  {' '.join(sorted(entry.flags))}".rstrip()


def entry_as_json(entry: StoredScore | Tombstone | None) -> dict[str, Any] | None:
    """An entry for programs; None when there is none."""
    if entry is None:
        return None
    order = {"event_ms": entry.order.event_ms, "offset": entry.order.offset}
    if isinstance(entry, Tombstone):
        return {"state": "deleted", **order}
    return {
        "state": "scored",
        "score": entry.value,
        **order,
        "scored_at_ms": entry.scored_at_ms,
        "flags": sorted(entry.flags),
        "digest": entry.digest,
    }


def utc(time_ms: int) -> str:
    """A time of day as people read it; times beyond the calendar stay numbers."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"


def _generation(reading: Reading) -> str:
    if reading.generation is None:
        return "no generation is live yet: has a scorer been started?"
    return f"generation {reading.generation}"
