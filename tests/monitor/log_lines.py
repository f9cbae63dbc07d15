"""Lines of labels and of the score log, as the monitor's tests write them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

NOW_MS = 1_795_996_800_000  # 2026-11-30T00:00Z
DAY_MS = 86_400_000


def label(product_id: str, rating: object = 4.0, *, days_ago: float = 1, **fields: object) -> dict[str, Any]:
    """A label observed so many days before NOW_MS."""
    return {
        "parent_asin": product_id,
        "average_rating": rating,
        "rating_number": 12,
        "observed_at": round(NOW_MS - days_ago * DAY_MS),
        **fields,
    }


def score(
    product_id: str, value: object = 3.5, *, days_ago: float = 40, generation: int = 1, **fields: object
) -> dict[str, Any]:
    """A line of the score log, of a score made so many days before NOW_MS."""
    at_ms = round(NOW_MS - days_ago * DAY_MS)
    return {
        "id": product_id,
        "outcome": "scored",
        "generation": generation,
        "model": "brightness/1",
        "contract": "ab" * 32,
        "event_ms": at_ms - 1000,
        "offset": 7,
        "score": value,
        "scored_at_ms": at_ms,
        "flags": [],
        "digest": "cd" * 32,
        "image_reason": None,
        **fields,
    }


def deletion(product_id: str, *, days_ago: float, generation: int = 1) -> dict[str, Any]:
    """The line of a product that was deleted."""
    line = score(product_id, None, generation=generation)
    at_ms = round(NOW_MS - days_ago * DAY_MS)
    return line | {"outcome": "deleted", "event_ms": at_ms, "scored_at_ms": None, "digest": None}


def write_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> str:
    """As JSON lines; the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return str(path)
