"""The accuracy of scores, and how sure one may be of it.

All functions take `scores` and `labels` of shape [n] and compute in float64. `weights` [n] ≥ 0 say how much
each pair counts, `rating_number` for example; as whole numbers they are repetitions. What has no ordinary
answer has a defined one, and a MetricWarning says so:

    pair with NaN or inf in it              left out
    weight 0                                left out, without a warning
    fewer than 3 pairs (MAE, RMSE: none)    NaN: two points always lie on a line
    scores or labels constant               PLCC and SRCC are NaN; the interval too; PLCC⁺ and CES are 0
    n = 3                                   the Fisher interval is [-1, 1]: its standard error is infinite
    |r| = 1, n > 3                          the Fisher interval is [r, r]

Arrays of different lengths and weights that are negative, NaN or infinite are mistakes: ValueError.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FEWEST_PAIRS = 3
BLOCK_CELLS = 1 << 20
"""Resampled counts that are held at once: 8 MiB, and a few times that while they are drawn."""
_NOTHING = 2.0**-1000  # of the largest weight: products of smaller ones vanish
_ROUNDING = 8 * np.finfo(np.float64).eps


class MetricWarning(UserWarning):
    """A metric had no ordinary answer, or was computed from fewer pairs than it was given."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, both ends included; both are NaN where the statistic is."""

    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Finite pairs with positive weights: three float64 arrays of one length."""

    scores: Array
    labels: Array
    weights: Array


def plcc(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Pearson's linear correlation coefficient, in [-1, 1]. Raises ValueError: see the module."""
    return correlation_of(finite_pairs(scores, labels, weights))


