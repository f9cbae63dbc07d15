"""What `adgauge score` collects: rows and rejects in the order of the file, and a summary."""

from __future__ import annotations

import base64
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from adgauge.adapters.files import UNREADABLE_HEADER
from adgauge.cli.rows import Row, Write
from adgauge.errors import RejectReason
from adgauge.pipeline.creatives import Asked, Gathered
from adgauge.pipeline.scoring import Work
from adgauge.records import Envelope, Outcome, OutcomeKind, Rejection

Decide = Callable[[Sequence[Any]], Sequence[Outcome | Envelope[Asked | Gathered]]]


@dataclass
class Summary:
    """How the lines of a file ended."""

    outcomes: Counter[OutcomeKind] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    without_image: Counter[str] = field(default_factory=Counter)

    @property
    def decided(self) -> int:
        """Records that have ended."""
        return self.outcomes.total()

    def count(self, outcome: Outcome) -> None:
        """Add one record."""
        self.outcomes[outcome.kind] += 1
        if outcome.rejection is not None:
            self.rejected[outcome.rejection.reason] += 1
        elif outcome.image_reason is not None:
            self.without_image[outcome.image_reason] += 1

    def as_json(self, blank: int, seconds: float) -> dict[str, Any]:
        """The summary for programs."""
        return {
            "scored": self.outcomes[OutcomeKind.SCORED],
            "deleted": self.outcomes[OutcomeKind.DELETED],
            "rejected": self.rejected,
            "blank": blank,
            "without_image": self.without_image,
            "seconds": round(seconds, 3),
            "records_per_s": round(self.decided / seconds, 1),
        }

    def as_text(self, blank: int, seconds: float) -> str:
        """The summary for people."""
        counts = self.outcomes
        lines = [
            f"scored {counts[OutcomeKind.SCORED]}{_because(self.without_image, 'without a picture: ')}",
            f"rejected {counts[OutcomeKind.REJECTED]}{_because(self.rejected)}",
            f"deleted {counts[OutcomeKind.DELETED]}, blank lines {blank}",
            f"{self.decided} records in {seconds:.1f} s, {self.decided / seconds:.1f} records/s",
        ]
        return "\n".join(lines)


def _because(reasons: Counter[str], what: str = "") -> str:
    listed = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return f" ({what}{listed})" if reasons else ""


class Decisions:
    """Wraps the pipeline, and writes what it decided once everything before it is decided as well.

    What the catalog could not read is rejected here. `unscored` are the lines so far that have no score.
    `decide` is called from several threads, `flush` from the runner's.
    """

    def __init__(self, decide: Decide, write_rows: Write, write_rejects: Callable[[str], object]) -> None:
        self.summary = Summary()
        self.unscored: list[int] = []
        self._decide = decide
        self._write_rows = write_rows
        self._write_rejects = write_rejects
        self._lock = threading.Lock()
        self._ended: dict[int, tuple[Work, Outcome]] = {}

    def decide(self, batch: Sequence[Work]) -> Sequence[Outcome | Envelope[Asked | Gathered]]:
        """Run the pipeline and remember its outcomes."""
        unread = [_unreadable(record) for record in batch]
        read = [record for record, outcome in zip(batch, unread, strict=True) if outcome is None]
        decided = iter(self._decide(read) if read else ())
        results = [next(decided) if outcome is None else outcome for outcome in unread]
        with self._lock:
            for record, result in zip(batch, results, strict=True):
                if isinstance(result, Outcome):
                    self._ended[result.position.offset] = record, result
                    self.summary.count(result)
        return results

    def flush(self, next_line: int) -> None:
        """Write everything before `next_line`."""
        with self._lock:
            lines = sorted(line for line in self._ended if line < next_line)
            ended = [self._ended.pop(line) for line in lines]
        rows = [_row(outcome) for _, outcome in ended if outcome.kind is OutcomeKind.SCORED]
        if rows:
            self._write_rows(rows)
        self.unscored += (
            line for line, (_, outcome) in zip(lines, ended, strict=True) if outcome.score is None
        )
        for record, outcome in ended:
            if outcome.rejection is not None:
                self._write_rejects(f"{json.dumps(_reject(record, outcome), ensure_ascii=False)}\n")


def _unreadable(record: Work) -> Outcome | None:
    """How a record ends that is none; None for the others."""
    why = dict(record.headers).get(UNREADABLE_HEADER)
    if why is None:
        return None
    rejection = Rejection(RejectReason.INVALID, "read", why.decode())
    return Outcome(OutcomeKind.REJECTED, record.position, None, None, rejection, None)


def _row(outcome: Outcome) -> Row:
    score = outcome.score
    if score is None:
        raise ValueError("a scored outcome holds its score")
    return Row(
        line=outcome.position.offset,
        parent_asin=score.product_id,
        score=round(score.value, 7),
        flags=tuple(sorted(score.flags)),
        image_reason=outcome.image_reason,
        digest=score.digest,
    )


def _reject(record: Work, outcome: Outcome) -> dict[str, Any]:
    """A rejected line: as text where it is text, else in base64."""
    value, rejection = record.value or b"", outcome.rejection
    if rejection is None:
        raise ValueError("a rejected outcome holds its reason")
    reject: dict[str, Any] = {
        "line": outcome.position.offset,
        "reason": rejection.reason,
        "stage": rejection.stage,
        "detail": rejection.detail,
    }
    try:
        return reject | {"value": value.decode()}
    except UnicodeDecodeError:
        return reject | {"value_base64": base64.b64encode(value).decode()}
