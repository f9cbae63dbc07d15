"""How well scores foretell labels in each slice, against the reference window and the generation before."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from adgauge.monitor.joining import Fate, Floats, Labelled
from adgauge.monitor.result import (
    ALL,
    UNDEFINED,
    CalibrationBin,
    Comparison,
    Coverage,
    Figure,
    Figures,
    ScatterPoint,
    Slice,
    finite,
)
from adgauge.monitor.slices import Dimension, Indices
from adgauge.quality.calibration import absolute_error, bias, calibration
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.correlation import (
    Correlation,
    Difference,
    change_interval,
    correlation,
    difference,
    difference_interval,
    plcc_interval,
    rank_correlation,
)
from adgauge.quality.metrics import FEWEST_PAIRS, MetricWarning, effective_n, plcc_plus
from adgauge.quality.significance import dropped, worse

SCATTER_POINTS = 500
GENERATION = "generation"
"""The dimension under which the previous generation's figures on the same labels stand."""


@dataclass(frozen=True, slots=True)
class Method:
    """How figures are made: `cost` is C of Eq. (2), None without a contract; `weighted` by rating_number."""

    minimum_pairs: int
    confidence: float
    tolerated_drop: float
    cost: float | None
    weighted: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """Scores [n] and labels [n] that are compared; `previous` [n], NaN where that generation has none."""

    scores: Floats
    labels: Floats
    previous: Floats
    weights: Floats | None

    @property
    def n(self) -> int:
        """How many there are."""
        return self.scores.size


@dataclass(frozen=True, slots=True)
class _Job:
    """A slice, and where its members are found; without a dimension all are."""

    slice: Slice
    dimension: Dimension | None = None
    place: int = 0

    def members(self, of: Labelled) -> Indices:
        if self.dimension is None:
            return np.arange(of.label.size)
        return self.dimension.at(of.numbers[self.dimension.name], self.place)


_WHOLE = _Job(ALL)


@dataclass(frozen=True, slots=True)
class Measured:
    """One slice. `now` is its PLCC with its error, for tests: of scores that are all the same while labels
    differ it is 0, without error. Comparisons are there where both sides were judged.
    """

    slice: Slice
    coverage: Coverage
    figures: Figures
    judged: bool
    now: Correlation
    comparisons: tuple[Comparison, ...]


def measure_all(
    labelled: Labelled,
    reference: Labelled | None,
    dimensions: Sequence[Dimension],
    method: Method,
    threads: int = 1,
) -> list[Measured]:
    """All pairs first, then the slices of each dimension, on so many threads."""

    def measured(job: _Job) -> Measured:
        return _measured(labelled, job, before, method, whole)

    with silent(), ThreadPoolExecutor(threads) as pool:
        before = _correlations(pool, reference, dimensions, method) if reference is not None else {}
        whole = _measured(labelled, _WHOLE, before, method, None)
        return [whole, *pool.map(measured, _jobs(labelled, dimensions))]


def figures_of(pairs: Pairs, method: Method) -> tuple[Figures, Correlation]:
    """All figures of some pairs, and `Measured.now`; what has no ordinary answer is undefined."""
    scores, labels, weights = pairs.scores, pairs.labels, pairs.weights
    now = correlation(scores, labels, weights)
    plcc = Figure.of(now.plcc, plcc_interval(now, method.confidence))
    ranked = rank_correlation(scores, labels, weights)
    n = pairs.n if weights is None else effective_n(scores, labels, weights)
    error, level = (each(scores, labels, weights, method.confidence) for each in (absolute_error, bias))
    return (
        Figures(
            n=pairs.n,
            effective_n=n,
            plcc=plcc,
            plcc_plus=_scaled(plcc, pairs.n, 1.0),
            srcc=Figure.of(ranked.plcc, plcc_interval(ranked, method.confidence)),
            mae=Figure.of(error.value, error.interval),
            bias=Figure.of(level.value, level.interval),
            ces_printed=_ces(plcc, pairs.n, method.cost, CesForm.PRINTED),
            ces_leaderboard=_ces(plcc, pairs.n, method.cost, CesForm.LEADERBOARD),
        ),
        _telling_nothing(now, labels, weights),
    )