def srcc(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Spearman's rank correlation coefficient: PLCC of ranks, ties at the average of theirs."""
    pairs = finite_pairs(scores, labels, weights)
    scores_ranked, labels_ranked = (ranks(each, pairs.weights)[0] for each in (pairs.scores, pairs.labels))
    return correlation_of(Pairs(scores_ranked, labels_ranked, pairs.weights))


def mae(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Mean absolute error, in the unit of the scores."""
    pairs = finite_pairs(scores, labels, weights)
    return _mean(np.abs(pairs.scores - pairs.labels), pairs.weights)


def rmse(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """Root of the mean squared error, in the unit of the scores."""
    pairs = finite_pairs(scores, labels, weights)
    return math.sqrt(_mean((pairs.scores - pairs.labels) ** 2, pairs.weights))


def plcc_plus(correlation: float) -> float:
    """PLCC⁺, Eq. (1) of the report: max(0, PLCC), and 0 where there is no correlation (NaN)."""
    return correlation if correlation > 0 else 0.0


def effective_n(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> float:
    """How many equally weighted pairs tell as much: (Σw)² / Σw² (Kish 1965); n without weights."""
    w = finite_pairs(scores, labels, weights).weights
    return float(w.sum() ** 2 / (w @ w)) if w.size else 0.0


def fisher_interval(correlation: float, n: float, confidence: float = 0.95) -> Interval:
    """Of a PLCC over `n` pairs (weighted: `effective_n`): tanh(artanh r ± z / √(n − 3)), Fisher 1921.

    Assumes that both are about normal; ratings are skewed, so the bootstrap stands beside it.
    """
    require_confidence(confidence)
    if math.isnan(correlation):
        return UNKNOWN
    if n <= FEWEST_PAIRS:
        return Interval(-1.0, 1.0)
    if abs(correlation) > 1 + _ROUNDING:
        raise ValueError(f"correlation is {correlation}; it must lie in [-1, 1]")
    if abs(correlation) > 1 - _ROUNDING:
        return Interval(correlation, correlation)
    reach = NormalDist().inv_cdf((1 + confidence) / 2) / math.sqrt(n - 3)
    center = math.atanh(correlation)
    return Interval(math.tanh(center - reach), math.tanh(center + reach))


def bootstrap_interval(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Of a PLCC: percentiles over `resamples` draws of n pairs with replacement (Efron 1979).

    A drawn pair keeps its weight. Draws whose scores or labels are constant have no PLCC and are left out.
    The same generator state gives the same interval; memory is bounded by BLOCK_CELLS, or by n where larger.
    """
    require_confidence(confidence)
    if resamples < 1:
        raise ValueError(f"resamples is {resamples}; it must be at least 1")
    pairs = finite_pairs(scores, labels, weights)
    if math.isnan(correlation_of(pairs)):
        return UNKNOWN
    moments = _moments(pairs)
    drawn = np.concatenate([_drawn_plcc(counts @ moments) for counts in _draws(len(moments), resamples, rng)])
    if np.isnan(drawn).all():
        return UNKNOWN
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return Interval(float(low), float(high))


def finite_pairs(scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None) -> Pairs:
    """The pairs that count, as float64; weights are scaled to below 1. Raises ValueError: see the module."""
    x, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape or x.shape != w.shape:
        shapes = f"scores {x.shape}, labels {y.shape}, weights {w.shape}"
        raise ValueError(f"scores, labels and weights must be one-dimensional and equally long, not {shapes}")
    if not (np.isfinite(w) & (w >= 0)).all():
        raise ValueError("weights must be finite numbers, at least 0")
    finite = np.isfinite(x) & np.isfinite(y)
    if left_out := int(np.count_nonzero(~finite)):
        warn(f"{left_out} of {x.size} pairs hold NaN or inf and are left out")
    w = _unit_scaled(w)
    kept = finite & (w > _NOTHING)
    return Pairs(x[kept], y[kept], w[kept])


def correlation_of(pairs: Pairs) -> float:
    """PLCC in [-1, 1]; NaN with a MetricWarning where it is undefined."""
    if undefined := why_undefined(pairs):
        warn(undefined)
        return math.nan
    x, y = (standardized(values, pairs.weights) for values in (pairs.scores, pairs.labels))
    return float(np.clip(np.sum(pairs.weights * x * y), -1.0, 1.0))


def why_undefined(pairs: Pairs) -> str | None:
    """Why these pairs have no correlation, for `warn`; None where they have one."""
    if pairs.scores.size < FEWEST_PAIRS:
        return f"a correlation needs at least {FEWEST_PAIRS} pairs, not {pairs.scores.size}: NaN"
    for name, values in (("scores", pairs.scores), ("labels", pairs.labels)):
        if _is_constant(values):
            return f"{name} are constant, so nothing correlates with them: NaN"
    return None


def _is_constant(values: Array) -> bool:
    """Also when they differ by no more than the rounding of a sum: its correlation would be noise's."""
    scaled = _unit_scaled(values)
    return bool(np.ptp(scaled) <= _ROUNDING * np.abs(scaled).max())


def standardized(values: Array, weights: Array) -> Array:
    """Centred and divided so that Σ w·v² = 1. Nothing overflows, and a large offset takes no digits away."""
    centred = _unit_scaled(values)
    for _ in range(2):  # the mean of n large numbers is rounded; that of what it leaves is exact enough
        centred = centred - np.sum(weights * centred) / np.sum(weights)
    centred = _unit_scaled(centred)
    scaled: Array = centred / math.sqrt(float(np.sum(weights * centred * centred)))
    return scaled


def _unit_scaled(values: Array) -> Array:
    """Divided by a power of two, which rounds nothing, so that the largest lies in [0.5, 1)."""
    largest = float(np.abs(values).max(initial=0.0))
    scaled: Array = np.ldexp(values, -math.frexp(largest)[1])
    return scaled


def ranks(values: Array, weights: Array) -> tuple[Array, npt.NDArray[np.intp]]:
    """Average ranks [n] as weights have them, what lies below and half of what is equal; and places [n].

    A place says the how-manieth of the distinct values it is, from 0.
    """
    _, place = np.unique(values, return_inverse=True)
    equal = np.bincount(place, weights)
    ranked: Array = (np.cumsum(equal) - equal / 2)[place] if values.size else values
    return ranked, place


def _mean(values: Array, weights: Array) -> float:
    if not values.size:
        warn("there are no pairs to take a mean of: NaN")
        return math.nan
    return float(np.sum(weights * values) / np.sum(weights))


def _draws(n: int, resamples: int, rng: np.random.Generator) -> Iterator[Array]:
    """How often each of n pairs is drawn, [block, n], blocks of bounded size: `resamples` rows in all."""
    rows = max(1, BLOCK_CELLS // n)
    for begin in range(0, resamples, rows):
        block = min(rows, resamples - begin)
        cells = rng.integers(0, n, (block, n)) + np.arange(0, block * n, n)[:, None]
        yield np.bincount(cells.ravel(), minlength=block * n).reshape(block, n).astype(np.float64)


def _moments(pairs: Pairs) -> Array:
    """[n, 6]: w, wx, wy, wx², wy² and wxy of the standardized pairs; their sums over a draw give its PLCC."""
    x, y = (standardized(values, pairs.weights) for values in (pairs.scores, pairs.labels))
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1) * pairs.weights[:, None]


def _drawn_plcc(sums: Array) -> Array:
    """PLCC of each draw from its sums [block, 6] → [block]; NaN where scores or labels are constant."""
    total, x, y, xx, yy, xy = sums.T
    x_spread, y_spread = xx - x * x / total, yy - y * y / total
    # Of a constant draw rounding is left.
    defined = (x_spread > 1e-12 * xx) & (y_spread > 1e-12 * yy)
    scale = np.sqrt(np.where(defined, x_spread * y_spread, 1.0))
    drawn: Array = np.where(defined, np.clip((xy - x * y / total) / scale, -1.0, 1.0), np.nan)
    return drawn


def require_confidence(confidence: float) -> None:
    """Raises ValueError unless it lies between 0 and 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; it must lie between 0 and 1")


def warn(message: str) -> None:
    """A MetricWarning at the line that called a metric, two calls further out than this one."""
    warnings.warn(message, MetricWarning, stacklevel=4)
