"""How two score vectors of the same products differ, and how much they may."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right, insort
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from adgauge.contract import Precision
from adgauge.errors import ContractMismatch
from adgauge.quality.metrics import MetricWarning, plcc

Scores = npt.NDArray[np.float32]

FP32_DELTA = 1e-4
"""Largest |Δ| that a float32 graph may show to torch in float32, in stars."""
FP32_SHARE = 1e-3
"""The same as a share of the spread of the golden scores: the smaller of both bounds counts."""
REDUCED_DELTA = 0.03
REDUCED_PLCC = 0.999
LEAST_SPREAD = 0.1
"""Golden scores that lie closer together, in stars, would let a broken graph pass."""
LEAST_UNTRAINED_SPREAD = 0.3
"""Of a model with random weights, whose head can be scaled at will."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two score vectors of `n` products. Deltas and PLCC are NaN, rank changes None, where a score is NaN."""

    n: int
    max_delta: float
    mean_delta: float
    plcc: float  # also NaN of fewer than 3 products, and where one vector is constant
    discordant: int | None  # pairs that one vector orders this way and the other that way; ties do neither
    rank_change: (
        float | None
    )  # of the product that moves furthest; equal scores share the mean of their ranks


def compare(reference: npt.ArrayLike, scores: npt.ArrayLike) -> Comparison:
    """Both [n], n ≥ 1, in the same order; raises ValueError where they are not as long as each other."""
    first, second = np.asarray(reference, np.float64), np.asarray(scores, np.float64)
    if first.ndim != 1 or first.shape != second.shape or not first.size:
        raise ValueError(f"scores of the same products are needed, not {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return Comparison(first.size, math.nan, math.nan, math.nan, None, None)
    deltas = np.abs(first - second)
    moved = np.abs(_ranks(first) - _ranks(second))
    return Comparison(
        n=first.size,
        max_delta=float(deltas.max()),
        mean_delta=float(deltas.mean()),
        plcc=_plcc(first, second),
        discordant=_discordant(first, second),
        rank_change=float(moved.max()),
    )


@dataclass(frozen=True, slots=True)
class Gate:
    """What a runtime's scores must keep to: `least_plcc` None where only `max_delta` counts."""

    max_delta: float
    least_plcc: float | None

    def failures(self, compared: Comparison) -> tuple[str, ...]:
        """What is beyond the bounds, with both figures; NaN is. Empty: the gate is passed."""
        found = []
        if not compared.max_delta <= self.max_delta:
            found.append(f"max |Δ| is {compared.max_delta:.2e}, at most {self.max_delta:.2e} is allowed")
        if self.least_plcc is not None and not compared.plcc >= self.least_plcc:
            found.append(f"PLCC is {compared.plcc:.6f}, at least {self.least_plcc} is required")
        return tuple(found)


def gate_for(precision: Precision, golden: Scores, *, trained: bool) -> Gate:
    """The gate of a precision; `golden` [n] are torch's float32 scores of the golden records.

    Raises ContractMismatch where these are so close together that passing would prove nothing.
    """
    spread = float(np.ptp(golden))
    least = LEAST_SPREAD if trained else LEAST_UNTRAINED_SPREAD
    if not spread >= least:
        raise ContractMismatch(
            f"parity would prove nothing: golden scores of this {'' if trained else 'un'}trained model span"
            f" {spread:.4f}, and must at least {least}: scale the last layer of its head"
        )
    if precision == "fp32":
        return Gate(min(FP32_DELTA, FP32_SHARE * spread), None)
    return Gate(REDUCED_DELTA, REDUCED_PLCC)


def _plcc(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)  # NaN says it
        return plcc(first, second)


def _discordant(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> int:
    """Inversions that are left when both are sorted by `first`; of its ties none is one."""
    seen: list[float] = []
    count = 0
    for score in second[np.lexsort((second, first))].tolist():
        count += len(seen) - bisect_right(seen, score)
        insort(seen, score)
    return count


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
