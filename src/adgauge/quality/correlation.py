"""How sure one may be of a PLCC, and of the difference between two of them, whatever the data look like.

Fisher's interval takes scores and labels to be bivariate normal. Ratings are skewed, and their noise falls
with `rating_number`, so the standard error here comes from the data: from the contribution of every pair to
the correlation (the influence function, Devlin, Gnanadesikan & Kettenring, Biometrika 62, 1975),

    c = uv − r(u² + v²)/2                with u, v the scores and labels, standardized,

whose mean square over n is the asymptotically distribution-free variance of r, made of fourth moments
(Steiger & Hakstian, Br. J. Math. Stat. Psychol. 35, 1982; Hawkins, Am. Statistician 43, 1989). That alone
covers too seldom in small samples, because a pair far out pulls r towards itself; therefore each contribution
is divided by 1 − its leverage, as HC3 does for a regression (MacKinnon & White, J. Econometrics 29, 1985):

    h = 1/n · (1 + (u² − 2ruv + v²)/(1 − r²)),        error² = Σ (c/(1 − h))² / n²

The interval is Fisher's with that error in place of 1/√(n − 3). `benchmarks/intervals.py` compares it with
Fisher's, the uncorrected one and bootstraps; docs/figures/intervals.json says how often each covers.
With weights w (each pair's share p = w/Σw takes the place of 1/n) pairs still count as independent draws, not
as repetitions. Input is checked, and odd input warned of, as in `metrics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adgauge.quality.metrics import (
    FEWEST_PAIRS,
    UNKNOWN,
    Array,
    Interval,
    Pairs,
    finite_pairs,
    ranks,
    require_confidence,
    standardized,
    warn,
    why_undefined,
)

BLOCK = 1 << 18
"""Pairs whose contributions are made at once: they and what they are made of stay in the cache."""
_LARGEST_LEVERAGE = 1 - 1e-9
_LARGEST_CORRELATION = 1 - 1e-15  # beyond, artanh is not finite
_ROUNDING = 1e-14  # of 1 − r²: what is left of it is noise


@dataclass(frozen=True, slots=True)
class Correlation:
    """A PLCC over `pairs` pairs and its standard error; both NaN where it is undefined.

    The error is infinite where one pair alone decides the correlation: three pairs, or one that differs.
    """

    plcc: float
    error: float
    pairs: int

    @property
    def z(self) -> float:
        """Fisher's: artanh of the PLCC, finite also where that is ±1."""
        if math.isnan(self.plcc):
            return math.nan
        return math.atanh(max(-_LARGEST_CORRELATION, min(_LARGEST_CORRELATION, self.plcc)))

    @property
    def z_error(self) -> float:
        """The standard error of `z`, by the delta method: error/(1 − r²)."""
        return self.error / (1 - math.tanh(self.z) ** 2) if self.error else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """How much the candidate's PLCC lies above the baseline's on the same pairs, and its standard error."""

    candidate: float
    baseline: float
    error: float
    pairs: int

    @property
    def value(self) -> float:
        """Candidate minus baseline; NaN where either is undefined."""
        return self.candidate - self.baseline


