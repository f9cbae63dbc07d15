"""PLCC against cost: the judged model before Table 1 of the LoViF 2026 report, with lines of equal CES."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from adgauge.monitor.page.charts import (
    LEFT,
    RIGHT,
    Scale,
    chart,
    dot,
    heights,
    line,
    percent,
    pixels,
    upright,
    words_at,
)
from adgauge.monitor.page.markup import tag
from adgauge.monitor.page.wording import decimal, with_interval
from adgauge.monitor.result import Figure, JudgedModel
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.leaderboard import Published, published_rows

_HEIGHT_PX = 380
_TOP_PX, _BOTTOM_PX = 32.0, _HEIGHT_PX - 38.0
_CES_STEP = 0.1
_COSTS = (1e-9, 1e9)  # what lies beyond is drawn there
_ROOM_OVER_BUDGET = 0.15  # of log10 C, at least
_STEPS = 160  # pieces of a curve
_UNITS = 1000.0  # of the canvas that curves are drawn on, both ways; it is stretched over the chart
_WIDTHS_PX = (300.0, 400.0, 550.0, 800.0, 1200.0)  # at which no label may cover another or a mark
_RADIUS_PX = 4.0
_LABEL_PX = (8.0, 13.0)  # a letter's width, and a line's height
_PLACES = (
    (9, 4, "start"),
    (-9, 4, "end"),
    (0, -9, "middle"),
    (0, 18, "middle"),
    (9, -9, "start"),
    (-9, -9, "end"),
    (9, 17, "start"),
    (-9, 17, "end"),
)
"""Where a label may stand beside its mark, the best first."""


def sign(row: Published) -> str:
    """What stands for a row in the chart: its rank, B for the baseline."""
    return "B" if row.rank is None else str(row.rank)


@dataclass(frozen=True, slots=True)
class _Mark:
    """Rows of Table 1 that stand on one point."""

    cost: float
    plcc: float
    signs: tuple[str, ...]
    teams: tuple[str, ...]


def efficiency_map(model: JudgedModel, plcc: Figure) -> Element:
    """`model.cost` must be known and above 0. The cost is on a logarithmic scale."""
    marks = _marks()
    own = min(max(model.cost or 0.0, _COSTS[0]), _COSTS[1])
    across = _costs([*(mark.cost for mark in marks), own])
    ends = [end for end in (plcc.value, plcc.low, plcc.high) if end is not None]
    up = Scale.over([*(mark.plcc for mark in marks), *ends], _BOTTOM_PX, _TOP_PX)
    return chart(
        "PLCC against cost, with the leaderboard behind it",
        f"{model.name or 'The judged model'} has cost {decimal(own, 3)} and PLCC {with_interval(plcc)}."
        " Lines join what has the same CES.",
        _HEIGHT_PX,
        *heights(up, "PLCC"),
        *_cost_axis(across),
        *_iso_lines(across, up),
        *_published(marks, across, up),
        *_own(model, plcc, across.at(math.log10(own)), up),
    )


def _marks() -> list[_Mark]:
    found: dict[tuple[float, float], list[Published]] = {}
    for row in published_rows():
        found.setdefault((REPORT_BUDGET.cost(row.params_m, row.flops_g), row.plcc), []).append(row)
    return [
        _Mark(cost, plcc, tuple(map(sign, rows)), tuple(row.team for row in rows))
        for (cost, plcc), rows in found.items()
    ]


def _costs(costs: Iterable[float]) -> Scale:
    """Of log10 C."""
    return Scale.over([_ROOM_OVER_BUDGET, *(math.log10(cost) for cost in costs)], LEFT, RIGHT, room=0.08)


def _cost_axis(across: Scale) -> list[Element]:
    """Powers of ten and what lies between, as far as there is room; C = 1 is the budget."""
    steps = (1, 2, 5) if across.high - across.low < 2.5 else (1,)
    values = [digit * 10.0**power for power in range(-12, 13) for digit in steps]
    shown = [value for value in values if across.low <= math.log10(value) <= across.high]
    numbers = [
        words_at(across.at(math.log10(value)), _BOTTOM_PX + 16, f"{value:g}", "tick", "middle")
        for value in shown
    ]
    budget = across.at(0.0)
    return [
        *numbers,
        words_at(100, _BOTTOM_PX + 32, "cost C, logarithmic", "unit", "end"),
        line(budget, _TOP_PX - 8, budget, _BOTTOM_PX, "change"),
        words_at(budget - 0.6, 11, "budget: C = 1", "unit", "end"),
    ]


def _iso_lines(across: Scale, up: Scale) -> list[Element]:
    levels = [
        level
        for number in range(1, 12)
        if (level := number * _CES_STEP) < up.high * (1 + REPORT_BUDGET.gamma)
    ]
    curves = [
        tag("path", d=path, class_=f"iso {form}", vector_effect="non-scaling-stroke")
        for level in levels
        for form in CesForm
        if (path := _iso_line(level, form, across, up))
    ]
    canvas = tag(
        "svg",
        *curves,
        viewBox=f"0 0 {_UNITS:.0f} {_UNITS:.0f}",
        preserveAspectRatio="none",
        width="100%",
        height=_HEIGHT_PX,
    )
    ends = [(level, _left_end(level, across, up)) for level in levels]
    names = [words_at(LEFT, y - 3, f"CES {level:.1f}", "iso-name") for level, y in ends if y is not None]
    return [canvas, *names]


def _iso_line(level: float, form: CesForm, across: Scale, up: Scale) -> str:
    """The PLCC that gives this CES at each cost, where that lies in the chart."""
    places: list[str] = []
    for step in range(_STEPS + 1):
        log_cost = across.low + (across.high - across.low) * step / _STEPS
        factor = REPORT_BUDGET.efficiency(10.0**log_cost, form)
        if factor > 0 and up.low <= level / factor <= up.high:
            x, y = across.at(log_cost) / 100 * _UNITS, up.at(level / factor) / _HEIGHT_PX * _UNITS
            places.append(f"{x:.1f} {y:.1f}")
    return "M" + " L".join(places) if len(places) > 1 else ""


def _left_end(level: float, across: Scale, up: Scale) -> float | None:
    begins = level / REPORT_BUDGET.efficiency(10.0**across.low, CesForm.PRINTED)
    return up.at(begins) if up.low < begins < up.high else None


def _published(marks: Sequence[_Mark], across: Scale, up: Scale) -> list[Element]:
    places = [(across.at(math.log10(mark.cost)), up.at(mark.plcc)) for mark in marks]
    taken = [_around(x, y) for x, y in places]
    drawn: list[Element] = []
    for mark, (x, y) in zip(marks, places, strict=True):
        text = ", ".join(mark.signs)
        place = _free_place(x, y, len(text), taken)
        taken.append(_boxes(x, y, place, len(text)))
        told = f"{', '.join(mark.teams)}: C {decimal(mark.cost)}, PLCC {decimal(mark.plcc)}"
        drawn += [dot(x, y, _RADIUS_PX, "published", told), _beside(x, y, text, place, "published-name")]
    return drawn


_Place = tuple[float, float, str]
"""Of a label: pixels to the right of its mark and below it, and which end of it stands there."""
_Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""


def _beside(x: float, y: float, text: str, place: _Place, class_: str) -> Element:
    right, down, anchor = place
    return tag("text", text, dx=right, x=percent(x), y=pixels(y + down), text_anchor=anchor, class_=class_)


def _around(x: float, y: float) -> list[_Box]:
    """What a mark covers, at each width."""
    middles = [x / 100 * width for width in _WIDTHS_PX]
    return [(at - _RADIUS_PX, y - _RADIUS_PX, at + _RADIUS_PX, y + _RADIUS_PX) for at in middles]


def _boxes(x: float, y: float, place: _Place, letters: int) -> list[_Box]:
    """What a label covers, at each width."""
    (right, down, anchor), (letter, high) = place, _LABEL_PX
    wide = letters * letter
    begin = right - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    lefts = [x / 100 * width + begin for width in _WIDTHS_PX]
    return [(left, y + down + 2 - high, left + wide, y + down + 2) for left in lefts]


def _free_place(x: float, y: float, letters: int, taken: Sequence[Sequence[_Box]]) -> _Place:
    """The first place beside a point where its label covers nothing at any width."""
    for place in _PLACES:
        boxes = _boxes(x, y, place, letters)
        if not any(_overlap(one, other) for each in taken for one, other in zip(boxes, each, strict=True)):
            return place
    return _PLACES[0]


def _overlap(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _own(model: JudgedModel, plcc: Figure, x: float, up: Scale) -> list[Element]:
    if plcc.value is None:
        return []
    y = up.at(plcc.value)
    shape = tag("path", d="M0 -8 L8 0 L0 8 L-8 0 Z", class_="own")
    diamond = tag("svg", shape, x=percent(x), y=pixels(y), overflow="visible")
    place: _Place = (-14, 4, "end") if x > 55 else (14, 4, "start")
    name = (model.name or f"generation {model.generation}")[:40]
    return [*upright(x, up, plcc, "interval own"), diamond, _beside(x, y, name, place, "own-name")]
