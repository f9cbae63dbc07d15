"""PLCC against cost: the published rows, where a recount puts them, and lines of equal CES."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from adgauge.errors import ConfigurationError
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.leaderboard import Published, Recomputed, Recounted
from adgauge.quality.metrics import Array
from adgauge.quality.submission import Placed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

FORMATS = (".png", ".svg", ".pdf")
SIZE_INCHES = (10.0, 6.4)
DPI = 110
CES_STEP = 0.05
_PUBLISHED, _RECOUNTED, _OWN = "#1f4e79", "#c0504d", "#2e8b57"
_LINES = {CesForm.PRINTED: "solid", CesForm.LEADERBOARD: "dashed"}
_GREY = "#777777"
_SAME = 1.02  # costs that differ by less stand on one point
# Where a label may stand, in points from its mark: near before far, right and above before left and below.
_OFFSETS = [
    (side * distance, rise)
    for distance in (9, 16, 26)
    for rise in (0, 9, -9, 18, -18, 28, -28, 40, -40)
    for side in (1, -1)
]


@dataclass(frozen=True, slots=True)
class _Mark:
    """A point with its name."""

    cost: float
    plcc: float
    name: str
    color: str


def draw(
    path: Path,
    ending: str,
    rows: Sequence[Recomputed],
    recounted: Sequence[Recounted] = (),
    placed: Placed | None = None,
) -> None:
    """Write the plot to `path` in the format of `ending`, one of FORMATS.

    Raises ConfigurationError where matplotlib is not installed; a submission without a PLCC is not drawn.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as exc:
        raise ConfigurationError("a plot needs matplotlib: pip install 'adgauge[plot]'") from exc
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    marks = _merged([_mark(row.published) for row in rows])
    own = _own(placed)
    _frame(axes, marks, recounted, own)
    _iso_lines(axes)
    _budget_line(axes)
    _points(axes, [*marks, *own], _arrows(axes, recounted))
    _legend(figure, axes, bool(recounted), own)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the table has it in letters.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        _label(figure, axes, [*own, *marks], recounted)
        figure.savefig(path, format=ending.removeprefix("."))


def _mark(row: Published) -> _Mark:
    return _Mark(REPORT_BUDGET.cost(row.params_m, row.flops_g), row.plcc, row.team, _PUBLISHED)


def _merged(marks: Sequence[_Mark]) -> list[_Mark]:
    """Teams that stand on one point share a label."""
    names: dict[tuple[float, float], list[str]] = {}
    for mark in marks:
        names.setdefault((mark.cost, mark.plcc), []).append(mark.name)
    return [_Mark(cost, plcc, ", ".join(each), _PUBLISHED) for (cost, plcc), each in names.items()]


def _own(placed: Placed | None) -> list[_Mark]:
    if placed is None or np.isnan(placed.plcc):
        return []
    return [_Mark(placed.standing.cost, placed.plcc, placed.name, _OWN)]


def _frame(axes: Axes, marks: Sequence[_Mark], recounted: Sequence[Recounted], own: Sequence[_Mark]) -> None:
    costs = [mark.cost for mark in [*marks, *own]] + [row.standing.cost for row in recounted]
    heights = [mark.plcc for mark in [*marks, *own]]
    axes.set_xscale("log")
    axes.set_xlim(min(costs) / 1.5, max(1.6, max(costs) * 1.8))
    axes.set_ylim(min(heights) - 0.035, max(heights) + 0.04)
    axes.set_xlabel("cost C (log): geometric mean of P / 1000 M and F / 20 GFLOPs")
    axes.set_ylabel("PLCC")
    ticks = [digit * 10.0**power for power in range(-4, 5) for digit in (1, 2, 5)]
    low, high = axes.get_xlim()
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_title("LoViF 2026, Table 1: accuracy against cost", loc="left")
    axes.spines[["top", "right"]].set_visible(False)


def _iso_lines(axes: Axes) -> None:
    """PLCC that gives the same CES at each cost, one colour a CES; where E is 0 no PLCC does."""
    from matplotlib import colormaps

    costs = np.geomspace(*axes.get_xlim(), 600)
    highest = axes.get_ylim()[1] * (1 + REPORT_BUDGET.gamma)
    for level in np.arange(CES_STEP, highest, CES_STEP):
        color = colormaps["viridis"](0.9 - 0.85 * level / highest)
        for form, style in _LINES.items():
            factors = np.array([REPORT_BUDGET.efficiency(float(cost), form) for cost in costs])
            heights = level / np.where(factors > 0, factors, np.nan)
            axes.plot(costs, heights, color=color, linestyle=style, linewidth=0.9, alpha=0.75, zorder=1)
            _name_line(axes, f"CES {level:.2f}", costs, heights, color)


