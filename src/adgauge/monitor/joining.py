"""Labels beside the scores that were live before them: the as-of join, and what became of every label.

A label's window is the time in which its ratings may have come: from the product's label before it, or the
window's length back. The score that counts is the generation's newest at or before the window's begin. Of
several labels of a product in one period the newest counts. Item fields that a label lacks come from `items`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from adgauge.monitor.engine import Engine
from adgauge.monitor.plans import ITEM_COLUMNS
from adgauge.monitor.result import Coverage, Window
from adgauge.monitor.slices import Dimension

Floats = npt.NDArray[np.float64]


class Fate(IntEnum):
    """What became of a label; named as in `Coverage`."""

    COMPARED = 0
    TRAINING = 1
    SCORED_LATER = 2
    OTHER_GENERATION = 3
    REJECTED = 4
    DELETED = 5
    NEVER_SCORED = 6


@dataclass(frozen=True, slots=True)
class Labelled:
    """The labels of one period [n]: what became of each, and its numbers. NaN: there is none.

    `previous` are scores of the previous generation; `numbers` are of the dimensions, by name.
    """

    fate: npt.NDArray[np.uint8]
    score: Floats
    previous: Floats
    label: Floats
    rating_number: Floats
    numbers: Mapping[str, npt.NDArray[np.uint16]]

    def coverage(self, at: npt.NDArray[np.intp] | slice = slice(None)) -> Coverage:
        """How many of the labels at these positions met each fate."""
        counts = np.bincount(self.fate[at], minlength=len(Fate)).tolist()
        return Coverage(labels=sum(counts), **{fate.name.lower(): counts[fate] for fate in Fate})


def join(
    engine: Engine,
    *,
    window: Window,
    reference: Window | None,
    window_ms: int,
    generation: int,
    previous: int | None,
) -> None:
    """Make the table `joined` of `labels` and `scores`: one row a product and period, with its fate."""
    _due(engine, window, reference, window_ms)
    _timely(engine, generation, previous)
    _explain(engine, generation)
    engine.run("""CREATE OR REPLACE TABLE joined AS
        SELECT t.*, CASE
            WHEN training.id IS NOT NULL THEN 1
            WHEN t.score IS NOT NULL THEN 0
            WHEN t.deleted THEN 5
            WHEN u.other_in_time THEN 3
            WHEN u.later THEN 2
            WHEN u.rejected THEN 4
            WHEN u.other THEN 3
            WHEN u.deleted THEN 5
            ELSE 6 END::UTINYINT AS fate
        FROM timely t
        LEFT JOIN unscored u ON t.score IS NULL AND t.id = u.id AND t.period = u.period
        LEFT JOIN training ON t.id = training.id""")
    for table in ("due", "timely", "unscored"):
        engine.run(f"DROP TABLE {table}")


def labelled(engine: Engine, period: int, dimensions: Sequence[Dimension]) -> Labelled:
    """Take the labels of a period out of `joined`: 0 is the judged window, 1 the reference."""
    chosen = "".join(f", ({each.sql})::USMALLINT AS dimension_{n}" for n, each in enumerate(dimensions))
    found = engine.arrays(
        f"SELECT fate, score, previous, rating, rating_number::DOUBLE AS rating_number{chosen}"
        " FROM joined WHERE period = $1",
        [period],
    )
    return Labelled(
        fate=np.asarray(found["fate"], np.uint8),
        score=_floats(found["score"]),
        previous=_floats(found["previous"]),
        label=_floats(found["rating"]),
        rating_number=_floats(found["rating_number"]),
        numbers={
            each.name: np.asarray(found[f"dimension_{n}"], np.uint16) for n, each in enumerate(dimensions)
        },
    )


def _floats(column: Any) -> Floats:
    filled: Floats = np.ma.filled(np.ma.asarray(column, np.float64), np.nan)
    return filled


def _due(engine: Engine, window: Window, reference: Window | None, window_ms: int) -> None:
    """The labels that count, each with its period and the begin of its window."""
    periods = [(0, window), *([(1, reference)] if reference is not None else [])]
    whens = " ".join(
        f"WHEN observed_ms >= {each.begins_ms} AND observed_ms < {each.ends_ms} THEN {number}"
        for number, each in periods
    )
    fields = ", ".join(f"COALESCE(d.{name}, i.{name}) AS {name}" for name in ITEM_COLUMNS)
    engine.run(f"""CREATE OR REPLACE TEMP TABLE due AS
        SELECT d.id, d.rating, d.rating_number, d.period::UTINYINT AS period, {fields},
            COALESCE(d.before_ms, d.observed_ms - {window_ms}) AS begins_ms
        FROM (
            SELECT *, lag(observed_ms) OVER product AS before_ms, lead(period) OVER product AS next_period
            FROM (SELECT *, CASE {whens} END AS period FROM labels WHERE observed_ms < {window.ends_ms})
            WINDOW product AS (PARTITION BY id ORDER BY observed_ms)
        ) d LEFT JOIN items i ON d.id = i.id
        WHERE d.period IS NOT NULL AND d.period IS DISTINCT FROM d.next_period""")


def _timely(engine: Engine, generation: int, previous: int | None) -> None:
    """`due` with the scores that were live when its windows began. A deletion is no score."""
    before, joined = "NULL::DOUBLE", ""
    if previous is not None:
        before = "p.score"
        joined = f"""ASOF LEFT JOIN (SELECT id, at_ms, score FROM scores WHERE generation = {previous}) p
            ON d.id = p.id AND d.begins_ms >= p.at_ms"""
    engine.run(f"""CREATE OR REPLACE TEMP TABLE timely AS
        SELECT d.*, s.score, s.flags, COALESCE(s.deleted, false) AS deleted, {before} AS previous
        FROM due d
        ASOF LEFT JOIN (
            SELECT id, at_ms, score, flags, deleted FROM scores WHERE generation = {generation}
        ) s ON d.id = s.id AND d.begins_ms >= s.at_ms
        {joined}""")


def _explain(engine: Engine, generation: int) -> None:
    """What else is known of products whose label has no score in time."""
    engine.run(f"""CREATE OR REPLACE TEMP TABLE unscored AS
        SELECT u.id, u.period,
            COALESCE(bool_or(s.generation = {generation} AND NOT s.deleted), false) AS later,
            COALESCE(
                bool_or(s.generation <> {generation} AND NOT s.deleted AND s.at_ms <= u.begins_ms), false
            ) AS other_in_time,
            COALESCE(bool_or(s.generation <> {generation} AND NOT s.deleted), false) AS other,
            COALESCE(bool_or(s.deleted), false) AS deleted,
            bool_or(r.id IS NOT NULL) AS rejected
        FROM timely u
        LEFT JOIN scores s ON u.id = s.id
        LEFT JOIN rejected r ON u.id = r.id
        WHERE u.score IS NULL GROUP BY u.id, u.period""")
