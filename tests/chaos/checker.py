"""Judges a run from the publisher's ledger alone: what became of each acknowledged record, and is it right?

It shares no code with the product: the formats it reads are those of docs/contracts, and the model in
tritonserver is *brightness*, so that each version's score is known. `python -m tests.chaos.checker --help`.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path

from tests.chaos.facts import Facts, Letter, Logged, Run, gather
from tests.chaos.ledger import Entry, by_product

__all__ = ["Facts", "Letter", "Logged", "Run", "Verdict", "check", "judge"]

TOLERANCE = 1e-3  # the stored line has four decimals; neighbouring greys differ by 0.0157
EXAMPLES = 20

Order = tuple[int, int]
"""Event time and offset: the larger is the newer version of a product."""


@dataclass
class Verdict:
    """How many acknowledged records ended how. `examples` names the first offenders in words.

    `lost` counts records that were committed, and are neither scored, superseded, deleted nor rejected where
    they had to be, or whose entry Redis lacks; `stale` counts wrong entries: older than they should be, of a
    wrong score, of a deleted product, or of nothing that was published. `twice` and `rejected_twice` count
    what was written again, which is allowed. `undecided` counts records that are not committed; what of them
    can be seen is counted as well. `strangers` are records in the topic that the ledger lacks.
    """

    produced: int = 0
    scored: int = 0
    superseded: int = 0
    deleted: int = 0
    rejected: int = 0
    lost: int = 0
    stale: int = 0
    twice: int = 0
    rejected_twice: int = 0
    undecided: int = 0
    strangers: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Everything was decided, nothing is lost and nothing stale; an empty run proves nothing."""
        wrong = self.lost + self.stale + self.undecided + self.strangers
        ended = self.scored + self.superseded + self.deleted + self.rejected
        return wrong == 0 and ended == self.produced > 0

    def table(self) -> str:
        """One line a number."""
        numbers = [each.name for each in fields(self) if each.name != "examples"]
        return "\n".join(f"{name:<16}{getattr(self, name):>8}" for name in numbers)


def check(run: Run) -> Verdict:
    """Read everything and judge it. Call it when the workers have stopped or have nothing left to do."""
    return judge(gather(run))


def judge(facts: Facts) -> Verdict:
    """The verdict on what was read: a pure function."""
    return _Judge(facts).verdict


