"""Whether a distribution or a share has changed between two windows, from counts: rows need not be kept.

A distribution is counted in the same bins in both windows: categories, or intervals between edges that the
reference window fixes once (`quantile_edges`). Counts of parts add up to those of the whole, so they can be
gathered in any order and place. Sizes (PSI, D, the difference) say whether a change matters, p-values whether
it can be chance; with millions of rows every change is significant, so an alarm needs both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from adgauge.quality.metrics import Array, Interval, require_confidence

FEWEST_EXPECTED = 5
"""Rows to be expected in each bin of a chi-square test: Cochran, Biometrics 10 (1954)."""
_FAR = 50  # standard deviations (of 20 rows at least) beyond which a probability is below the smallest number
_SAME = 1 + 1e-9  # probabilities that differ by rounding


@dataclass(frozen=True, slots=True)
class Change:
    """A test statistic and the probability of one as large without any change; NaN: not tested."""

    statistic: float
    p_value: float


@dataclass(frozen=True, slots=True)
class ShareChange:
    """Two shares, after minus before with its interval, and the p-value of "they are equal"."""

    before: float
    after: float
    interval: Interval
    p_value: float

    @property
    def difference(self) -> float:
        """After minus before; NaN where a window is empty."""
        return self.after - self.before


def quantile_edges(values: npt.ArrayLike, counts: npt.ArrayLike | None = None, bins: int = 10) -> Array:
    """Edges [at most bins − 1], ascending, that part the values [k] into about equally full bins.

    `counts` [k] say how often each value occurs (once by default). A value that fills several bins (five
    stars, say) gets one bin: edges do not repeat. Raises ValueError for fewer than 2 bins or NaN or inf.
    """
    x = np.asarray(values, dtype=np.float64)
    often = np.ones_like(x) if counts is None else _counts(counts)
    if bins < 2 or x.ndim != 1 or x.shape != often.shape or not np.isfinite(x).all():
        raise ValueError("edges need at least 2 bins, and finite values with a count each")
    order = np.argsort(x, kind="stable")
    x, cumulated = x[order], np.cumsum(often[order])
    if not x.size or not cumulated[-1]:
        return np.zeros(0)
    ranks = cumulated[-1] * np.arange(1, bins) / bins
    edges = np.unique(x[np.searchsorted(cumulated, ranks, side="right").clip(max=x.size - 1)])
    inner: Array = edges[edges > x[0]]
    return inner


def binned(values: npt.ArrayLike, edges: Array, counts: npt.ArrayLike | None = None) -> Array:
    """How many of the values [k] lie in each bin: [len(edges) + 1]; a value on an edge is above it."""
    x = np.asarray(values, dtype=np.float64)
    if np.isnan(x).any():
        raise ValueError("NaN lies in no bin; leave it out, or count it as a share")
    often = None if counts is None else _counts(counts)
    return np.bincount(np.searchsorted(edges, x, side="right"), often, edges.size + 1).astype(np.float64)


def psi(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Population stability index of two windows counted in the same bins [k]: Σ (p − q)·ln(p/q).

    Siddiqi, Credit Risk Scorecards, 2006; below 0.1 is usually taken for no change, above 0.25 for a large
    one. Half a row is added to every bin of both, so that an empty bin has a logarithm and one row in it
    makes no jump (Jeffreys' prior). Without any change it is about (k − 1)(1/n + 1/m) (Yurdakul 2018): of
    small windows it says little; see `chi_square`. NaN where a window is empty.
    """
    p, q = _same_bins(reference, current)
    if not p.sum() or not q.sum():
        return math.nan
    p, q = ((counts + 0.5) / (counts.sum() + counts.size / 2) for counts in (p, q))
    return float(np.sum((p - q) * np.log(p / q)))


def chi_square(reference: npt.ArrayLike, current: npt.ArrayLike) -> Change:
    """Pearson's test that two windows counted in the same bins [k] have one distribution (1900).

    Bins in which fewer than FEWEST_EXPECTED rows are to be expected are taken together first, the rarest
    ones until they suffice. Not tested where a window is empty or one bin is left.
    """
    table = _pooled(np.stack(_same_bins(reference, current)))
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return Change(math.nan, math.nan)
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = float(np.sum((table - expected) ** 2 / expected))
    return Change(statistic, chi_square_tail(statistic, table.shape[1] - 1))


def kolmogorov_smirnov(reference: npt.ArrayLike, current: npt.ArrayLike) -> Change:
    """Two-sample test from counts of the same ascending values or bins [k]; the statistic is D = max |F − G|.

    p = 2 Σ (−1)^(j−1) e^(−2 j² D² nm/(n+m)), the limit for many rows of a continuous quantity (Smirnov 1939).
    Ties (many rows at one value, or in one bin) only make D smaller than that supposes (Noether 1963): p is
    then too large, never too small. Not tested where a window is empty.
    """
    p, q = _same_bins(reference, current)
    n, m = p.sum(), q.sum()
    if not n or not m:
        return Change(math.nan, math.nan)
    statistic = float(np.abs(np.cumsum(p) / n - np.cumsum(q) / m).max())
    return Change(statistic, kolmogorov_tail(math.sqrt(n * m / (n + m)) * statistic))