def correlation(
    scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Correlation:
    """PLCC of scores [n] and labels [n] with its standard error. Raises ValueError: see `metrics`."""
    plcc, contributions = _contributions(finite_pairs(scores, labels, weights))
    return Correlation(plcc, _error(plcc, contributions), contributions.size)


def rank_correlation(
    scores: npt.ArrayLike, labels: npt.ArrayLike, weights: npt.ArrayLike | None = None
) -> Correlation:
    """SRCC of scores [n] and labels [n], as `metrics.srcc`, with its standard error.

    To what a pair contributes as if ranks were given comes what it does to the ranks of the others: with e
    the other's standardized rank less r times the own, and σ the deviation of own ranks as shares of n,
    Σⱼ eⱼ·([xⱼ > xᵢ] + [xⱼ = xᵢ]/2)/(nσ), for scores and for labels (Borkowf, Comput. Stat. Data Anal. 39,
    2002, has the variance without ties). Raises ValueError: see `metrics`.
    """
    pairs = finite_pairs(scores, labels, weights)
    x, x_places = ranks(pairs.scores, pairs.weights)
    y, y_places = ranks(pairs.labels, pairs.weights)
    srcc, contributions = _contributions(Pairs(x, y, pairs.weights))
    if not math.isnan(srcc):
        contributions += _by_ranking(x, y, x_places, pairs.weights, srcc)
        contributions += _by_ranking(y, x, y_places, pairs.weights, srcc)
    return Correlation(srcc, _error(srcc, contributions), contributions.size)


def difference(
    candidate: npt.ArrayLike,
    baseline: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Difference:
    """PLCC of the candidate's scores [n] minus that of the baseline's, on the same labels [n].

    Both rest on the same labels, so their errors go together; the error of the difference is that of the
    differences between contributions, pair by pair. Williams' test and Steiger's Z (Psychol. Bull. 87, 1980)
    do the same for normal data only. Pairs with NaN or inf in any of the three are left out.
    """
    ours, theirs, both_labels = (np.asarray(each, np.float64) for each in (candidate, baseline, labels))
    if not ours.shape == theirs.shape == both_labels.shape:
        shapes = f"candidate {ours.shape}, baseline {theirs.shape}, labels {both_labels.shape}"
        raise ValueError(f"candidate, baseline and labels must be equally long, not {shapes}")
    labelled = np.where(np.isfinite(ours) & np.isfinite(theirs), both_labels, np.nan)
    first, apart = _contributions(finite_pairs(ours, labelled, weights))
    second, theirs_apart = _contributions(finite_pairs(theirs, labelled, weights))
    with np.errstate(invalid="ignore"):  # inf − inf, where one pair decides both
        apart -= theirs_apart
    return Difference(first, second, _error(first - second, apart), apart.size)


def plcc_interval(of: Correlation, confidence: float = 0.95) -> Interval:
    """tanh(artanh r ± z·error/(1 − r²)): Fisher's interval (1921) with the error of `correlation`."""
    reach = _quantile(confidence) * of.z_error
    if math.isnan(of.plcc) or not of.error:
        return Interval(of.plcc, of.plcc)
    return Interval(math.tanh(of.z - reach), math.tanh(of.z + reach))


def difference_interval(of: Difference, confidence: float = 0.95) -> Interval:
    """Of a difference d: d ± z·error, within [-2, 2]."""
    reach = _quantile(confidence) * of.error
    if math.isnan(of.value):
        return UNKNOWN
    return Interval(max(-2.0, of.value - reach), min(2.0, of.value + reach))


def change_interval(now: Correlation, before: Correlation, confidence: float = 0.95) -> Interval:
    """Of now − before, two PLCCs of different pairs: Zou, Psychol. Methods 12 (2007).

    From the intervals [l, u] of each: d − √((r₁−l₁)² + (u₂−r₂)²) to d + √((u₁−r₁)² + (r₂−l₂)²).
    """
    change = now.plcc - before.plcc
    if math.isnan(change):
        return UNKNOWN
    first, second = (plcc_interval(each, confidence) for each in (now, before))
    down = math.hypot(now.plcc - first.low, second.high - before.plcc)
    up = math.hypot(first.high - now.plcc, before.plcc - second.low)
    return Interval(change - down, change + up)


def _contributions(pairs: Pairs) -> tuple[float, Array]:
    """PLCC, and p·c/(1 − h) of each pair [n]: what the module calls the corrected contributions."""
    if undefined := why_undefined(pairs):
        warn(undefined)
        return math.nan, np.full(pairs.scores.size, math.nan)
    u, v = (standardized(values, pairs.weights) for values in (pairs.scores, pairs.labels))
    plcc = float(np.clip(np.sum(pairs.weights * u * v), -1.0, 1.0))
    if 1 - plcc * plcc < _ROUNDING:
        return plcc, np.full(u.size, math.inf if u.size <= FEWEST_PAIRS else 0.0)
    total = float(np.sum(pairs.weights))
    for begin in range(0, u.size, BLOCK):
        at = slice(begin, begin + BLOCK)
        u[at] = _corrected(u[at], v[at], pairs.weights[at], plcc, total)
    return plcc, u


def _corrected(u: Array, v: Array, weights: Array, plcc: float, total: float) -> Array:
    """Of one block [m]. Σ w·u² is 1 and not Σ w, so that p·u² of the formulas is w·u² here."""
    apart = u - plcc * v
    leverage = weights * (1 / total + v * v + apart * apart / (1 - plcc * plcc))
    contribution = weights * (u * v - plcc / 2 * (u * u + v * v))
    if leverage.max() < _LARGEST_LEVERAGE:
        return contribution / (1 - leverage)
    return np.where(leverage < _LARGEST_LEVERAGE, contribution / np.maximum(1 - leverage, 1e-9), np.inf)


def _by_ranking(own: Array, other: Array, place: npt.NDArray[np.intp], weights: Array, r: float) -> Array:
    """What each pair [n] contributes by being counted in the own ranks of the others."""
    shares = weights / np.sum(weights)
    u, v = standardized(own, shares), standardized(other, shares)
    deviation = np.ptp(own) / np.ptp(u) / np.sum(weights)
    equal = np.bincount(place, shares * (v - r * u))
    above = np.sum(equal) - np.cumsum(equal) + equal / 2
    contributed: Array = shares * above[place] / deviation
    return contributed


def _error(value: float, contributions: Array) -> float:
    """Standard error of what they contribute to: NaN where that is, infinite where one of them is."""
    if math.isnan(value):
        return math.nan
    error = math.sqrt(float(contributions @ contributions))
    return math.inf if math.isnan(error) else error


def _quantile(confidence: float) -> float:
    require_confidence(confidence)
    return NormalDist().inv_cdf((1 + confidence) / 2)
