"""What changed in scores and products since the reference window, without labels, slice by slice, in words.

What was last written of each product in the judged window is held against that in the reference window: of
the judged generation where it wrote some in both, else (for all but the scores themselves) of all. A drift is
alarming where it is both large and, corrected for all that was tested, no chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from adgauge.monitor.engine import Engine
from adgauge.monitor.plans import FLAGS, ITEM_COLUMNS
from adgauge.monitor.result import ALL, Drift, DriftKind, Figure, Slice, Window, finite
from adgauge.monitor.settings import DAY_MS, RunRules
from adgauge.monitor.slices import CROSS, Dimension
from adgauge.quality.drift import (
    ShareChange,
    binned,
    chi_square,
    kolmogorov_smirnov,
    psi,
    quantile_edges,
    share_change,
)
from adgauge.quality.metrics import Array
from adgauge.quality.significance import benjamini_hochberg
from adgauge.records import Flag

SCORE_STEP = 0.01
"""Stars: scores are counted in steps of it."""
LENGTH_STEPS = 8
"""Text lengths are counted in so many steps for each doubling."""
_NO_IMAGE = 1 << FLAGS.index(Flag.NO_IMAGE)
_WHOLE = Dimension(ALL.dimension, (ALL.value,), "0")
_SCORE_BIN = f"round(score / {SCORE_STEP})::INTEGER"
_LENGTH_BIN = f"floor(log2(1 + text_length) * {LENGTH_STEPS})::INTEGER"

Counts = dict[int, dict[int, tuple[Array, Array]]]
"""Number of a slice → period (0 now, 1 before) → values, ascending, and how often each occurs."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A drift before it is known what is alarming; `large`: it would matter if it is no chance."""

    drift: Drift
    large: bool
    changed: str
    condition: str


@dataclass(frozen=True, slots=True)
class _Step:
    """The first day of something new, and the share since then."""

    begins_ms: int
    share: float


def drift_of(
    engine: Engine,
    dimensions: Sequence[Dimension],
    *,
    window: Window,
    reference: Window,
    generation: int,
    rules: RunRules,
) -> tuple[Drift, ...]:
    """Everything that was compared, in the order of `DriftKind` and slices; missing pictures by reason only
    where that is alarming. Needs the tables `scores`, `items` and `labels`.
    """
    own = _lately(engine, window, reference, generation)
    usable = [_WHOLE, *(each for each in dimensions if set(each.name.split(CROSS)) <= set(ITEM_COLUMNS))]
    found = [
        *(
            each
            for of in usable
            if own
            for each in _distributions(engine, of, DriftKind.SCORE, _SCORE_BIN, rules)
        ),
        *(each for of in usable for each in _images(engine, of, rules)),
        *(
            each
            for of in usable
            for each in _distributions(engine, of, DriftKind.TEXT_LENGTH, _LENGTH_BIN, rules)
        ),
        *(each for of in usable if of.name == "main_category" for each in _mix(engine, of, rules)),
    ]
    pairs = _concluded(engine, found, rules)
    engine.run("DROP TABLE lately")
    return pairs


def _lately(engine: Engine, window: Window, reference: Window, generation: int) -> bool:
    """Make `lately`: of each product the newest score in each window, with its item's fields; whether all are
    the generation's. One that is scored every hour is no more of the catalog than another.
    """
    whens = " ".join(
        f"WHEN at_ms >= {each.begins_ms} AND at_ms < {each.ends_ms} THEN {number}"
        for number, each in enumerate((window, reference))
    )
    fields = ", ".join(ITEM_COLUMNS)
    chosen = ", ".join(f"any_value({name}) AS {name}" for name in ITEM_COLUMNS)
    own = bool(
        engine.one(
            f"""SELECT count(DISTINCT CASE {whens} END) = 2 FROM scores
            WHERE generation = {generation} AND NOT deleted"""
        )[0]
    )
    engine.run(f"""CREATE OR REPLACE TABLE lately AS
        WITH written AS (
            SELECT id, period, max(at_ms) AS at_ms, unnest(arg_max(said, at_ms)) FROM (
                SELECT id, at_ms, CASE {whens} END AS period,
                    {{'score': score, 'flags': flags, 'image_reason': image_reason}} AS said
                FROM scores WHERE NOT deleted {f"AND generation = {generation}" if own else ""}
            ) WHERE period IS NOT NULL GROUP BY id, period
        ), known AS (
            SELECT id, {fields} FROM items
            UNION ALL
            SELECT id, {chosen} FROM labels ANTI JOIN items USING (id) GROUP BY id
        )
        SELECT w.*, {fields} FROM written w LEFT JOIN known USING (id)""")
    return own


