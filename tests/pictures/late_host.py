"""One of three picture hosts answers late: records of the others are as fresh as before."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.pictures.catalog import Catalog
from tests.pictures.hosts import HOSTS
from tests.pictures.measured import Measured, Say
from tests.pictures.numbers import percentile
from tests.pictures.publishing import SteadyLoad
from tests.pictures.server import State
from tests.pictures.verdict import Found, Verdict
from tests.pictures.world import Servers, running_scorers

RATE = 20.0
LATE_S = 2.5
CALM_S = 8.0
LATE = HOSTS[0]
FRESH_S = 1.0
"""p95 of the other hosts' records."""


@dataclass(frozen=True)
class Late:
    """Freshness, p95: of other hosts' records before and meanwhile, and of the late host's."""

    seconds: float
    before_s: float
    others_s: float
    late_s: float
    verdict: Verdict


def play(servers: Servers, seconds: float, say: Say, *, calm_s: float = CALM_S) -> Late:
    """Make a host late for so long, after a calm; raises ServerFailed."""
    with running_scorers(servers) as scorers:
        catalog = Catalog(scorers.pictures, "late")
        with SteadyLoad(servers.bootstrap, scorers.topics[0], catalog.healthy, rate=RATE) as load:
            time.sleep(calm_s)
            scorers.pictures.enter(LATE, State.LATE, late_s=LATE_S)
            began_ms = time.time() * 1000
            time.sleep(seconds)
        scorers.wait_until_decided()
        scorers.pictures.enter(LATE, State.UP)
        found = scorers.found(load.published)
        verdict = scorers.judged(found)
    before = [each for each in found if each.published.event_ms < began_ms - LATE_S * 1000]
    meanwhile = [each for each in found if each.published.event_ms >= began_ms]
    late = Late(
        seconds=seconds,
        before_s=_p95([each for each in before if not _is_late(each)]),
        others_s=_p95([each for each in meanwhile if not _is_late(each)]),
        late_s=_p95([each for each in meanwhile if _is_late(each)]),
        verdict=verdict,
    )
    say(f"late host: others' p95 {late.before_s:.2f} s, then {late.others_s:.2f} s; {verdict.words}")
    return late


def measured(late: Late) -> Measured:
    """Held to its bounds."""
    return Measured(
        "late_host",
        f"one of three picture hosts answers after {LATE_S:g} s, {RATE:g} records/s",
        rows={
            "other hosts' records, p95 before": f"{late.before_s:.2f} s",
            "other hosts' records, p95 meanwhile": f"{late.others_s:.2f} s",
            "its own records, p95": f"{late.late_s:.2f} s",
            "lost, otherwise than expected": (
                f"{late.verdict.lost}, {late.verdict.wrong + late.verdict.unseen} of {late.verdict.records:,}"
            ),
        },
        figures={
            "before_p95_s": round(late.before_s, 3),
            "others_p95_s": round(late.others_s, 3),
            "late_p95_s": round(late.late_s, 3),
            "records": late.verdict.records,
            "lost": late.verdict.lost,
        },
        problems=problems(late),
    )


def problems(late: Late) -> list[str]:
    """The bounds that were missed, in words."""
    return list(_problems(late))


def _problems(late: Late) -> Iterator[str]:
    if not late.verdict.sound:
        yield f"late host: {late.verdict.words}"
    if late.others_s > FRESH_S:
        yield f"late host: records of others took {late.others_s:.1f} s (p95), {late.before_s:.1f} s before"
    if late.late_s < LATE_S:
        yield "late host: it was not late"


def _is_late(found: Found) -> bool:
    return found.published.listing.host == LATE


def _p95(found: Sequence[Found]) -> float:
    return percentile([each.fresh_s for each in found], 0.95)
