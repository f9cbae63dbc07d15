"""When a PLCC is too low, has fallen, or is worse than another's: p-values, and what to conclude from many.

A p-value is the probability of such a correlation, or a lower one, if nothing were wrong; NaN means that
nothing could be tested. A hundred slices give five p-values below 0.05 when nothing is wrong: conclude from
what `benjamini_hochberg` makes of all that one run tested.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adgauge.quality.correlation import Correlation, Difference, difference_interval
from adgauge.quality.metrics import Array, require_confidence

_ROUNDING = 1e-12  # of a correlation: scores that only differ in scale correlate alike but for it


class NonInferiority(StrEnum):
    """What the data say of a candidate on one slice; `hold`: they do not say enough."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


def benjamini_hochberg(p_values: npt.ArrayLike) -> Array:
    """Adjusted p-values [m]: flagging those ≤ q keeps the expected share of false alarms among alarms ≤ q.

    min over j ≥ i of m·p₍ⱼ₎/j, at most 1 (Benjamini & Hochberg, J. R. Stat. Soc. B 57, 1995). NaN, not
    tested, stays NaN and does not count in m. Raises ValueError for what is no probability.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise ValueError("p-values must be one-dimensional, each from 0 to 1 or NaN")
    tested = np.flatnonzero(~np.isnan(p))
    descending = tested[np.argsort(-p[tested], kind="stable")]
    ranks = np.arange(tested.size, 0, -1)
    adjusted = np.full(p.size, np.nan)
    adjusted[descending] = np.minimum.accumulate(np.minimum(p[descending] * (tested.size / ranks), 1.0))
    return adjusted


def below_floor(of: Correlation, floor: float) -> float:
    """p-value of "the PLCC is at least `floor`": Φ((artanh r − artanh floor)/error of z), Fisher 1921.

    Raises ValueError for a floor outside (-1, 1).
    """
    return _lower_tail(of.z - _artanh("floor", floor), of.z_error)


def dropped(now: Correlation, before: Correlation, tolerated: float = 0.0) -> float:
    """p-value of "the PLCC of these pairs is at most `tolerated` lower than that of the pairs before".

    Φ((z₁ − z₂)/√(error₁² + error₂²)), two independent correlations (Fisher 1921), the one before lowered by
    `tolerated` first. With millions of pairs every drop is significant; `tolerated` says which ones matter.
    """
    if not 0 <= tolerated < 1:
        raise ValueError(f"tolerated is {tolerated}; it must lie from 0 to below 1")
    lowered = before.z
    if tolerated and not math.isnan(before.plcc):
        lowered = math.atanh(max(before.plcc - tolerated, -1 + 1e-15))
    return _lower_tail(now.z - lowered, math.hypot(now.z_error, before.z_error))


def worse(of: Difference) -> float:
    """p-value of "the candidate is no worse than the baseline": Φ(d/error); see `correlation.difference`."""
    return _lower_tail(of.value, of.error)


def decide(
    differences: Sequence[Difference],
    margins: Sequence[float],
    confidence: float = 0.95,
    false_discovery_rate: float = 0.05,
) -> tuple[NonInferiority, ...]:
    """Whether a candidate may replace the baseline, slice by slice; `margins` are losses of PLCC one accepts.

    Promote: the interval of the difference lies above −margin (non-inferiority at (1 − confidence)/2, one
    sided: Wellek, Testing Statistical Hypotheses of Equivalence and Noninferiority, 2010). Reject: that is
    not shown, and it is worse, at `false_discovery_rate` over all slices (`worse`, `benjamini_hochberg`).
    Else hold. Requiring every slice to be promoted needs no correction: it is an intersection–union test
    (Berger, Technometrics 24, 1982). Raises ValueError for negative margins or one too many or too few.
    """
    if any(margin < 0 for margin in margins):
        raise ValueError(f"margins are {list(margins)}; none may be negative")
    harm = benjamini_hochberg([worse(each) for each in differences])
    return tuple(
        _decided(difference_interval(each, confidence).low > -margin, bool(q <= false_discovery_rate))
        for each, margin, q in zip(differences, margins, harm, strict=True)
    )


def pairs_needed(of: Difference, margin: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """How many pairs show, with that probability, that an equal candidate is not worse by `margin`.

    n·error²·((z₍₁₊confidence₎⸝₂ + z_power)/margin)², from the error at `of.pairs` pairs. NaN where the error
    is undefined, infinite where it is; what a report says when it holds. Raises ValueError for a margin ≤ 0.
    """
    require_confidence(confidence)
    require_confidence(power)
    if not margin > 0:
        raise ValueError(f"margin is {margin}; it must be positive")
    normal = NormalDist()
    reach = normal.inv_cdf((1 + confidence) / 2) + normal.inv_cdf(power)
    return of.pairs * (of.error * reach / margin) ** 2


def _decided(shown: bool, harmful: bool) -> NonInferiority:
    if shown:
        return NonInferiority.PROMOTE
    return NonInferiority.REJECT if harmful else NonInferiority.HOLD


def _lower_tail(distance: float, error: float) -> float:
    """Φ(distance/error), by erfc, which is exact far out; without any error 0 below and 1 from 0 on."""
    if math.isnan(distance) or math.isnan(error):
        return math.nan
    if error < _ROUNDING:
        return float(distance >= -_ROUNDING)
    return math.erfc(-distance / error / math.sqrt(2)) / 2


def _artanh(name: str, correlation: float) -> float:
    if not -1 < correlation < 1:
        raise ValueError(f"{name} is {correlation}; it must lie between -1 and 1")
    return math.atanh(correlation)
