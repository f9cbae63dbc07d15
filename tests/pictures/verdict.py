"""What became of published listings: what Redis and the score log say, and what had to come of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import redis

from tests.chaos.facts import records_of
from tests.pictures.publishing import Published

CHUNK = 1000
TOLERANCE = 1e-3
EXAMPLES = 5
NO_IMAGE = "i"
"""How an entry in Redis says that there was no picture."""


@dataclass(frozen=True, slots=True)
class Line:
    """An entry in Redis."""

    score: float
    event_ms: int
    offset: int
    scored_at_ms: int
    flags: str
    digest: str


@dataclass(frozen=True, slots=True)
class Found:
    """A published listing with its entry; None: there is none, or it is another version's."""

    published: Published
    line: Line | None

    @property
    def fresh_s(self) -> float:
        """Seconds from publishing to scoring; infinite without a score."""
        return (self.line.scored_at_ms - self.published.event_ms) / 1000 if self.line else float("inf")


@dataclass
class Verdict:
    """`lost`: no entry, or no line in the score log. `wrong`: another score than it should have.

    `unseen`: flagged as without a picture though there is one.
    """

    records: int = 0
    lost: int = 0
    wrong: int = 0
    unseen: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether everything came out as it had to."""
        return not (self.lost or self.wrong or self.unseen)

    @property
    def words(self) -> str:
        """All of it in one line."""
        counts = f"{self.lost} lost, {self.wrong} wrong, {self.unseen} unseen of {self.records:,}"
        return "; ".join([counts, *self.examples])


def find(redis_url: str, generation: int, published: Sequence[Published]) -> list[Found]:
    """Each with what Redis holds of it."""
    found: list[Found] = []
    with closing(redis.Redis.from_url(redis_url, decode_responses=True)) as client:
        for start in range(0, len(published), CHUNK):
            chunk = published[start : start + CHUNK]
            values = client.mget([f"ag:{generation}:{each.listing.id}" for each in chunk])
            lines = (_line(str(value)) if value else None for value in values)
            found += [_of_version(each, line) for each, line in zip(chunk, lines, strict=True)]
    return found


def judge(found: Iterable[Found], logged: Mapping[tuple[str, int, int], float]) -> Verdict:
    """`logged` has the score of each version in the score log, as `read_log` makes it."""
    verdict = Verdict()
    for each in found:
        verdict.records += 1
        published, line = each.published, each.line
        listing = published.listing
        if line is None or (listing.id, *published.order) not in logged:
            verdict.lost += 1
            _say(verdict, f"{listing.id} ({listing.kind}) is not in {'Redis' if line is None else 'the log'}")
        elif (NO_IMAGE in line.flags) != (listing.kind != "healthy"):
            verdict.unseen += listing.kind == "healthy"
            verdict.wrong += listing.kind != "healthy"
            _say(verdict, f"{listing.id} ({listing.kind}, {listing.url}) has flags {line.flags}")
        elif abs(line.score - listing.score) > TOLERANCE:
            verdict.wrong += 1
            _say(verdict, f"{listing.id} ({listing.kind}) scored {line.score}, not {listing.score:.4f}")
    return verdict


def read_log(bootstrap: str, topic: str) -> dict[tuple[str, int, int], float]:
    """Scores by id, event time and offset."""
    lines = (json.loads(record.value) for record in records_of(bootstrap, topic))
    return {(line["id"], line["event_ms"], line["offset"]): line["score"] for line in lines}


def _line(text: str) -> Line:
    score, event_ms, offset, scored_at_ms, flags, digest = text.split(" ")
    return Line(float(score), int(event_ms), int(offset), int(scored_at_ms), flags, digest)


def _of_version(published: Published, line: Line | None) -> Found:
    same = line is not None and (line.event_ms, line.offset) == published.order
    return Found(published, line if same else None)


def _say(verdict: Verdict, what: str) -> None:
    if len(verdict.examples) < EXAMPLES:
        verdict.examples.append(what)