def _distributions(
    engine: Engine, of: Dimension, kind: DriftKind, bin_sql: str, rules: RunRules
) -> Iterator[_Found]:
    counts: Counts = {}
    for number, period, values, often in engine.rows(
        f"""SELECT number, period, list(bin ORDER BY bin), list(n ORDER BY bin) FROM (
            SELECT {of.sql} AS number, period, {bin_sql} AS bin, count(*) AS n FROM lately GROUP BY ALL
        ) WHERE bin IS NOT NULL GROUP BY ALL ORDER BY ALL"""
    ):
        counts.setdefault(number, {})[period] = np.asarray(values, float), np.asarray(often, float)
    for number, periods in counts.items():
        rows = [int(periods[each][1].sum()) if each in periods else 0 for each in (0, 1)]
        if min(rows) >= rules.minimum_pairs:
            yield _distribution(of, number, kind, periods, rows, rules)


def _distribution(
    of: Dimension,
    number: int,
    kind: DriftKind,
    periods: Mapping[int, tuple[Array, Array]],
    rows: Sequence[int],
    rules: RunRules,
) -> _Found:
    (now, now_often), (before, before_often) = periods[0], periods[1]
    edges = quantile_edges(before, before_often)
    index = psi(binned(before, edges, before_often), binned(now, edges, now_often))
    values = np.union1d(now, before)
    spread = [np.zeros(values.size), np.zeros(values.size)]
    for counts, places, often in zip(spread, (before, now), (before_often, now_often), strict=True):
        counts[np.searchsorted(values, places)] = often
    change = kolmogorov_smirnov(*spread)
    slice_ = Slice(dimension=of.name, value=of.values[number])
    means = [_mean(kind, places, often) for places, often in ((before, before_often), (now, now_often))]
    name, unit = ("scores", "stars") if kind is DriftKind.SCORE else ("texts", "characters")
    drift = Drift(
        kind=kind,
        slice=slice_,
        n_before=rows[1],
        n_after=rows[0],
        psi=finite(index),
        ks=finite(change.statistic),
        p_value=finite(change.p_value),
        alarming=False,
        words=f"{_name(slice_)}: {name} not shown to differ much (PSI {index:.2f})",
    )
    changed = f"{_name(slice_)}: {name} changed, on average {means[0]} → {means[1]} {unit} (PSI {index:.2f})"
    return _Found(drift, index >= rules.psi_limit, changed, f"({of.sql}) = {number}")


def _mean(kind: DriftKind, values: Array, often: Array) -> str:
    mean = float(values @ often / often.sum())
    return f"{mean * SCORE_STEP:.2f}" if kind is DriftKind.SCORE else f"{2 ** (mean / LENGTH_STEPS) - 1:.0f}"


def _images(engine: Engine, of: Dimension, rules: RunRules) -> Iterator[_Found]:
    rows: dict[int, list[int]] = {}
    missing: dict[tuple[int, str | None], list[int]] = {}
    for number, period, reason, without, n in engine.rows(
        f"""SELECT {of.sql} AS number, period, CASE WHEN flags & {_NO_IMAGE} <> 0
                THEN COALESCE(image_reason, 'unknown') END AS reason, reason IS NOT NULL, count(*)
            FROM lately GROUP BY ALL ORDER BY ALL"""
    ):
        rows.setdefault(number, [0, 0])[period] += n
        missing.setdefault((number, None), [0, 0])
        if without:
            missing[number, None][period] += n
            missing.setdefault((number, reason), [0, 0])[period] += n
    for (number, reason), (now, before) in missing.items():
        if min(rows[number]) >= rules.minimum_pairs:
            slice_ = Slice(dimension=of.name, value=of.values[number])
            change = share_change(before, rows[number][1], now, rows[number][0], rules.confidence)
            yield _missing(slice_, reason, change, rows[number], rules, f"({of.sql}) = {number}")


