"""Whether scores have the right level: bias, and labels against scores by decile; all in stars."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adgauge.quality.drift import quantile_edges
from adgauge.quality.metrics import UNKNOWN, Array, Interval, finite_pairs, require_confidence

DECILES = 10
_FEWEST_FREEDOM = 0.5  # two equal pairs have 1


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean over `pairs` pairs with its interval; NaN where there are none."""

    value: float
    interval: Interval
    pairs: int


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Pairs whose scores lie from `low` up to, not including, `high`; the last bin includes it."""

    low: float
    high: float
    mean_score: float
    label: Mean


def bias(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Mean:
    """Mean of score − label over [n] pairs. Raises ValueError: see `metrics`."""
    pairs = finite_pairs(scores, labels, weights)
    return mean(pairs.scores - pairs.labels, pairs.weights, confidence)


def absolute_error(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> Mean:
    """MAE: mean of |score − label| over [n] pairs. Raises ValueError: see `metrics`."""
    pairs = finite_pairs(scores, labels, weights)
    return mean(np.abs(pairs.scores - pairs.labels), pairs.weights, confidence)


def mean(values: Array, weights: Array, confidence: float = 0.95) -> Mean:
    """Weighted mean m of values [n] with its interval m ± t·error; weights [n] positive, values finite.

    error² = Σ p²(x − m)²/(1 − p) with p = w/Σw: unweighted s²/n, and sound when values vary with their
    weight (HC2, MacKinnon & White 1985). t has the effective number of pairs (Kish 1965) − 1 degrees of
    freedom. Without a second pair that counts there is no error: the interval is NaN.
    """
    require_confidence(confidence)
    if not values.size:
        return Mean(math.nan, UNKNOWN, 0)
    shares = weights / np.sum(weights)
    center = float(np.sum(shares * values))
    freedom = 1 / float(shares @ shares) - 1
    if freedom < _FEWEST_FREEDOM:
        return Mean(center, UNKNOWN, values.size)
    error = math.sqrt(float(np.sum(np.square(shares * (values - center)) / (1 - shares))))
    reach = student_quantile((1 + confidence) / 2, freedom) * error
    return Mean(center, Interval(center - reach, center + reach), values.size)


def calibration(
    scores: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
    bins: int = DECILES,
    confidence: float = 0.95,
) -> tuple[CalibrationBin, ...]:
    """Mean label against mean score in `bins` bins of about equally many pairs, by score.

    Equal scores are never parted, so there may be fewer bins; none is empty. Raises ValueError: see
    `metrics`.
    """
    pairs = finite_pairs(scores, labels, weights)
    if not pairs.scores.size:
        return ()
    order = np.argsort(pairs.scores, kind="stable")
    x, y, w = pairs.scores[order], pairs.labels[order], pairs.weights[order]
    begins = np.searchsorted(x, [x[0], *quantile_edges(x, bins=bins)])
    highs = [*x[begins[1:]], x[-1]]
    parts = [slice(begin, end) for begin, end in itertools.pairwise([*begins, x.size])]
    return tuple(
        CalibrationBin(
            float(x[at.start]), float(high), mean(x[at], w[at]).value, mean(y[at], w[at], confidence)
        )
        for at, high in zip(parts, highs, strict=True)
    )


def student_quantile(probability: float, freedom: float) -> float:
    """Of Student's t: Abramowitz & Stegun 26.7.5, to 1e-5 from 20 degrees of freedom on, to 0.02 from 5."""
    x = NormalDist().inv_cdf(probability)
    terms = (
        (x**3 + x) / 4,
        (5 * x**5 + 16 * x**3 + 3 * x) / 96,
        (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / 384,
        (79 * x**9 + 776 * x**7 + 1482 * x**5 - 1920 * x**3 - 945 * x) / 92160,
    )
    return x + sum(term / freedom**power for power, term in enumerate(terms, start=1))
