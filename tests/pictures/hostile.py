"""Dead, slow and hostile pictures among healthy ones: they hold up neither those nor the commits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from tests.pictures.catalog import Catalog, Listing
from tests.pictures.measured import Measured, Say
from tests.pictures.numbers import rate, trail_s
from tests.pictures.verdict import Verdict
from tests.pictures.world import Scorers, Servers, running_scorers

DEAD, SLOW, HOSTILE = 0.10, 0.05, 0.02
TIMEOUT_S = 3.0
SHARE_OF_ALONE = 0.9
TRAILS_S = TIMEOUT_S + 5.0
WARM_UP = 300


@dataclass(frozen=True)
class Pass:
    """One catalog, worked off."""

    healthy: int
    records: int
    healthy_rate: float
    all_rate: float
    trail_s: float
    verdict: Verdict


@dataclass(frozen=True)
class Mixed:
    """Passes of healthy products alone, and of the same among others, in turn."""

    alone: Sequence[Pass]
    among: Sequence[Pass]
    pictures: dict[str, int]

    @property
    def alone_rate(self) -> float:
        """Healthy records a second, the median."""
        return median(each.healthy_rate for each in self.alone)

    @property
    def among_rate(self) -> float:
        """And among others."""
        return median(each.healthy_rate for each in self.among)

    @property
    def share(self) -> float:
        """The one of the other."""
        return self.among_rate / self.alone_rate

    @property
    def trail_s(self) -> float:
        """Of the worst pass among others."""
        return max(each.trail_s for each in self.among)


def play(servers: Servers, products: int, rounds: int, say: Say) -> Mixed:
    """Raises ServerFailed."""
    settings = {"ADGAUGE_IMAGE_TIMEOUT_S": f"{TIMEOUT_S:g}"}
    with running_scorers(servers, settings=settings) as scorers:
        _warm_up(scorers)
        alone, among = list[Pass](), list[Pass]()
        for number in range(rounds):
            for passes, name in ((alone, "alone"), (among, "among")):
                listings = _listings(scorers, f"{name}{number}", products)
                if passes is alone:
                    listings = [each for each in listings if each.kind == "healthy"]
                passes.append(_pass(scorers, listings))
                say(f"hostile: healthy {name}: {_words(passes[-1])}")
        return Mixed(alone, among, scorers.pictures_by_result())


def measured(mixed: Mixed, products: int) -> Measured:
    """Held to its bounds."""
    return Measured(
        "hostile",
        f"{products:,} products, {DEAD:.0%} dead, {SLOW:.0%} slow and {HOSTILE:.0%} hostile",
        rows=_rows(mixed),
        figures=_figures(mixed),
        problems=problems(mixed),
    )


def problems(mixed: Mixed, share: float = SHARE_OF_ALONE, trails_s: float = TRAILS_S) -> list[str]:
    """The bounds that were missed, in words."""
    return list(_problems(mixed, share, trails_s))


def _problems(mixed: Mixed, share: float, trails_s: float) -> Iterator[str]:
    if mixed.share < share:
        yield f"hostile: healthy records finish at {mixed.share:.2f} of their rate alone"
    if mixed.trail_s > trails_s:
        yield f"hostile: commits trail by {mixed.trail_s:.1f} s, allowed {trails_s:g} s"
    for each in (*mixed.alone, *mixed.among):
        if not each.verdict.sound:
            yield f"hostile: {each.verdict.words}"


def _listings(scorers: Scorers, series: str, products: int) -> list[Listing]:
    return Catalog(scorers.pictures, series, "photo").mixed(products, dead=DEAD, slow=SLOW, hostile=HOSTILE)


def _warm_up(scorers: Scorers) -> None:
    """Connections, decoders and the first commit are not what is measured."""
    catalog = Catalog(scorers.pictures, "warm")
    scorers.work_off([catalog.healthy(number) for number in range(WARM_UP)])


def _pass(scorers: Scorers, listings: Sequence[Listing]) -> Pass:
    first = len(scorers.watch.progress)
    began_s, published = scorers.work_off(listings)
    found = scorers.found(published)
    healthy = [each for each in found if each.published.listing.kind == "healthy"]
    return Pass(
        healthy=len(healthy),
        records=len(found),
        healthy_rate=rate(healthy, began_s),
        all_rate=rate(found, began_s),
        trail_s=trail_s(found, scorers.watch.progress[first:]),
        verdict=scorers.judged(found),
    )


def _rows(mixed: Mixed) -> dict[str, str]:
    verdicts = [each.verdict for each in (*mixed.alone, *mixed.among)]
    lost, records = sum(each.lost for each in verdicts), sum(each.records for each in verdicts)
    wrong = sum(each.wrong + each.unseen for each in verdicts)
    return {
        f"healthy alone, median of {len(mixed.alone)}": f"{mixed.alone_rate:,.0f} records/s",
        "healthy among the others": f"{mixed.among_rate:,.0f} records/s",
        "share": f"{mixed.share:.2f}",
        "all records then": f"{median(each.all_rate for each in mixed.among):,.0f} records/s",
        "commits trail scores by at most, alone": f"{max(each.trail_s for each in mixed.alone):.1f} s",
        "commits trail scores by at most, among the others": f"{mixed.trail_s:.1f} s",
        "lost, otherwise than expected": f"{lost}, {wrong} of {records:,}",
    }


def _figures(mixed: Mixed) -> dict[str, object]:
    return {
        "rounds": len(mixed.alone),
        "alone_rate": round(mixed.alone_rate, 1),
        "among_rate": round(mixed.among_rate, 1),
        "share": round(mixed.share, 3),
        "all_rate": round(median(each.all_rate for each in mixed.among), 1),
        "alone_trail_s": round(max(each.trail_s for each in mixed.alone), 2),
        "trail_s": round(mixed.trail_s, 2),
        "lost": sum(each.verdict.lost for each in (*mixed.alone, *mixed.among)),
        "pictures": mixed.pictures,
    }


def _words(done: Pass) -> str:
    return (
        f"{done.healthy_rate:.0f} healthy records/s, {done.all_rate:.0f} in all,"
        f" commits trail by {done.trail_s:.1f} s; {done.verdict.words}"
    )