def _missing(
    of: Slice, reason: str | None, change: ShareChange, rows: Sequence[int], rules: RunRules, condition: str
) -> _Found:
    because = "" if reason is None else f" ({reason})"
    changed = f"{_name(of)}: images missing{because} {_percent(change.before)} → {_percent(change.after)}"
    drift = Drift(
        kind=DriftKind.IMAGES_MISSING,
        slice=of,
        detail=reason,
        n_before=rows[1],
        n_after=rows[0],
        before=finite(change.before),
        after=finite(change.after),
        difference=Figure.of(change.difference, change.interval),
        p_value=finite(change.p_value),
        alarming=False,
        words=f"{changed}, no alarm",
    )
    return _Found(drift, abs(change.difference) >= rules.share_limit, changed, condition)


def _mix(engine: Engine, of: Dimension, rules: RunRules) -> Iterator[_Found]:
    counts = np.zeros((2, len(of.values)))
    for period, number, n in engine.rows(
        f"SELECT period, {of.sql} AS number, count(*) FROM lately GROUP BY ALL"
    ):
        counts[period, number] = n
    rows = counts.sum(axis=1)
    if rows.min() < rules.minimum_pairs:
        return
    shares = counts / rows[:, None]
    most = int(np.argmax(np.abs(shares[0] - shares[1])))
    moved = f"{of.values[most]} {_percent(shares[1, most])} → {_percent(shares[0, most])}"
    index, change = psi(counts[1], counts[0]), chi_square(counts[1], counts[0])
    drift = Drift(
        kind=DriftKind.CATEGORY_MIX,
        slice=ALL,
        n_before=int(rows[1]),
        n_after=int(rows[0]),
        psi=finite(index),
        p_value=finite(change.p_value),
        alarming=False,
        words=f"{ALL}: categories not shown to differ much (PSI {index:.2f})",
    )
    yield _Found(
        drift, index >= rules.psi_limit, f"{ALL}: category mix changed, {moved} (PSI {index:.2f})", "true"
    )


def _concluded(engine: Engine, found: Sequence[_Found], rules: RunRules) -> tuple[Drift, ...]:
    p_values = [math.nan if each.drift.p_value is None else each.drift.p_value for each in found]
    corrected = benjamini_hochberg(p_values).tolist()
    concluded = []
    for each, q_value in zip(found, corrected, strict=True):
        alarming = each.large and q_value <= rules.false_discovery_rate
        updated: dict[str, object] = {"q_value": finite(q_value), "alarming": alarming}
        if alarming:
            since = _since(engine, each) if each.drift.kind is DriftKind.IMAGES_MISSING else None
            updated |= {
                "since_ms": since and since.begins_ms,
                "words": f"{each.changed}{_day(since)}",
            }
        if alarming or each.drift.detail is None:
            concluded.append(each.drift.model_copy(update=updated))
    return tuple(concluded)


def _since(engine: Engine, found: _Found) -> _Step | None:
    """The day from which on pictures are missing as they are: where a step fits the daily shares best."""
    of_reason = "" if found.drift.detail is None else " AND COALESCE(image_reason, 'unknown') = $1"
    days = engine.rows(
        f"""SELECT at_ms // {DAY_MS}, count(*), count(*) FILTER (flags & {_NO_IMAGE} <> 0{of_reason})
        FROM lately WHERE {found.condition} GROUP BY 1 ORDER BY 1""",
        [] if found.drift.detail is None else [found.drift.detail],
    )
    rows, hits = (np.cumsum([day[column] for day in days], dtype=float) for column in (1, 2))
    if len(days) < 2:
        return None
    fits = _likelihood(hits[:-1], rows[:-1]) + _likelihood(hits[-1] - hits[:-1], rows[-1] - rows[:-1])
    at = int(np.argmax(fits))
    return _Step(int(days[at + 1][0]) * DAY_MS, float((hits[-1] - hits[at]) / (rows[-1] - rows[at])))


def _likelihood(hits: Array, rows: Array) -> Array:
    """The largest log-likelihood of so many hits among so many rows."""
    share = np.clip(hits / rows, 1e-12, 1 - 1e-12)
    fit: Array = hits * np.log(share) + (rows - hits) * np.log(1 - share)
    return fit


def _name(of: Slice) -> str:
    return str(of) if of == ALL else of.value if of.dimension == "main_category" else str(of)


def _percent(share: float) -> str:
    return f"{share:.1%}" if 0 < share < 0.01 else f"{share:.0%}"


def _day(since: _Step | None) -> str:
    """The share of a window in which it changed is not the one since then."""
    if since is None:
        return ""
    return f", {_percent(since.share)} since {datetime.fromtimestamp(since.begins_ms / 1000, UTC):%a %-d %b}"
