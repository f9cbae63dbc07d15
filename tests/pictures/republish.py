"""A catalog published again, unchanged but for prices: neither model nor pictures are asked for again."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from tests.pictures.catalog import Catalog, Listing, Variant, priced_anew
from tests.pictures.hosts import Seen
from tests.pictures.measured import Measured, Say
from tests.pictures.numbers import rate, trail_s
from tests.pictures.verdict import Found, Verdict
from tests.pictures.world import Asked, Scorers, Servers, running_scorers

RATE = 800.0
"""Records a second, by as many workers as two cores feed."""
CHANGED_AMONG = 200
"""Products that are published once more, two of them changed."""
WARM_UP = 300
VARIANTS: dict[Variant, str] = {
    "fresh": "good for a day",
    "p": "with an ETag",
    "bare": "without validators",
}


@dataclass(frozen=True)
class Again:
    """One catalog, published once, again, and a few of it again with two changes."""

    variant: Variant
    workers: int
    records: int
    first_rate: float
    again_rate: float
    trail_s: float
    asked: Asked
    seen: Seen
    changes: "Changes"
    verdicts: Sequence[Verdict]


@dataclass(frozen=True)
class Changes:
    """What was scored anew when two products of some had changed: ids that should be, and ids that were."""

    expected: frozenset[str]
    rescored: frozenset[str]
    asked: Asked
    verdict: Verdict


def play(servers: Servers, products: int, workers: Sequence[int], say: Say) -> list[Again]:
    """Each variant with each number of workers; raises ServerFailed."""
    found = []
    for count in workers:
        with running_scorers(servers, workers=count, cached=True) as scorers:
            _warm_up(scorers)
            for variant in VARIANTS:
                found.append(_play(scorers, products, variant))
                say(f"republish: {_words(found[-1])}")
    return found


def measured(found: Sequence[Again], products: int) -> Measured:
    """Held to its bounds."""
    return Measured(
        "republish",
        f"{products:,} products published again, unchanged but for their prices",
        rows=dict(chain.from_iterable(map(_rows, found))),
        figures=_figures(found),
        problems=problems(found, RATE),
    )


def problems(found: Sequence[Again], bound: float) -> list[str]:
    """The bounds that were missed, in words; `bound` is of the rate with the best number of workers."""
    missed = list(chain.from_iterable(map(_problems, found)))
    for variant, name in VARIANTS.items():
        fastest = max((each.again_rate for each in found if each.variant == variant), default=bound)
        if fastest < bound:
            missed.append(f"republish {name}: {fastest:.0f} records/s, not {bound:.0f}")
    return missed


def _problems(again: Again) -> Iterator[str]:
    name = f"republish {VARIANTS[again.variant]}, {again.workers} workers"
    bodies = again.records if again.variant == "bare" else 0
    requests = 0 if again.variant == "fresh" else again.records
    if again.asked.requests:
        yield f"{name}: {again.asked.requests} requests to Triton"
    if again.seen.bodies != bodies or again.seen.requests != requests:
        yield f"{name}: {again.seen.requests} requests, {again.seen.bodies} bodies, not {requests}, {bodies}"
    changes = again.changes
    if changes.rescored != changes.expected or changes.asked.rows != len(changes.expected):
        yield f"{name}: {sorted(changes.rescored)} scored anew in {changes.asked.rows} rows"
    for verdict in (*again.verdicts, changes.verdict):
        if not verdict.sound:
            yield f"{name}: {verdict.words}"


def _warm_up(scorers: Scorers) -> None:
    """Connections, decoders and the first commit are not what is measured."""
    catalog = Catalog(scorers.pictures, "warm")
    scorers.work_off([catalog.healthy(number) for number in range(WARM_UP)])


def _play(scorers: Scorers, products: int, variant: Variant) -> Again:
    catalog = Catalog(scorers.pictures, f"{variant}{len(scorers.workers)}", variant)
    listings = [catalog.healthy(number) for number in range(products)]
    began_s, published = scorers.work_off(listings)
    first = scorers.found(published)

    commits, asked = len(scorers.watch.progress), scorers.asked_of_triton()
    again_s, published = scorers.work_off(priced_anew(listings))
    again, seen = scorers.found(published), scorers.pictures.seen_by_all()
    return Again(
        variant=variant,
        workers=len(scorers.workers),
        records=products,
        first_rate=rate(first, began_s),
        again_rate=rate(again, again_s),
        trail_s=trail_s(again, scorers.watch.progress[commits:]),
        asked=scorers.asked_of_triton() - asked,
        seen=seen,
        changes=_change(scorers, again[:CHANGED_AMONG], changes_picture=variant != "fresh"),
        verdicts=[scorers.judged(first), scorers.judged(again)],
    )


def _change(scorers: Scorers, before: Sequence[Found], *, changes_picture: bool) -> Changes:
    """Publish them again, one with another title, and one with another picture behind its URL.

    A picture that is good for a day is not asked about, so that it may change unseen.
    """
    listings = priced_anew([each.published.listing for each in before])
    listings[0] = replace(listings[0], title=f"{listings[0].id} another title")
    expected = {listings[0].id}
    if changes_picture:
        listings[1] = _repainted(scorers, listings[1])
        expected.add(listings[1].id)
    asked = scorers.asked_of_triton()
    _, published = scorers.work_off(listings)
    asked = scorers.asked_of_triton() - asked
    after = scorers.found(published)
    rescored = {
        new.published.listing.id
        for old, new in zip(before, after, strict=True)
        if old.line and new.line and old.line.digest != new.line.digest
    }
    return Changes(frozenset(expected), frozenset(rescored), asked, scorers.judged(after))


def _repainted(scorers: Scorers, listing: Listing) -> Listing:
    grey = listing.grey % 255 + 1
    assert listing.host is not None
    scorers.pictures.change(listing.host, listing.path, grey)
    return replace(listing, grey=grey)


def _rows(again: Again) -> Iterator[tuple[str, str]]:
    name = f"{VARIANTS[again.variant]}, {again.workers} worker{'s' * (again.workers > 1)}"
    yield f"{name}: first", f"{again.first_rate:,.0f} records/s"
    yield f"{name}: again", f"{again.again_rate:,.0f} records/s"
    requests = f"{again.asked.requests}, {again.seen.requests:,}, {again.seen.bodies:,}"
    yield f"{name}: Triton, picture requests, bodies", requests
    yield f"{name}: changed, scored anew", f"{len(again.changes.expected)}, {len(again.changes.rescored)}"


def _figures(found: Sequence[Again]) -> dict[str, object]:
    return {f"{VARIANTS[each.variant].replace(' ', '_')}_{each.workers}": _figure(each) for each in found}


def _figure(again: Again) -> dict[str, object]:
    return {
        "first_rate": round(again.first_rate, 1),
        "again_rate": round(again.again_rate, 1),
        "trail_s": round(again.trail_s, 2),
        "triton_requests": again.asked.requests,
        "picture_requests": again.seen.requests,
        "picture_bodies": again.seen.bodies,
        "not_modified": again.seen.not_modified,
        "changed": len(again.changes.expected),
        "rescored": len(again.changes.rescored),
        "rescored_rows": again.changes.asked.rows,
    }


def _words(again: Again) -> str:
    return (
        f"{VARIANTS[again.variant]}, {again.workers} workers: first {again.first_rate:.0f}, again"
        f" {again.again_rate:.0f} records/s; {again.asked.requests} requests to Triton,"
        f" {again.seen.requests} for pictures, {again.seen.bodies} bodies, {again.seen.not_modified} kept,"
        f" commits trail by {again.trail_s:.1f} s; {len(again.changes.rescored)} scored anew in"
        f" {again.changes.asked.rows} rows; {again.verdicts[-1].words}"
    )
