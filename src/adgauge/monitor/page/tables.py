"""The tables of the report: real ones, with headings that a screen reader can say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element

from adgauge.monitor.history import PastRun
from adgauge.monitor.page.markup import Node, foreign, tag
from adgauge.monitor.page.wording import (
    ALARMS,
    DRIFTS,
    NOTHING,
    STATUS,
    count,
    decimal,
    interval,
    moment,
    probability,
    share,
    signed,
    with_interval,
)
from adgauge.monitor.result import (
    Alarm,
    BadRows,
    CalibrationBin,
    Comparison,
    Drift,
    Figure,
    Figures,
    Result,
    SourceRead,
)

_FIGURES = (
    ("plcc", "PLCC", "linear correlation of score and label, −1 to 1"),
    ("plcc_plus", "PLCC⁺", "PLCC, or 0 where it is negative"),
    ("srcc", "SRCC", "correlation of ranks: does the order hold?"),
    ("mae", "MAE", "mean distance of score and label, in stars"),
    ("bias", "Bias", "mean of score − label, in stars: above 0 scores are too high"),
    ("ces_printed", "CES, printed form", "PLCC⁺ · E(C), Eq. (3) and (4) of the LoViF report"),
    ("ces_leaderboard", "CES, leaderboard form", "the same with the E that gives Table 1"),
)
_AGAINST = {
    "reference_window": "reference window",
    "previous_generation": "previous generation, same products",
}
NUMBER = "number"
"""The class of a column of numbers."""


def table(label: str, columns: Sequence[str], rows: Iterable[Element], class_: str | None = None) -> Element:
    """In a region that scrolls sideways where the screen is too narrow.

    A column's name may begin with `#`, which makes it one of numbers, or `~`: one of words, which is wider.
    """
    kinds = {"#": NUMBER, "~": "words"}
    heads = [tag("th", name.lstrip("#~"), scope="col", class_=kinds.get(name[0])) for name in columns]
    drawn = tag(
        "table", tag("thead", tag("tr", *heads)), tag("tbody", *rows), class_=class_, aria_label=label
    )
    return tag("div", drawn, class_="scroll", role="region", tabindex=0, aria_label=label)


def row(head: Node, *cells: Node, numbers: Sequence[int] = (), class_: str | None = None) -> Element:
    """`numbers` are the places of cells, from 0 after the head, that hold numbers."""
    drawn = [tag("td", cell, class_=NUMBER if place in numbers else None) for place, cell in enumerate(cells)]
    return tag("tr", tag("th", head, scope="row"), *drawn, class_=class_)


def figures_table(figures: Figures, training: Figures | None, confidence: float) -> Element:
    """All figures of all products; beside them those of training items, which decide nothing."""
    columns = ["figure", "#value", f"#{share(confidence)} interval", "~what it says"]
    if training is not None:
        columns.insert(3, f"#on {count(training.n)} training items")
    rows = []
    for name, shown, words in _FIGURES:
        value: Figure = getattr(figures, name)
        cells: list[Node] = [decimal(value.value, 3), interval(value, 3)]
        if training is not None:
            cells.append(decimal(getattr(training, name).value, 3))
        rows.append(row(shown, *cells, words, numbers=range(len(cells))))
    return table("Figures of all products", columns, rows)


def comparisons_table(comparisons: Sequence[Comparison], confidence: float) -> Element:
    """PLCC of all products against what came before."""
    rows = [
        row(
            _AGAINST[each.against],
            count(each.n),
            with_interval(each.plcc),
            signed(each.difference.value),
            interval(each.difference),
            probability(each.q_value if each.q_value is not None else each.p_value),
            numbers=range(5),
        )
        for each in comparisons
    ]
    columns = ("against", "#pairs", "#its PLCC", "#difference", f"#{share(confidence)} interval", "#q")
    return table("PLCC of all products against what came before", columns, rows)


def alarms_table(alarms: Sequence[Alarm]) -> Element:
    """The reasons for the verdict."""
    rows = [
        row(
            ALARMS[alarm.kind],
            foreign(str(alarm.slice)),
            foreign(alarm.words),
            decimal(alarm.value),
            decimal(alarm.limit),
            probability(alarm.q_value),
            numbers=range(2, 5),
            class_="alarmed",
        )
        for alarm in alarms
    ]
    return table("Alarms", ("alarm", "slice", "~in words", "#value", "#limit", "#q"), rows)


def calibration_table(bins: Sequence[CalibrationBin]) -> Element:
    """What the chart of calibration shows."""
    rows = [
        row(
            str(number),
            f"{decimal(each.low)} to {decimal(each.high)}",
            count(each.n),
            decimal(each.mean_score),
            with_interval(each.label),
            signed(None if each.label.value is None else each.mean_score - each.label.value),
            numbers=range(5),
        )
        for number, each in enumerate(bins, start=1)
    ]
    columns = ("decile", "#scores", "#pairs", "#mean score", "#mean label", "#score − label")
    return table("Calibration by decile of the scores", columns, rows)


def runs_table(runs: Sequence[PastRun]) -> Element:
    """The newest runs first."""
    rows = [
        row(
            moment(run.run_at_ms),
            " ".join(STATUS[run.status]),
            str(run.generation),
            count(run.overall.n),
            with_interval(run.overall.plcc),
            decimal(run.overall.bias.value),
            share(run.overall.coverage),
            numbers=range(1, 6),
            class_=f"status-{run.status}",
        )
        for run in reversed(runs)
    ]
    columns = ("run", "verdict", "#generation", "#pairs", "#PLCC", "#bias", "#compared")
    return table("The newest runs", columns, rows)


def drift_table(label: str, drifts: Sequence[Drift]) -> Element:
    """What changed, or did not, in words and figures."""
    rows = [_drift_row(each) for each in drifts]
    columns = (
        "~finding",
        "quantity",
        "#before",
        "#now",
        "#difference",
        "#PSI",
        "#KS",
        "#q",
        "#rows before → now",
    )
    return table(label, columns, rows)


def _drift_row(each: Drift) -> Element:
    quantity = DRIFTS[each.kind] + (f" ({each.detail})" if each.detail else "")
    return row(
        tag("span", "▲ " if each.alarming else None, foreign(each.words)),
        foreign(quantity),
        share(each.before),
        share(each.after),
        _points(each.difference),
        decimal(each.psi),
        decimal(each.ks),
        probability(each.q_value),
        f"{count(each.n_before)} → {count(each.n_after)}",
        numbers=range(1, 8),
        class_="alarmed" if each.alarming else None,
    )


def _points(figure: Figure) -> str:
    """A difference of two shares, in percentage points."""
    hundred = Figure(**{end: _hundredfold(getattr(figure, end)) for end in ("value", "low", "high")})
    return NOTHING if hundred.value is None else f"{with_interval(hundred, 1)} points"


def _hundredfold(value: float | None) -> float | None:
    return None if value is None or abs(value) > 1e300 else 100 * value


def sources_table(sources: Sequence[SourceRead]) -> Element:
    """What was read."""
    rows = [
        row(
            each.source,
            foreign(each.location),
            count(each.rows),
            count(each.accepted),
            moment(each.newest_ms) if each.newest_ms is not None else NOTHING,
            numbers=range(1, 3),
        )
        for each in sources
    ]
    return table("Sources", ("source", "~location", "#rows", "#accepted", "newest in it"), rows)


def bad_rows_table(bad: Sequence[BadRows]) -> Element:
    """What was left out, by reason, the most first."""
    rows = [
        row(
            each.source,
            foreign(each.reason.replace("_", " ")),
            count(each.rows),
            tag("ul", *(tag("li", tag("code", foreign(example))) for example in each.examples)),
            numbers=[1],
        )
        for each in sorted(bad, key=lambda each: -each.rows)
    ]
    return table("Rows left out", ("source", "reason", "#rows", "~examples"), rows)


def rules_table(result: Result) -> Element:
    """What the verdict was reached by."""
    rules = result.rules
    floor, bias, coverage = rules.plcc_floor, rules.bias_limit, rules.coverage_floor
    named = (
        ("fewest pairs of a slice that is judged", count(rules.minimum_pairs)),
        ("false discovery rate (Benjamini–Hochberg, over all slices)", share(rules.false_discovery_rate)),
        ("confidence of intervals", share(rules.confidence)),
        ("fall of PLCC that is tolerated", decimal(rules.tolerated_drop)),
        ("floor of PLCC", decimal(floor) if floor is not None else "none"),
        ("limit of bias, in stars", f"± {decimal(bias)}" if bias is not None else "none"),
        ("floor of coverage", share(coverage) if coverage is not None else "none"),
        ("pairs are weighted by rating_number", "yes" if rules.weighted_by_rating_number else "no"),
    )
    return table("Rules", ("~rule", "#value"), [row(name, value, numbers=[0]) for name, value in named])