class _Judge:
    """Goes through the products one by one, and adds to the verdict."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._logged = Counter((each.id, each.event_ms, each.offset) for each in facts.log)
        self._log = {(each.id, each.event_ms, each.offset): each for each in facts.log}
        self._letters = {(each.partition, each.offset): each for each in facts.letters}
        self.verdict = Verdict(produced=len(facts.ledger))
        self._judge()

    def _judge(self) -> None:
        facts, verdict = self._facts, self.verdict
        verdict.twice = sum(self._logged.values()) - len(self._logged)
        verdict.rejected_twice = len(facts.letters) - len(self._letters)
        verdict.undecided = sum(
            max(end - facts.committed.get(partition, 0), 0) for partition, end in facts.ends.items()
        )
        self._judge_strangers()
        products = by_product(facts.ledger)
        for product_id, entries in products.items():
            self._judge_product(product_id, entries)
        for product_id, line in facts.lines.items():
            if product_id not in products:
                self._stale(f"{product_id}: Redis holds {line!r}, and nothing of that name was published")

    def _judge_strangers(self) -> None:
        """What was written and never acknowledged may be scored or not: such a run proves nothing."""
        known = {entry.digest for entry in self._facts.ledger}
        for (partition, offset), digest in self._facts.published.items():
            if digest not in known:
                self.verdict.strangers += 1
                self._say(
                    f"record {partition}/{offset} is not in the ledger: let the publisher stop in order"
                )

    def _judge_product(self, product_id: str, entries: Sequence[Entry]) -> None:
        acceptable = {
            order: entry
            for entry in entries
            if entry.kind in ("grey", "deleted")
            for order in self._orders(entry)
        }
        newest = max(acceptable, default=None)
        lost = {entry.digest for entry in entries if not self._accounted_for(entry, newest)}
        self._judge_history(product_id, acceptable)
        if newest is None:
            if (line := self._facts.lines.get(product_id)) is not None:
                self._stale(f"{product_id}: nothing of it can be scored, yet Redis holds {line!r}")
        elif all(self._decided(entry) for entry in entries) and acceptable[newest].digest not in lost:
            self._judge_line(product_id, newest, acceptable[newest])

    def _orders(self, entry: Entry) -> list[Order]:
        """The places of a record in its partition. A producer that gave up on an answer and sent it again may
        have written it twice, with the same content and event time; whichever copy comes last is the newest.
        """
        return [(entry.event_ms, offset) for _, offset in self._places(entry)]

    def _places(self, entry: Entry) -> list[tuple[int, int]]:
        return self._facts.places.get(entry.digest, [])

    def _decided(self, entry: Entry) -> bool:
        committed = self._facts.committed
        return all(committed.get(partition, 0) > offset for partition, offset in self._places(entry))

    def _accounted_for(self, entry: Entry, newest: Order | None) -> bool:
        """Count the record under how it ended; False when it is lost."""
        if not self._places(entry):
            return self._lost(entry, "was acknowledged and is not in the topic: the broker lost it")
        if entry.kind in ("poison", "garbage"):
            return self._rejected(entry)
        return self._stored(entry, newest)

    def _rejected(self, entry: Entry) -> bool:
        """Every copy has to be among the dead letters, as it came, with a reason, and nowhere else."""
        found = [self._letters.get(place) for place in self._places(entry)]
        if any((entry.id, *order) in self._log for order in self._orders(entry)):
            return self._lost(entry, "was stored and should have been rejected")
        if any(letter is not None and letter.digest != entry.digest for letter in found):
            return self._lost(entry, "is a dead letter with other bytes than it had")
        if any(letter is not None and not letter.reason for letter in found):
            return self._lost(entry, "is a dead letter without a reason")
        if any(letter is None for letter in found):
            return self._lost(entry, "is not among the dead letters") if self._decided(entry) else True
        self.verdict.rejected += 1
        return True

    def _stored(self, entry: Entry, newest: Order | None) -> bool:
        """The newest version has to be in the score log; an older one may be there, or was superseded.

        Batches of one partition run side by side, so that a newer version may well be stored first: which of
        the older ones were ever readable is not ours to say. The score log is written before an offset is
        committed, so that its lines and Redis's entries belong together once a record is decided.
        """
        if wrong := [self._letters[place] for place in self._places(entry) if place in self._letters]:
            return self._lost(entry, f"is a good record and was rejected: {wrong[0].reason}")
        if any((entry.id, *order) in self._log for order in self._orders(entry)):
            if entry.kind == "grey":
                self.verdict.scored += 1
            else:
                self.verdict.deleted += 1
            return True
        if not self._decided(entry):
            return True
        if newest is not None and max(self._orders(entry)) < newest:
            self.verdict.superseded += 1
            return True
        return self._lost(entry, "is the newest version, committed, and not in the score log")

    def _judge_history(self, product_id: str, acceptable: Mapping[Order, Entry]) -> None:
        """What the score log says of a product was published, and has the score that it should."""
        for logged in self._facts.log_of(product_id):
            entry = acceptable.get((logged.event_ms, logged.offset))
            if entry is None:
                self._stale(f"{product_id}: the score log holds {logged}, which nobody published")
            elif logged.outcome != ("scored" if entry.kind == "grey" else "deleted"):
                self._stale(f"{_name(entry)}: {entry.kind}, the score log says {logged.outcome}")
            elif logged.score is not None and not _is_right(entry, logged.score):
                self._stale(f"{_name(entry)}: score {logged.score} in the score log, not {_rights(entry)}")

    def _judge_line(self, product_id: str, newest: Order, entry: Entry) -> None:
        """Redis holds the newest version. A deleted product may be absent: readers see no difference."""
        line = self._facts.lines.get(product_id)
        if line is None:
            if entry.kind == "grey":
                self._lost(entry, "was stored, and Redis has no entry of the product")
                self.verdict.scored -= 1  # it cannot be both
            return
        try:
            score, event_ms, offset, *_ = line.split(" ")
            order = (int(event_ms), int(offset))
            value = None if score == "deleted" else float(score)
        except ValueError:
            self._stale(f"{_name(entry)}: Redis holds {line!r}, which is no entry")
            return
        if order != newest:
            self._stale(f"{_name(entry)}: Redis holds {line!r}, the newest is {newest}, {entry.kind}")
        elif (value is None) != (entry.kind == "deleted") or (
            value is not None and not _is_right(entry, value)
        ):
            self._stale(f"{_name(entry)}: Redis holds {line!r}, right is {_rights(entry)}")

    def _lost(self, entry: Entry, what: str) -> bool:
        self.verdict.lost += 1
        self._say(f"{_name(entry)} {what}")
        return False

    def _stale(self, what: str) -> None:
        self.verdict.stale += 1
        self._say(what)

    def _say(self, what: str) -> None:
        if len(self.verdict.examples) < EXAMPLES:
            self.verdict.examples.append(what)


def _rights(entry: Entry) -> list[float]:
    """The scores that a version may have: 1 + 4 * mean / 255, and 1 without a picture, which is black.

    A picture from a slow host arrives in time unless the worker is stopped meanwhile; then the product is
    scored without it, as the contract says. No other picture can be missing.
    """
    if entry.kind == "deleted":
        return []
    if entry.level is None:
        return [1.0]
    right = 1 + 4 * entry.level / 255
    return [right, 1.0] if entry.picture == "slow" else [right]


def _is_right(entry: Entry, score: float) -> bool:
    return any(abs(score - right) <= TOLERANCE for right in _rights(entry))


def _name(entry: Entry) -> str:
    where = f"{entry.partition}/{entry.offset}"
    return f"{entry.id} version {entry.version} ({entry.kind}, {entry.event_ms}, at {where})"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdict; exit code 1 when the run is not sound."""
    parser = argparse.ArgumentParser("tests.chaos.checker", description="Judge a run by its ledger.")
    for each in fields(Run):
        kind = {"ledger": Path, "generation": int}.get(each.name, str)
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=kind, required=True)
    verdict = check(Run(**vars(parser.parse_args(arguments))))
    for line in _report(verdict):
        print(line)  # noqa: T201 - a program that prints
    return 0 if verdict.sound else 1


def _report(verdict: Verdict) -> Iterator[str]:
    yield verdict.table()
    yield from verdict.examples
    yield "sound" if verdict.sound else "NOT SOUND"


if __name__ == "__main__":
    sys.exit(main())
