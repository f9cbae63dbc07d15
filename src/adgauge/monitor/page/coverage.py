"""What became of the labels: one fate each."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from adgauge.monitor.page.charts import percent
from adgauge.monitor.page.markup import foreign, tag
from adgauge.monitor.page.tables import row, table
from adgauge.monitor.page.wording import count, share
from adgauge.monitor.result import Coverage, SliceFigures

_FATES = (
    ("compared", "compared", "a score was live before the label's window: what all figures rest on"),
    ("training", "in the training set", "reported apart, never decides"),
    ("scored_later", "scored later", "only after the label's window had begun"),
    ("other_generation", "other generation", "in time, but not by the generation that is judged"),
    ("rejected", "rejected", "its newest record went to the dead letters"),
    ("deleted", "deleted", "the product was deleted before the label's window"),
    ("never_scored", "never scored", "no score in any generation"),
)


def coverage_table(coverage: Coverage) -> Element:
    """What became of the labels, each in exactly one row."""
    rows = [
        row(
            tag("span", tag("span", "", class_=f"swatch {name}", aria_hidden="true"), shown),
            count(getattr(coverage, name)),
            share(_part(getattr(coverage, name), coverage.labels)),
            words,
            numbers=range(2),
        )
        for name, shown, words in _FATES
    ]
    rows.append(row("labels", count(coverage.labels), "", "", numbers=range(2), class_="sum"))
    return table("What became of the labels", ("label was", "#labels", "#share", "~what it means"), rows)


def coverage_bar(coverage: Coverage) -> Element:
    """The shares of the table as one bar."""
    begin, drawn = 0.0, []
    for name, shown, _ in _FATES:
        part = 100 * (_part(getattr(coverage, name), coverage.labels) or 0.0)
        title = tag("title", f"{shown}: {count(getattr(coverage, name))}")
        drawn.append(
            tag("rect", title, x=percent(begin), width=percent(part), height=18, class_=f"fate {name}")
        )
        begin += part
    words = f"{share(coverage.share)} of the labels that can decide were compared."
    return tag("svg", tag("title", words), *drawn, class_="chart bar", role="img", width="100%", height=18)


def coverage_by_slice(slices: Sequence[SliceFigures]) -> Element:
    """The same counts, one slice a row."""
    rows = [
        row(
            foreign(str(each.slice)),
            count(each.coverage.labels),
            *(count(getattr(each.coverage, name)) for name, _, _ in _FATES),
            share(each.coverage.share),
            numbers=range(len(_FATES) + 2),
        )
        for each in slices
    ]
    columns = ("slice", "#labels", *(f"#{shown}" for _, shown, _ in _FATES), "#share compared")
    return table("Coverage by slice", columns, rows)


def _part(number: int, of: int) -> float | None:
    return min(1.0, number / of) if of else None
