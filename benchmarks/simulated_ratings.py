"""Products whose ratings are made as Amazon's are, and scores for them whose PLCC is known.

A product's quality tilts the J-shaped distribution of single ratings (most give five stars, many one); its
label is the mean of `rating_number` of them, rounded to a tenth. That gives what the 497 products of
amazon2023_text show: mean 4.0, standard deviation 0.9, skewness −1.3, a sixth at exactly 5, and noise that
falls as ratings come in (1.4 stars with one, 0.5 with a hundred). A score is the quality, a quarter of the
label's noise (no score of quality alone reaches a PLCC of 0.6), and an error of the size that the PLCC asks
for. Windows are drawn from a finite population, whose own figures are the truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from adgauge.quality.metrics import Array, plcc, srcc

SIZE = 300_000
SINGLE_RATINGS = np.array([0.10, 0.06, 0.08, 0.16, 0.60])
STARS = np.arange(1, 6)
SHAPES = ("normal", "skewed", "cold")
"""Bivariate normal; as above; and so that scores err more on products with fewer than five ratings."""


@dataclass(frozen=True)
class Population:
    """Four arrays [SIZE]; `rivals` are the scores of a second scorer, as good as the first."""

    scores: Array
    rivals: Array
    labels: Array
    ratings: Array

    @cached_property
    def plcc(self) -> float:
        """Of the first scorer, as all truths here: what intervals should hold."""
        return plcc(self.scores, self.labels)

    @cached_property
    def weighted_plcc(self) -> float:
        """Weighted by how many ratings a label rests on."""
        return plcc(self.scores, self.labels, self.ratings)

    @cached_property
    def srcc(self) -> float:
        """Spearman's."""
        return srcc(self.scores, self.labels)

    @cached_property
    def bias(self) -> float:
        """Mean of score − label."""
        return float(np.mean(self.scores - self.labels))

    def rows(self, rng: np.random.Generator, windows: int, n: int) -> npt.NDArray[np.int32]:
        """Which products lie in each window, [windows, n]: independent draws."""
        return rng.integers(0, self.labels.size, (windows, n), dtype=np.int32)


def population(shape: str, rho: float, rng: np.random.Generator) -> Population:
    """Of one of SHAPES; the PLCC of both scorers is near `rho`, and their errors correlate at 0.8."""
    if shape == "normal":
        labels, ratings = rng.normal(size=SIZE), np.ones(SIZE)
        signal = labels
    else:
        labels, signal, ratings = _ratings(rng)
    sizes = np.where(ratings < 5, 1.6, 0.6) if shape == SHAPES[2] else np.ones(SIZE)
    shared, own, rivals_own = rng.normal(size=(3, SIZE)) * sizes
    errors = [math.sqrt(0.8) * shared + math.sqrt(0.2) * each for each in (own, rivals_own)]
    scores, rivals = (_with_plcc(signal, labels, error, rho) for error in errors)
    return Population(scores, rivals, labels, ratings)


def _ratings(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Labels, what scores can know of them, and rating numbers."""
    chances = SINGLE_RATINGS * np.exp(rng.normal(0, 0.27, SIZE)[:, None] * STARS)
    chances /= chances.sum(axis=1, keepdims=True)
    ratings = np.ceil(rng.lognormal(2.0, 1.9, SIZE)).clip(1, 100_000)
    labels = (rng.multinomial(ratings.astype(np.int64), chances) @ STARS / ratings).round(1)
    quality = chances @ STARS
    return labels, quality + (labels - quality) / 4, ratings


def _with_plcc(signal: Array, labels: Array, error: Array, rho: float) -> Array:
    """Signal and as much error as makes the PLCC `rho`; what of that correlates is taken out first."""
    both = np.stack([np.ones_like(labels), labels, signal])
    error = error - both.T @ np.linalg.lstsq(both.T, error, rcond=None)[0]
    covariance = np.cov(signal, labels)
    variance = covariance[0, 1] ** 2 / (rho**2 * covariance[1, 1]) - covariance[0, 0]
    return signal + error * math.sqrt(variance / error.var(ddof=1))
