"""The PLCC of every slice with its interval, one row each: a table that is a forest plot."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from adgauge.monitor.page.charts import Scale, chart, dot, line, percent, words_at
from adgauge.monitor.page.markup import foreign, tag
from adgauge.monitor.page.wording import ALARMS, NOTHING, count, decimal, interval, probability, signed
from adgauge.monitor.result import AlarmKind, Result, Slice, SliceFigures

_ROW_PX = 30
_MIDDLE_PX = _ROW_PX / 2
_COLUMNS = ("slice", "PLCC with interval", "PLCC", "pairs", "Δ to reference", "judgement")
_MOST_TICKS = 7


def forest(result: Result) -> Element:
    """A table: a group of rows a dimension, in the order of the document, under the row of all products.

    Roles are written out because on narrow screens its rows are laid out as blocks, and browsers then forget
    that they are a table's.
    """
    scale = _scale(result)
    alarms = alarms_by_slice(result)
    head = tag("thead", _head(scale), role="rowgroup")
    body = [_group(None, [result.overall], result, scale, alarms)]
    body += [_group(name, rows, result, scale, alarms) for name, rows in by_dimension(result.slices)]
    return tag("table", head, *body, class_="forest", role="table", aria_label="PLCC by slice")


def by_dimension(slices: Sequence[SliceFigures]) -> Iterator[tuple[str, list[SliceFigures]]]:
    """Rows by dimension, in the order in which dimensions first occur."""
    groups: dict[str, list[SliceFigures]] = {}
    for each in slices:
        groups.setdefault(each.slice.dimension, []).append(each)
    yield from groups.items()


def alarms_by_slice(result: Result) -> Mapping[Slice, Sequence[AlarmKind]]:
    """Why each slice alarms, each reason once."""
    kinds: dict[Slice, dict[AlarmKind, None]] = {}
    for alarm in result.alarms:
        kinds.setdefault(alarm.slice, {})[alarm.kind] = None
    return {where: list(found) for where, found in kinds.items()}


def _scale(result: Result) -> Scale:
    figures = [each.figures.plcc for each in (result.overall, *result.slices)]
    ends = [end for each in figures for end in (each.value, each.low, each.high)]
    possible = [max(-1.0, min(1.0, end)) for end in ends if end is not None]
    return Scale.over([*possible, 0.0, result.rules.plcc_floor], 2, 98)


def _head(scale: Scale) -> Element:
    cells = [tag("th", name, scope="col", role="columnheader", class_=_class(name)) for name in _COLUMNS]
    axis = [
        words_at(scale.at(tick), 12, decimal(tick, scale.decimals(_MOST_TICKS)), "tick", "middle")
        for tick in scale.ticks(_MOST_TICKS)
    ]
    cells[1].append(tag("svg", *axis, width="100%", height=16, aria_hidden="true", class_="axis"))
    return tag("tr", *cells, role="row")


def _class(column: str) -> str | None:
    return {"PLCC with interval": "plot", "slice": None, "judgement": None}.get(column, "number")


def _group(
    name: str | None,
    rows: Sequence[SliceFigures],
    result: Result,
    scale: Scale,
    alarms: Mapping[Slice, Sequence[AlarmKind]],
) -> Element:
    heading = (
        tag("th", foreign(name), colspan=len(_COLUMNS), scope="rowgroup", role="rowheader") if name else None
    )
    first = tag("tr", heading, class_="group", role="row") if name else None
    drawn = [_row(each, result, scale, alarms.get(each.slice, ())) for each in rows]
    return tag("tbody", first, *drawn, role="rowgroup")


def _row(each: SliceFigures, result: Result, scale: Scale, alarms: Sequence[AlarmKind]) -> Element:
    state = "alarmed" if alarms else "judged" if each.judged else "small"
    plcc = each.figures.plcc
    against = each.against("reference_window")
    name = "all products" if each is result.overall else each.slice.value
    return tag(
        "tr",
        tag("th", foreign(name), scope="row", role="rowheader"),
        tag("td", _interval(each, result, scale, state), class_="plot", role="cell"),
        _cell(decimal(plcc.value), tag("small", f" {interval(plcc)}") if plcc.low is not None else None),
        _cell(count(each.figures.n), tag("small", " pairs", class_="narrow")),
        _cell(signed(against.difference.value) if against else NOTHING, _q_value(each)),
        tag("td", judgement(each, result, alarms), class_="judgement", role="cell"),
        class_=state,
        role="row",
    )


def _cell(text: str, more: Element | None) -> Element:
    return tag("td", text, more, class_="number", role="cell")


def _q_value(each: SliceFigures) -> Element | None:
    against = each.against("reference_window")
    if against is None or against.q_value is None:
        return None
    return tag("small", f" q {probability(against.q_value)}")


def judgement(each: SliceFigures, result: Result, alarms: Sequence[AlarmKind]) -> str:
    """In words: what was concluded, or why nothing was."""
    if alarms:
        return "▲ " + ", ".join(ALARMS[kind] for kind in alarms)
    if not each.judged:
        return f"too few pairs ({count(each.figures.n)} of {count(result.rules.minimum_pairs)})"
    return "no alarm"


def _interval(each: SliceFigures, result: Result, scale: Scale, state: str) -> Element:
    plcc, words = each.figures.plcc, judgement(each, result, ())
    title = f"PLCC {decimal(plcc.value)} {interval(plcc)}"
    back = [line(scale.at(tick), 0, scale.at(tick), _ROW_PX, "grid") for tick in scale.ticks(_MOST_TICKS)]
    for value, class_ in ((result.rules.plcc_floor, "floor"), (result.overall.figures.plcc.value, "overall")):
        if value is not None:
            back.append(line(scale.at(value), 0, scale.at(value), _ROW_PX, class_))
    if plcc.value is None:
        return chart(title, words, _ROW_PX, *back, words_at(2.5, 19, "not defined", "tick"))
    return chart(title, words, _ROW_PX, *back, *_mark(each, scale, state))


def _mark(each: SliceFigures, scale: Scale, state: str) -> list[Element]:
    plcc = each.figures.plcc
    drawn: list[Element] = []
    if plcc.low is not None and plcc.high is not None:
        low, high = scale.at(plcc.low), scale.at(plcc.high)
        drawn = [line(low, _MIDDLE_PX, high, _MIDDLE_PX, f"interval {state}")]
        drawn += [line(end, _MIDDLE_PX - 4, end, _MIDDLE_PX + 4, f"interval {state}") for end in (low, high)]
    x = scale.at(plcc.value or 0.0)
    if state == "alarmed":
        return [*drawn, _diamond(x)]
    return [*drawn, dot(x, _MIDDLE_PX, 4.5, f"mark {state}")]


def _diamond(x: float) -> Element:
    """Another shape than the rest: alarms are seen without colours too."""
    shape = tag("path", d="M0 -7 L7 0 L0 7 L-7 0 Z", class_="mark alarmed")
    return tag("svg", shape, x=percent(x), y=_MIDDLE_PX, overflow="visible")