def training_figures(labelled: Labelled, method: Method) -> Figures | None:
    """Of items that the model was trained on; None where none of them has a score and a label."""
    at = np.flatnonzero((labelled.fate == Fate.TRAINING) & np.isfinite(labelled.score))
    with silent():
        return figures_of(_pairs(labelled, at, method), method)[0] if at.size else None


def previous_measured(labelled: Labelled, generation: int, method: Method) -> Measured | None:
    """What the previous generation's scores, live at the same time, say of the same labels."""
    decides = labelled.fate != Fate.TRAINING
    at = np.flatnonzero(decides & np.isfinite(labelled.previous))
    if at.size < method.minimum_pairs:
        return None
    pairs = dataclasses.replace(_pairs(labelled, at, method), scores=labelled.previous[at])
    with silent():
        found, now = figures_of(pairs, dataclasses.replace(method, cost=None))
    coverage = Coverage(labels=at.size, compared=at.size)
    return Measured(Slice(dimension=GENERATION, value=str(generation)), coverage, found, True, now, ())


def calibration_of(labelled: Labelled, method: Method) -> tuple[CalibrationBin, ...]:
    """Labels against scores by decile of all compared pairs."""
    pairs = _pairs(labelled, _compared(labelled, slice(None)), method)
    with silent():
        bins = calibration(pairs.scores, pairs.labels, pairs.weights, confidence=method.confidence)
    return tuple(
        CalibrationBin(
            low=each.low,
            high=each.high,
            n=each.label.pairs,
            mean_score=each.mean_score,
            label=Figure.of(each.label.value, each.label.interval),
        )
        for each in bins
    )


def scatter_of(labelled: Labelled, rng: np.random.Generator) -> tuple[ScatterPoint, ...]:
    """A sample of the compared pairs, without replacement."""
    at = _compared(labelled, slice(None))
    if at.size > SCATTER_POINTS:
        at = np.sort(rng.choice(at, SCATTER_POINTS, replace=False, shuffle=False))
    columns = zip(
        labelled.score[at].tolist(),
        labelled.label[at].tolist(),
        labelled.rating_number[at].tolist(),
        strict=True,
    )
    return tuple(
        ScatterPoint(score=score, label=label, rating_number=None if math.isnan(count) else int(count))
        for score, label, count in columns
    )


