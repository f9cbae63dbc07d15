"""One line of the score log: what topic `catalog.scores` holds, keyed by the product's id."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from adgauge.records import Flag, Score, Tombstone


class ScoreLogRecord(BaseModel):
    """A score that became readable, or a deletion. `score` to `digest` are null in a deletion.

    (`event_ms`, `offset`) is the order of the product's version; `contract` and `digest` are sha256 (hex)
    of the model's contract and of the canonical input. `image_reason` says why there was no picture.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    outcome: Literal["scored", "deleted"]
    generation: int
    model: str
    contract: str
    event_ms: int
    offset: int
    score: float | None
    scored_at_ms: int | None
    flags: tuple[Flag, ...]
    digest: str | None
    image_reason: str | None = None  # the oldest lines have none


def score_log_record(
    entry: Score | Tombstone, *, generation: int, model: str, contract: str
) -> ScoreLogRecord:
    """The line for an entry that was stored in a generation."""
    score = entry if isinstance(entry, Score) else None
    return ScoreLogRecord(
        id=entry.product_id,
        outcome="scored" if score else "deleted",
        generation=generation,
        model=model,
        contract=contract,
        event_ms=entry.order.event_ms,
        offset=entry.order.offset,
        score=round(score.value, 6) if score else None,
        scored_at_ms=score.scored_at_ms if score else None,
        flags=tuple(sorted(score.flags)) if score else (),
        digest=score.digest if score else None,
        image_reason=score.image_reason if score else None,
    )
