"""One of three picture hosts is away: its records wait, those of others go on, and no picture is given up."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tests.pictures.catalog import Catalog, Listing
from tests.pictures.hosts import HOSTS, PictureHosts
from tests.pictures.measured import Measured, Say
from tests.pictures.numbers import percentile
from tests.pictures.publishing import SteadyLoad
from tests.pictures.readings import Reading, Readings
from tests.pictures.server import State
from tests.pictures.verdict import Found, Verdict
from tests.pictures.world import Servers, running_scorers

RATE = 20.0
DEAD = 0.05
"""A 404 stays one, whatever else goes on."""
CALM_S, AFTER_S = 5.0, 5.0
AWAY = HOSTS[0]
WAYS = (State.REFUSING, State.HANGING, State.UNAVAILABLE)
FRESH_S = 2.0
"""p95 of the other hosts' records, until the worker may take no more because of those that wait."""
DECIDED_S = 60.0
UNDISTURBED_S = 2.0
"""What was published so shortly before the outage may still meet it, or before the pause may be behind it."""


@dataclass(frozen=True)
class Outage:
    """One outage, all ways in turn. Records of other hosts count that were published before a worker paused.

    `paused_s`: seconds until the worker had taken all it may; None: it never did. `decided_s`: seconds from
    the host's return until all that had been published before it was decided. `early`: records of the host
    away that were decided meanwhile.
    """

    seconds: float
    away_records: int
    early: int
    paused_s: float | None
    most_in_flight: int
    calm_p95_s: float
    others_p95_s: float
    others_worst_s: float
    decided_s: float
    pictures: dict[str, int]
    verdict: Verdict


def play(servers: Servers, seconds: float, say: Say) -> Outage:
    """Take a host away for so long, in each way for a part of it; raises ServerFailed."""
    with running_scorers(servers) as scorers, Readings(scorers) as readings:
        load = SteadyLoad(servers.bootstrap, scorers.topics[0], _listings(scorers.pictures), rate=RATE)
        with load:
            time.sleep(CALM_S)
            scorers.pictures.enter(AWAY, WAYS[0])
            began_s = time.time()
            for way in WAYS:
                say(f"outage: {AWAY} is {way} for {seconds / len(WAYS):.3g} s")
                scorers.pictures.enter(AWAY, way)
                time.sleep(seconds / len(WAYS))
            scorers.pictures.enter(AWAY, State.UP)
            back_s = time.time()
            time.sleep(AFTER_S)
        scorers.wait_until_decided()
        found = scorers.found(load.published)
        outage = _outage(found, readings.taken, (began_s, back_s), scorers.judged(found))
    say(f"outage: {_words(outage)}")
    return outage


def measured(outage: Outage) -> Measured:
    """Held to its bounds."""
    return Measured(
        "outage",
        f"one of three picture hosts away for {outage.seconds:.0f} s, {RATE:g} records/s",
        rows=_rows(outage),
        figures=_figures(outage),
        problems=problems(outage),
    )


def problems(outage: Outage) -> list[str]:
    """The bounds that were missed, in words."""
    return list(_problems(outage))


def _problems(outage: Outage) -> Iterator[str]:
    if not outage.verdict.sound:
        yield f"outage: {outage.verdict.words}"
    if outage.early:
        yield f"outage: {outage.early} of {outage.away_records} records did not wait for their host"
    if outage.others_p95_s > FRESH_S:
        yield f"outage: records of other hosts took {outage.others_p95_s:.1f} s (p95)"
    if outage.decided_s > DECIDED_S:
        yield f"outage: all was decided only {outage.decided_s:.1f} s after the host's return"


def _listings(pictures: PictureHosts) -> Callable[[int], Listing]:
    """Hosts take turns, and of each host's pictures as many are dead."""
    catalog = Catalog(pictures, "outage")
    every = round(1 / DEAD)

    def listing(number: int) -> Listing:
        of_host = number // len(HOSTS)
        return catalog.dead(number) if of_host % every == every - 1 else catalog.healthy(number)

    return listing


def _outage(
    found: Sequence[Found], readings: Sequence[Reading], times: tuple[float, float], verdict: Verdict
) -> Outage:
    began_s, back_s = times
    meanwhile = [each for each in readings if began_s <= each.at_s < back_s]
    paused_s = next((each.at_s for each in meanwhile if each.paused), back_s)
    away = [each for each in found if began_s <= _published_s(each) < back_s and _is_away(each)]
    calm = [each for each in found if _published_s(each) < began_s - UNDISTURBED_S]
    others = [
        each
        for each in found
        if began_s <= _published_s(each) < paused_s - UNDISTURBED_S and not _is_away(each)
    ]
    return Outage(
        seconds=back_s - began_s,
        away_records=len(away),
        early=sum(_decided_s(each) < back_s for each in away),
        paused_s=paused_s - began_s if paused_s < back_s else None,
        most_in_flight=round(max(each.in_flight for each in meanwhile)),
        calm_p95_s=percentile([each.fresh_s for each in calm], 0.95),
        others_p95_s=percentile([each.fresh_s for each in others], 0.95),
        others_worst_s=max(each.fresh_s for each in others),
        decided_s=max(_decided_s(each) for each in found if _published_s(each) < back_s) - back_s,
        pictures=dict(readings[-1].pictures),
        verdict=verdict,
    )


def _is_away(found: Found) -> bool:
    return found.published.listing.host == AWAY


def _published_s(found: Found) -> float:
    return found.published.event_ms / 1000


def _decided_s(found: Found) -> float:
    return found.line.scored_at_ms / 1000 if found.line else float("inf")


def _rows(outage: Outage) -> dict[str, str]:
    paused = "never" if outage.paused_s is None else f"{outage.paused_s:.0f} s"
    return {
        "records of the host published meanwhile": f"{outage.away_records:,}",
        "decided before its return": f"{outage.early:,}",
        "worker full after": paused,
        "most in flight": f"{outage.most_in_flight:,} records",
        "other hosts' records, p95 before": f"{outage.calm_p95_s:.2f} s",
        "other hosts' records, p95 and worst meanwhile": (
            f"{outage.others_p95_s:.2f} s, {outage.others_worst_s:.2f} s"
        ),
        "all decided after the host's return": f"{outage.decided_s:.1f} s",
        "without a picture that is there": f"{outage.verdict.unseen:,} of {outage.verdict.records:,}",
        "lost, wrong": f"{outage.verdict.lost}, {outage.verdict.wrong}",
    }


def _figures(outage: Outage) -> dict[str, Any]:
    return {
        "seconds": round(outage.seconds),
        "away_records": outage.away_records,
        "early": outage.early,
        "paused_s": None if outage.paused_s is None else round(outage.paused_s, 1),
        "most_in_flight": outage.most_in_flight,
        "calm_p95_s": round(outage.calm_p95_s, 3),
        "others_p95_s": round(outage.others_p95_s, 3),
        "others_worst_s": round(outage.others_worst_s, 3),
        "decided_s": round(outage.decided_s, 1),
        "unseen": outage.verdict.unseen,
        "lost": outage.verdict.lost,
        "wrong": outage.verdict.wrong,
        "records": outage.verdict.records,
        "pictures": outage.pictures,
    }


def _words(outage: Outage) -> str:
    return f"{'; '.join(f'{name} {value}' for name, value in _rows(outage).items())}; {outage.verdict.words}"