@contextmanager
def silent() -> Iterator[None]:
    """What has no ordinary answer is None in the document; nobody need be warned as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        yield


def _jobs(labelled: Labelled, dimensions: Sequence[Dimension]) -> list[_Job]:
    return [
        _Job(of, dimension, place)
        for dimension in dimensions
        for of, place in dimension.occurring(labelled.numbers[dimension.name])
    ]


def _measured(
    labelled: Labelled, job: _Job, before: Mapping[Slice, Correlation], method: Method, whole: Measured | None
) -> Measured:
    """A slice that holds all pairs has the figures of the `whole`."""
    members = job.members(labelled)
    pairs = _pairs(labelled, _compared(labelled, members), method)
    coverage = labelled.coverage(members)
    if pairs.n < method.minimum_pairs:
        n = effective_n(pairs.scores, pairs.labels, pairs.weights)
        unknown = Correlation(math.nan, math.nan, pairs.n)
        return Measured(job.slice, coverage, Figures(n=pairs.n, effective_n=n), False, unknown, ())
    same = whole is not None and whole.figures.n == pairs.n
    found, now = (whole.figures, whole.now) if whole is not None and same else figures_of(pairs, method)
    comparisons = tuple(_comparisons(pairs, now, before.get(job.slice), method))
    return Measured(job.slice, coverage, found, True, now, comparisons)


def _comparisons(
    pairs: Pairs, now: Correlation, before: Correlation | None, method: Method
) -> Iterator[Comparison]:
    if before is not None:
        yield Comparison(
            against="reference_window",
            n=before.pairs,
            plcc=Figure.of(before.plcc, plcc_interval(before, method.confidence)),
            difference=Figure.of(now.plcc - before.plcc, change_interval(now, before, method.confidence)),
            p_value=finite(dropped(now, before, method.tolerated_drop)),
        )
    at = np.flatnonzero(np.isfinite(pairs.previous))
    if at.size >= method.minimum_pairs:
        yield _against_previous(pairs, at, method)


def _against_previous(pairs: Pairs, at: Indices, method: Method) -> Comparison:
    """On the items that both generations had scored."""
    weights = None if pairs.weights is None else pairs.weights[at]
    labels = pairs.labels[at]
    apart = difference(pairs.scores[at], pairs.previous[at], labels, weights)
    theirs = correlation(pairs.previous[at], labels, weights)
    ours = _telling_nothing(Correlation(apart.candidate, math.nan, at.size), labels, weights)
    if math.isnan(apart.candidate) and not math.isnan(ours.plcc):
        apart = Difference(ours.plcc, theirs.plcc, theirs.error, at.size)
    return Comparison(
        against="previous_generation",
        n=at.size,
        plcc=Figure.of(theirs.plcc, plcc_interval(theirs, method.confidence)),
        difference=Figure.of(apart.value, difference_interval(apart, method.confidence)),
        p_value=finite(worse(_tolerant(apart, method.tolerated_drop))),
    )


def _telling_nothing(of: Correlation, labels: Floats, weights: Floats | None) -> Correlation:
    """Where there is no PLCC although labels differ, scores are all the same: as bad as no correlation."""
    counted = labels if weights is None else labels[weights > 0]
    if math.isnan(of.plcc) and counted.size >= FEWEST_PAIRS and np.ptp(counted) > 0:
        return Correlation(0.0, 0.0, of.pairs)
    return of


def _tolerant(of: Difference, tolerated: float) -> Difference:
    return dataclasses.replace(of, candidate=of.candidate + tolerated)


def _correlations(
    pool: ThreadPoolExecutor, reference: Labelled, dimensions: Sequence[Dimension], method: Method
) -> dict[Slice, Correlation]:
    """Of the reference window's slices that are large enough."""

    def correlated(job: _Job) -> tuple[Slice, Correlation] | None:
        pairs = _pairs(reference, _compared(reference, job.members(reference)), method)
        if pairs.n < method.minimum_pairs:
            return None
        return job.slice, correlation(pairs.scores, pairs.labels, pairs.weights)

    found = pool.map(correlated, [_WHOLE, *_jobs(reference, dimensions)])
    return dict(each for each in found if each is not None)


def _compared(labelled: Labelled, members: Indices | slice) -> Indices:
    if isinstance(members, slice):
        return np.flatnonzero(labelled.fate == Fate.COMPARED)
    found: Indices = members[labelled.fate[members] == Fate.COMPARED]
    return found


def _pairs(labelled: Labelled, at: Indices, method: Method) -> Pairs:
    """A pair whose number of ratings nobody knows has no weight where weights are asked for."""
    weights = np.nan_to_num(labelled.rating_number[at], nan=0.0) if method.weighted else None
    return Pairs(labelled.score[at], labelled.label[at], labelled.previous[at], weights)


def _ces(plcc: Figure, n: int, cost: float | None, form: CesForm) -> Figure:
    return UNDEFINED if cost is None else _scaled(plcc, n, REPORT_BUDGET.efficiency(cost, form))


def _scaled(plcc: Figure, n: int, factor: float) -> Figure:
    """PLCC⁺ times a factor, which keeps the order of values and so of an interval's ends."""
    if n < FEWEST_PAIRS:
        return UNDEFINED
    ends = [None if end is None else plcc_plus(end) * factor for end in (plcc.low, plcc.high)]
    return Figure(value=plcc_plus(plcc.value or 0.0) * factor, low=ends[0], high=ends[1])
