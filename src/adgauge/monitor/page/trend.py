"""PLCC over the runs in the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from xml.etree.ElementTree import Element

from adgauge.monitor.history import PastRun
from adgauge.monitor.page.charts import LEFT, RIGHT, Scale, chart, dot, heights, line, upright, words_at
from adgauge.monitor.page.wording import STATUS, count, day, moment, with_interval
from adgauge.monitor.result import Figure, Slice, Status

MOST_RUNS = 120
"""That are drawn, the newest ones; more would be a band."""
_TOP_PX, _BELOW_PX = 32, 26


@dataclass(frozen=True, slots=True)
class _Point:
    """What one run found for the slice that is drawn."""

    run: PastRun
    after_ms: int  # the first that is drawn
    plcc: Figure
    n: int


def trend(runs: Sequence[PastRun], wanted: Slice, floor: float | None, height: int = 240) -> Element:
    """One point a run, with its interval; where the generation changes stands a line.

    `runs` in the order of time; those that did not meet the slice leave a gap of time and nothing else.
    """
    points = _points(runs[-MOST_RUNS:], wanted)
    bottom = height - _BELOW_PX
    across = _times(points)
    values = [end for each in points for end in (each.plcc.value, each.plcc.low, each.plcc.high)]
    up = Scale.over([*values, floor], bottom, _TOP_PX)
    limit = [line(0, up.at(floor), 100, up.at(floor), "floor")] if floor is not None else []
    drawn = [*heights(up, "PLCC"), *limit, *_changes(points, across, bottom), *_curve(points, across, up)]
    return chart(
        f"PLCC of {wanted} over {count(len(points))} runs",
        _words(points),
        height,
        *drawn,
        *_ends(points, height),
    )


def _points(runs: Sequence[PastRun], wanted: Slice) -> list[_Point]:
    met = [(run, each) for run in runs if (each := run.of(wanted)) is not None]
    return [_Point(run, run.run_at_ms - met[0][0].run_at_ms, each.plcc, each.n) for run, each in met]


def _times(points: Sequence[_Point]) -> Scale:
    """Of ms since the first."""
    return Scale(0.0, max(points[-1].after_ms if points else 0, 1), LEFT + 2, RIGHT)


def _curve(points: Sequence[_Point], across: Scale, up: Scale) -> list[Element]:
    known = [(across.at(each.after_ms), each) for each in points if each.plcc.value is not None]
    places = [(x, up.at(each.plcc.value or 0.0), each) for x, each in known]
    joined = [line(x1, y1, x2, y2, "curve") for (x1, y1, _), (x2, y2, _) in pairwise(places)]
    intervals = [part for x, each in known for part in upright(x, up, each.plcc, "interval judged")]
    dots = [dot(x, y, 3.5, f"mark {_state(each.run)}", _told(each)) for x, y, each in places]
    return [*intervals, *joined, *dots]


def _state(run: PastRun) -> str:
    return "alarmed" if run.status is Status.ALARM else "judged"


def _told(each: _Point) -> str:
    return (
        f"{moment(each.run.run_at_ms)}: {with_interval(each.plcc)}, {count(each.n)} pairs,"
        f" {STATUS[each.run.status][1]}"
    )


def _changes(points: Sequence[_Point], across: Scale, bottom: float) -> list[Element]:
    """Where another generation was judged than in the run before."""
    drawn: list[Element] = []
    for before, after in pairwise(points):
        if before.run.generation != after.run.generation:
            x = (across.at(before.after_ms) + across.at(after.after_ms)) / 2
            anchor = "end" if x > 70 else "start"
            drawn += [
                line(x, 14, x, bottom, "change"),
                words_at(x, 11, f"generation {after.run.generation}", "unit", anchor),
            ]
    return drawn


def _ends(points: Sequence[_Point], height: int) -> list[Element]:
    if not points:
        return []
    begins, ends = day(points[0].run.run_at_ms), day(points[-1].run.run_at_ms)
    y = height - 8
    last = words_at(RIGHT, y, ends, "tick", "end")
    return [last] if begins == ends else [words_at(LEFT, y, begins, "tick"), last]


def _words(points: Sequence[_Point]) -> str:
    if not points:
        return "No run met this slice."
    first, last = points[0], points[-1]
    return (
        f"From {with_interval(first.plcc)} on {day(first.run.run_at_ms)}"
        f" to {with_interval(last.plcc)} on {day(last.run.run_at_ms)}."
    )