def _name_line(axes: Axes, name: str, costs: Array, heights: Array, color: tuple[float, ...]) -> None:
    """At its left end; one that begins below is named where it leaves at the top, if that is to the right."""
    low, high = axes.get_ylim()
    if low < heights[0] < high - 0.01:
        axes.text(costs[3], heights[0], name, color=color, size=7.5, va="bottom")
        return
    leaves = int(np.argmax(heights > high)) if heights[0] < low else 0
    if leaves > 0 and costs[leaves] > 2:
        axes.text(costs[leaves], high, name, color=color, size=7.5, va="top", ha="right", rotation=60)


def _budget_line(axes: Axes) -> None:
    axes.axvline(1.0, color="black", linewidth=0.8, linestyle="dotted", zorder=1)
    axes.text(1.02, axes.get_ylim()[0] + 0.004, "over budget →", size=8, va="bottom")


def _arrows(axes: Axes, recounted: Sequence[Recounted]) -> list[_Mark]:
    """From each published point to its recounted one; returns those."""
    ends: dict[tuple[float, float], _Mark] = {}
    for row in recounted:
        begin, cost = _mark(row.published), row.standing.cost
        ends[cost, begin.plcc] = _Mark(cost, begin.plcc, "", _RECOUNTED)
        if max(begin.cost, cost) < _SAME * min(begin.cost, cost):
            continue
        arrow = {"arrowstyle": "->", "color": _RECOUNTED, "linewidth": 1.2, "shrinkA": 4, "shrinkB": 5}
        axes.annotate("", (cost, begin.plcc), (begin.cost, begin.plcc), arrowprops=arrow, zorder=2)
    return list(ends.values())


def _points(axes: Axes, marks: Sequence[_Mark], recounted: Sequence[_Mark]) -> None:
    for mark in marks:
        own = mark.color == _OWN
        axes.scatter(
            mark.cost, mark.plcc, s=140 if own else 42, marker="*" if own else "o", color=mark.color, zorder=4
        )
    for mark in recounted:
        axes.scatter(mark.cost, mark.plcc, s=95, facecolor="white", edgecolor=mark.color, zorder=3)


def _legend(figure: Figure, axes: Axes, recounted: bool, own: Sequence[_Mark]) -> None:
    for form, style in _LINES.items():
        axes.plot([], [], color=_GREY, linestyle=style, linewidth=0.9, label=f"equal CES, E {form}")
    axes.scatter([], [], s=42, color=_PUBLISHED, label="as published")
    if recounted:
        axes.scatter([], [], s=95, facecolor="white", edgecolor=_RECOUNTED, label="recounted: F is 2·MAC")
    for mark in own:
        axes.scatter([], [], s=140, marker="*", color=mark.color, label="submission, as declared")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=9)


def _label(figure: Figure, axes: Axes, marks: Sequence[_Mark], recounted: Sequence[Recounted]) -> None:
    """Names beside their marks, each at the first place where it covers no mark, arrow or other name."""
    figure.draw_without_rendering()
    taken = [_around(axes, mark, mark.cost) for mark in marks]
    taken += [_around(axes, _mark(row.published), row.standing.cost) for row in recounted]
    inside = axes.get_window_extent()
    for mark in marks:
        for offset in _OFFSETS:
            note = _annotation(axes, mark, offset)
            box = note.get_window_extent()
            if not any(box.overlaps(each) for each in taken) and _holds(inside, box):
                break
            note.remove()
        else:
            note = _annotation(axes, mark, _OFFSETS[0])
            box = note.get_window_extent()
        taken.append(box)


def _annotation(axes: Axes, mark: _Mark, offset: tuple[int, int]) -> Annotation:
    from matplotlib.patheffects import withStroke

    near = abs(offset[0]) < 16 and abs(offset[1]) < 28
    return axes.annotate(
        mark.name,
        (mark.cost, mark.plcc),
        offset,
        textcoords="offset points",
        ha="left" if offset[0] > 0 else "right",
        va="center",
        color=mark.color,
        fontsize=9,
        fontweight="bold" if mark.color == _OWN else "normal",
        arrowprops=None if near else {"arrowstyle": "-", "color": mark.color, "linewidth": 0.5},
        parse_math=False,  # a name with two $ in it is no formula
        path_effects=[withStroke(linewidth=3, foreground="white")],
        zorder=5,
    )


def _around(axes: Axes, mark: _Mark, cost: float) -> Bbox:
    """What a mark, or an arrow from it to another cost, covers."""
    from matplotlib.transforms import Bbox

    ends = axes.transData.transform([(mark.cost, mark.plcc), (cost, mark.plcc)])
    return Bbox.from_extents(*(ends.min(axis=0) - 8), *(ends.max(axis=0) + 8))


def _holds(outer: Bbox, inner: Bbox) -> bool:
    return bool(
        outer.x0 <= inner.x0 and outer.y0 <= inner.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1
    )
