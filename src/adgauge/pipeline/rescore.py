"""Choosing scores by what the score log says of them, and deciding their records again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from adgauge.canonical.image import TRANSIENT, ImageReason
from adgauge.pipeline.creatives import NO_REFERENCE
from adgauge.pipeline.redeciding import LOOK_UPS, Held, Logged, Raw, Redecider, batched, product_of
from adgauge.pipeline.score_log import ScoreLogRecord
from adgauge.records import Envelope, Flag, Order, Outcome, OutcomeKind

PASSING, LASTING = "passing", "lasting"
REASONS = {
    PASSING: frozenset(map(str, TRANSIENT)),
    LASTING: frozenset(map(str, frozenset(ImageReason) - TRANSIENT)),
    NO_REFERENCE: frozenset({NO_REFERENCE}),
    **{str(reason): frozenset({str(reason)}) for reason in ImageReason},
}
"""What can be written for a reason, and the reasons of the score log that it stands for."""


@dataclass(frozen=True, slots=True)
class Where:
    """Which scores are meant: of one of these reasons and with one of these flags; empty: whatever."""

    reasons: frozenset[str] = frozenset()
    flags: frozenset[Flag] = frozenset()

    def __or__(self, other: Where) -> Where:
        """Values of one key are alternatives; keys must all hold."""
        return Where(self.reasons | other.reasons, self.flags | other.flags)

    def __contains__(self, entry: ScoreLogRecord) -> bool:
        return (
            entry.outcome == "scored"
            and (not self.reasons or entry.image_reason in self.reasons)
            and (not self.flags or not self.flags.isdisjoint(entry.flags))
        )


def parse_where(text: str) -> Where:
    """`reason=…` or `flag=…`; raises ValueError that lists what can be written."""
    key, _, value = text.partition("=")
    if key == "reason" and value in REASONS:
        return Where(reasons=REASONS[value])
    if key == "flag" and value in [*Flag]:
        return Where(flags=frozenset({Flag(value)}))
    valid = {"reason": ", ".join(REASONS), "flag": ", ".join(Flag)}
    if key in valid:
        raise ValueError(f"{key}={value}: no such {key}; there are {valid[key]}")
    raise ValueError(f"{text}: write reason=REASON or flag=FLAG")


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version of a product that is decided again. `clamped`: its event time is not the record's own."""

    order: Order
    clamped: bool
    reason: str | None


@dataclass
class Counts:
    """What was found and what became of it.

    `found` is by reason, None where there is a picture. `superseded`: a newer version is stored by now.
    `gone` are products whose record is no longer in the log, `rejected` those whose record a scorer would
    reject today, and why; the scores of both stay.
    """

    read: int = 0
    unreadable: int = 0
    found: Counter[str | None] = field(default_factory=Counter)
    selected: int = 0
    superseded: int = 0
    rescored: int = 0
    no_image: Counter[str] = field(default_factory=Counter)
    rejected: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)


class Rescorer:
    """`find` over the score log, `select`, `rescore` over the log of products, `finish`: in this order.

    Partitions of the two logs need not agree, so all of the first is read before any of the second. Memory:
    about 300 bytes for each product that is found.
    """

    def __init__(
        self,
        held: Held,
        redecider: Redecider,
        where: Where,
        *,
        generation: int,
        max_record_bytes: int,
        progressed: Callable[[Counts], None],
    ) -> None:
        self.counts = Counts()
        self._held = held
        self._redecider = redecider
        self._where = where
        self._generation = generation
        self._max_record_bytes = max_record_bytes
        self._progressed = progressed
        self._chosen: dict[str, Chosen] = {}

    def find(self, lines: Iterable[bytes | None]) -> None:
        """Choose by the lines of the score log, those of a product in order: the newest counts."""
        for line in lines:
            self.counts.read += 1
            try:
                entry = ScoreLogRecord.model_validate_json(line or b"")
            except ValidationError:
                self.counts.unreadable += 1
                continue
            if entry.generation == self._generation:
                self._choose(entry)
            self._progressed(self.counts)

    def select(self) -> None:
        """Leave out what the store holds a newer version of; what expired there counts."""
        self.counts.found.update(each.reason for each in self._chosen.values())
        self._leave_out_superseded()
        self.counts.selected = len(self._chosen)

    def rescore(self, log: Iterable[Logged]) -> None:
        """Decide the selected records of a partition of the products' log."""
        for envelope, outcome in self._redecider.decided(self._records(log)):
            self._count(envelope, outcome)
            self._progressed(self.counts)

    def finish(self) -> None:
        """Whatever was not found in the log is gone, unless it was superseded meanwhile."""
        self._leave_out_superseded()
        self.counts.gone = sorted(self._chosen)

    def _choose(self, entry: ScoreLogRecord) -> None:
        order = Order(entry.event_ms, entry.offset)
        known = self._chosen.get(entry.id)
        if known is not None and known.order > order:
            return  # two scorers may write in another order than they stored; the store knows better
        self._chosen.pop(entry.id, None)
        if entry in self._where:
            self._chosen[entry.id] = Chosen(order, Flag.EVENT_CLAMPED in entry.flags, entry.image_reason)

    def _leave_out_superseded(self) -> None:
        for names in batched(list(self._chosen), LOOK_UPS):
            for name, held in self._held(names).items():
                if held is not None and held > self._chosen[name].order:
                    del self._chosen[name]
                    self.counts.superseded += 1

    def _records(self, log: Iterable[Logged]) -> Iterator[Raw]:
        """The very records that were chosen, each once, with the order that they are stored by."""
        for logged in log if self._chosen else ():
            envelope = logged.envelope
            name = product_of(envelope, self._max_record_bytes)
            chosen = self._chosen.get(name) if name is not None else None
            if name is not None and chosen is not None and _is_of(chosen, envelope):
                del self._chosen[name]
                flags = envelope.flags | {Flag.EVENT_CLAMPED} if chosen.clamped else envelope.flags
                yield replace(envelope, order=chosen.order, flags=flags)
            if not self._chosen:
                return

    def _count(self, envelope: Raw, outcome: Outcome) -> None:
        match outcome.kind:
            case OutcomeKind.REJECTED if outcome.rejection is not None:
                name = product_of(envelope, self._max_record_bytes) or ""
                self.counts.rejected[name] = f"{outcome.rejection.reason}: {outcome.rejection.detail}"
            case OutcomeKind.SUPERSEDED:
                self.counts.superseded += 1
            case _:
                self.counts.rescored += 1
                if outcome.image_reason is not None:
                    self.counts.no_image[outcome.image_reason] += 1


def _is_of(chosen: Chosen, envelope: Envelope[bytes | None]) -> bool:
    """An event time that was set to the time of day then comes out otherwise today; its offset tells."""
    same = envelope.order == chosen.order
    return same or (chosen.clamped and envelope.order.offset == chosen.order.offset)