def share_change(
    before: int, rows_before: int, after: int, rows_after: int, confidence: float = 0.95
) -> ShareChange:
    """From `before` of `rows_before` rows to `after` of `rows_after`: images that are missing, say.

    The interval is Newcombe's hybrid score interval, from Wilson's of each (Stat. Med. 17, 1998, method 10):
    d − √((p₁−l₁)² + (u₂−p₂)²) to d + √((u₁−p₁)² + (p₂−l₂)²). The p-value is of Fisher's exact test, so it
    holds for rare shares as well. Raises ValueError for counts outside 0…rows.
    """
    first, second = (
        wilson_interval(before, rows_before, confidence),
        wilson_interval(after, rows_after, confidence),
    )
    if not rows_before or not rows_after:
        unknown = Interval(math.nan, math.nan)
        return ShareChange(_share(before, rows_before), _share(after, rows_after), unknown, math.nan)
    p, q = before / rows_before, after / rows_after
    down = math.hypot(q - second.low, first.high - p)
    up = math.hypot(second.high - q, p - first.low)
    p_value = fisher_exact(before, rows_before, after, rows_after)
    return ShareChange(p, q, Interval(q - p - down, q - p + up), p_value)


def wilson_interval(count: int, rows: int, confidence: float = 0.95) -> Interval:
    """Of a share: the values that a score test does not reject (Wilson, J. Am. Stat. Assoc. 22, 1927)."""
    require_confidence(confidence)
    if not 0 <= count <= rows:
        raise ValueError(f"count is {count} of {rows} rows; it must lie from 0 to rows")
    if not rows:
        return Interval(math.nan, math.nan)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    center = (count + z * z / 2) / (rows + z * z)
    reach = z / (rows + z * z) * math.sqrt(count * (rows - count) / rows + z * z / 4)
    return Interval(max(0.0, center - reach), min(1.0, center + reach))


def fisher_exact(before: int, rows_before: int, after: int, rows_after: int) -> float:
    """Two-sided p-value of "two shares are equal": of all tables at most as probable as this (Fisher 1935).

    Probabilities come from the ratios of neighbours, k + 1 to k of K among n of N rows:
    (K − k)(n − k) / ((k + 1)(N − K − n + k + 1)); those far out, below the smallest number, are left out.
    """
    rows, hits = rows_before + rows_after, before + after
    middle = rows_before * hits / rows
    spread = max(20.0, math.sqrt(middle * (1 - hits / rows) * rows_after / max(1, rows - 1)))
    low = max(0, hits - rows_after, int(middle - _FAR * spread))
    high = min(hits, rows_before, int(middle + _FAR * spread) + 1)
    if not low <= before <= high:
        return 0.0
    k = np.arange(low, high, dtype=np.float64)
    steps = np.log((hits - k) * (rows_before - k)) - np.log((k + 1) * (rows_after - hits + k + 1))
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    chances = np.exp(logs - logs.max())
    return float(min(1.0, np.sum(chances[chances <= chances[before - low] * _SAME]) / np.sum(chances)))


def chi_square_tail(statistic: float, freedom: int) -> float:
    """P(χ² ≥ statistic) for a whole number of degrees of freedom: Abramowitz & Stegun 26.4.4 and 26.4.5."""
    half = statistic / 2
    if not half > 0:
        return 1.0 if half == 0 else math.nan
    begin = 0.5 if freedom % 2 else 0.0
    powers = np.arange(freedom // 2) + begin
    terms = [math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers.tolist()]
    tail = math.fsum(terms) + (math.erfc(math.sqrt(half)) if freedom % 2 else 0.0)
    return min(1.0, tail)


def kolmogorov_tail(distance: float) -> float:
    """Of Kolmogorov's distribution (1933), by whichever of its two series converges at once."""
    if distance < 1:
        if distance < 0.04:
            return 1.0
        terms = (math.exp(-((2 * j - 1) ** 2) * math.pi**2 / (8 * distance**2)) for j in range(1, 6))
        return 1 - math.sqrt(2 * math.pi) / distance * math.fsum(terms)
    return 2 * math.fsum((-1) ** (j - 1) * math.exp(-2 * (j * distance) ** 2) for j in range(1, 6))


def _pooled(table: Array) -> Array:
    """Rare bins of a table [2, k] in one, the rarest first, until enough rows are to be expected in it."""
    table = table[:, np.argsort(table.sum(axis=0), kind="stable")]
    totals = table.sum(axis=0)
    needed = FEWEST_EXPECTED * table.sum() / max(1.0, float(table.sum(axis=1).min()))
    rare = int(np.count_nonzero(totals < needed))
    if not rare:
        return table
    if totals[:rare].sum() < needed:
        rare = min(rare + 1, totals.size)
    return np.concatenate([table[:, :rare].sum(axis=1, keepdims=True), table[:, rare:]], axis=1)


def _same_bins(reference: npt.ArrayLike, current: npt.ArrayLike) -> tuple[Array, Array]:
    p, q = _counts(reference), _counts(current)
    if p.ndim != 1 or p.shape != q.shape or not p.size:
        raise ValueError(f"both windows must be counted in the same bins, not {p.shape} and {q.shape}")
    return p, q


def _counts(counts: npt.ArrayLike) -> Array:
    array = np.asarray(counts, dtype=np.float64)
    if not (np.isfinite(array) & (array >= 0)).all():
        raise ValueError("counts must be finite numbers, at least 0")
    return array


def _share(count: int, rows: int) -> float:
    return count / rows if rows else math.nan
