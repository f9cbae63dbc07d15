"""A run as one HTML page that opens without a network, in any light, on any width, and prints.

It holds no script and asks nobody for anything: a policy in its head forbids both, whatever a title says.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from importlib.resources import files
from xml.etree.ElementTree import Element

from adgauge.monitor.history import PastRun, past_run
from adgauge.monitor.page.coverage import coverage_bar, coverage_by_slice, coverage_table
from adgauge.monitor.page.efficiency import efficiency_map
from adgauge.monitor.page.forest import forest
from adgauge.monitor.page.markup import Node, foreign, tag, written
from adgauge.monitor.page.pairs import calibration, scatter
from adgauge.monitor.page.products import leaderboard_table, worst_table
from adgauge.monitor.page.tables import (
    alarms_table,
    bad_rows_table,
    calibration_table,
    comparisons_table,
    drift_table,
    figures_table,
    rules_table,
    runs_table,
    sources_table,
)
from adgauge.monitor.page.trend import trend
from adgauge.monitor.page.wording import (
    STATUS,
    count,
    day,
    decimal,
    interval,
    moment,
    share,
    signed,
)
from adgauge.monitor.result import OVERALL, Result, Slice, Window

_POLICY = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'"
MOST_RUNS_LISTED = 15
MOST_SLICE_TRENDS = 6


def render(
    result: Result, history: Sequence[PastRun] = (), thumbnails: Mapping[str, str] | None = None
) -> str:
    """The page, UTF-8 once encoded.

    `history` are earlier runs in any order, with this one in it or not; later ones are left out. `thumbnails`
    maps ids of the worst products to `data:` URLs (`page.thumbnails`); the others are links. Raises
    ValueError for a thumbnail that is another URL.
    """
    sections = _sections(result, _runs(result, history), thumbnails or {})
    body = tag(
        "body",
        _header(result, sections),
        tag("main", *(tag("section", tag("h2", name, id=key), *parts) for key, name, parts in sections)),
        _footer(result),
    )
    return written(tag("html", _head(result), body, lang="en"))


_Section = tuple[str, str, list[Element]]
"""Its id, its heading, and what follows."""


def _runs(result: Result, history: Sequence[PastRun]) -> list[PastRun]:
    own = past_run(result)
    before = {(run.run_at_ms, run.generation): run for run in history if run.run_at_ms <= own.run_at_ms}
    return sorted({**before, (own.run_at_ms, own.generation): own}.values(), key=lambda run: run.run_at_ms)


def _head(result: Result) -> Element:
    css = (files("adgauge.monitor.page") / "page.css").read_text(encoding="utf-8")
    digest = b64encode(hashlib.sha256(css.encode()).digest()).decode()
    policy = f"{_POLICY}; style-src 'sha256-{digest}'"
    word = STATUS[result.verdict.status][1]
    name = f"{word} · {_model(result)} · {day(result.run_at_ms)} · adgauge monitor"
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", http_equiv="x-dns-prefetch-control", content="off"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", name),
        tag("style", css),
    )


def _model(result: Result) -> str:
    generation = f"generation {result.model.generation}"
    return f"{result.model.name}, {generation}" if result.model.name else generation


def _header(result: Result, sections: Sequence[_Section]) -> Element:
    sign, word = STATUS[result.verdict.status]
    links = [tag("li", tag("a", name, href=f"#{key}")) for key, name, _ in sections]
    return tag(
        "header",
        tag(
            "p", "adgauge monitor · ", foreign(_model(result)), f" · {_window(result.window)}", class_="faint"
        ),
        tag(
            "div",
            tag("h1", f"{sign} {word}"),
            tag("p", foreign(result.verdict.headline, 1000)),
            class_=f"verdict {result.verdict.status}",
        ),
        _tiles(result),
        tag("nav", tag("ul", *links), aria_label="Sections"),
    )


def _window(window: Window) -> str:
    return f"labels of {day(window.begins_ms)} to {day(window.ends_ms)}"


def _tiles(result: Result) -> Element:
    figures, coverage = result.overall.figures, result.overall.coverage
    shown = [
        ("PLCC", decimal(figures.plcc.value), interval(figures.plcc)),
        ("pairs", count(figures.n), f"of {count(coverage.labels)} labels"),
        ("compared", share(coverage.share), "of the labels that can decide"),
        ("bias", signed(figures.bias.value), f"stars {interval(figures.bias)}"),
        ("MAE", decimal(figures.mae.value), f"stars {interval(figures.mae)}"),
        ("CES (leaderboard)", decimal(figures.ces_leaderboard.value), interval(figures.ces_leaderboard)),
        ("alarms", count(len(result.alarms)), f"over {count(_judged(result))} judged slices"),
    ]
    tiles = [
        tag("div", tag("dt", name), tag("dd", value, class_="value"), tag("dd", more))
        for name, value, more in shown
    ]
    return tag("dl", *tiles, class_="tiles", aria_label="Key figures of all products")


def _judged(result: Result) -> int:
    return sum(each.judged for each in (result.overall, *result.slices))


def _sections(result: Result, runs: Sequence[PastRun], thumbnails: Mapping[str, str]) -> list[_Section]:
    return [
        ("alarms", "Alarms", _alarms(result)),
        ("figures", "Figures of all products", _figures(result)),
        ("slices", "PLCC by slice", _slices(result)),
        ("trend", "Trend", _trend(result, runs)),
        ("calibration", "Calibration", _calibration(result)),
        ("drift", "Drift, without labels", _drift(result)),
        ("worst", "Worst residuals", _worst(result, thumbnails)),
        ("efficiency", "CES against cost", _efficiency(result)),
        ("coverage", "Coverage", _coverage(result)),
        ("rows", "What was read", _rows(result)),
        ("rules", "Rules", _rules(result)),
    ]


def _said(*words: Node) -> Element:
    return tag("p", *words)


def _alarms(result: Result) -> list[Element]:
    if not result.alarms:
        return [_said("There are no alarms.")]
    return [alarms_table(result.alarms)]


def _figures(result: Result) -> list[Element]:
    figures, confidence = result.overall.figures, result.rules.confidence
    said = f"From {count(figures.n)} pairs; PLCC has Fisher's interval, its error estimated from them."
    if figures.effective_n != figures.n:
        said += f" Weighted, they count as {decimal(figures.effective_n, 0)}."
    parts = [_said(said), figures_table(figures, result.training, confidence)]
    if result.overall.comparisons:
        parts += [
            tag("h3", "Against what came before"),
            comparisons_table(result.overall.comparisons, confidence),
        ]
    return parts


def _slices(result: Result) -> list[Element]:
    floor = result.rules.plcc_floor
    lines = "The dotted line is the PLCC of all products"
    lines += "." if floor is None else f"; the dashed line is the floor, {decimal(floor)}."
    return [
        _said(
            lines,
            " Diamonds alarm. Hollow marks are of slices with fewer than"
            f" {count(result.rules.minimum_pairs)} pairs: nothing is concluded from them.",
        ),
        forest(result),
    ]


def _trend(result: Result, runs: Sequence[PastRun]) -> list[Element]:
    if len(runs) < 2:
        return [_said("This is the first run in the history: there is no trend yet."), runs_table(runs)]
    floor = result.rules.plcc_floor
    alarmed = [
        each for each in dict.fromkeys(alarm.slice for alarm in result.alarms) if each.dimension != OVERALL
    ]
    met = [each for each in alarmed if runs[-1].of(each) is not None]
    small = [_small_trend(runs, each, floor) for each in met[:MOST_SLICE_TRENDS]]
    parts = [tag("figure", trend(runs, result.overall.slice, floor))]
    if small:
        parts += [tag("h3", "Slices that alarm"), tag("div", *small, class_="pair")]
    if len(met) > len(small):
        parts.append(_said(f"{count(len(met) - len(small))} more slices alarm: see the table of slices."))
    return [*parts, tag("h3", "The newest runs"), runs_table(runs[-MOST_RUNS_LISTED:])]


def _small_trend(runs: Sequence[PastRun], wanted: Slice, floor: float | None) -> Element:
    return tag("figure", tag("figcaption", foreign(str(wanted))), trend(runs, wanted, floor, height=180))


def _calibration(result: Result) -> list[Element]:
    if not result.calibration and not result.scatter:
        return [_said("There are no pairs to show.")]
    parts: list[Element] = []
    if result.calibration:
        told = "Mean label by decile of the scores. On the dashed line scores are right on average."
        parts.append(tag("figure", calibration(result.calibration), tag("figcaption", told)))
    if result.scatter:
        told = f"{count(len(result.scatter))} products, larger where more ratings stand behind the label."
        parts.append(tag("figure", scatter(result.scatter), tag("figcaption", told)))
    tables = [calibration_table(result.calibration)] if result.calibration else []
    return [tag("div", *parts, class_="pair"), *tables]


def _drift(result: Result) -> list[Element]:
    reference = result.reference
    if not result.drift:
        return [_said("Nothing was compared.")]
    before = f" against those of {day(reference.begins_ms)} to {day(reference.ends_ms)}" if reference else ""
    alarming = [each for each in result.drift if each.alarming]
    calm = [each for each in result.drift if not each.alarming]
    parts = [_said(f"The newest scores{before}.")]
    if alarming:
        parts.append(drift_table("Drift that alarms", alarming))
    if calm:
        parts += [tag("h3", "Without alarm"), drift_table("Drift without alarm", calm)]
    return parts


def _worst(result: Result, thumbnails: Mapping[str, str]) -> list[Element]:
    if not result.worst:
        return [_said("There are no pairs to show.")]
    said = (
        "Products whose scores are farthest from their labels. A picture that is not on this page is a link."
    )
    return [_said(said), worst_table(result.worst, thumbnails)]


def _efficiency(result: Result) -> list[Element]:
    model, figures = result.model, result.overall.figures
    if model.cost is None or model.cost <= 0:
        return [_said("P and F of the served contract were not given, so there is no cost C and no CES.")]
    told = (
        "Numbers are ranks of Table 1 of the LoViF 2026 report, B its baseline; ◆ is the judged model. Lines"
        " join equal CES: solid in the printed form of E, dashed in the leaderboard's. Those rows were"
        " measured on the challenge's products, this model on yours: compare with care."
    )
    return [
        tag("figure", efficiency_map(model, figures.plcc), tag("figcaption", told)),
        leaderboard_table(result),
    ]


def _coverage(result: Result) -> list[Element]:
    parts = [coverage_bar(result.overall.coverage), coverage_table(result.overall.coverage)]
    if result.slices:
        parts += [tag("h3", "By slice"), coverage_by_slice(result.slices)]
    return parts


def _rows(result: Result) -> list[Element]:
    parts = [sources_table(result.sources)]
    if not result.bad_rows:
        return [*parts, _said("No row was left out.")]
    return [*parts, tag("h3", "Rows left out"), bad_rows_table(result.bad_rows)]


def _rules(result: Result) -> list[Element]:
    model = result.model
    contract = ("contract ", tag("code", foreign(model.contract, 70)), ", ") if model.contract else ()
    previous = "none" if model.previous_generation is None else str(model.previous_generation)
    return [
        _said(f"Judged: {_model(result)}, ", *contract, f"previous generation: {previous}."),
        rules_table(result),
    ]


def _footer(result: Result) -> Element:
    said = f"Run at {moment(result.run_at_ms)} in {decimal(result.took_s, 1)} s. Intervals are of"
    return tag("footer", tag("p", f"{said} {share(result.rules.confidence)} confidence. All times are UTC."))
