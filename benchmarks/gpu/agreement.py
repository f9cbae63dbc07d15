"""Whether what was measured computes what torch does in float32: a fast wrong answer is no figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adgauge.contract import Precision
from adgauge.export.comparison import REDUCED_DELTA, REDUCED_PLCC, Gate, compare
from adgauge.export.source import TOLERANCE
from benchmarks.gpu.load import Answered

FP32_PLCC = 0.99999
"""Another device sums in another order: scores may differ by what a scorer bears, and rank as before."""


@dataclass(frozen=True)
class Agreement:
    """All answers against their references; `complaints` is empty where they agree."""

    answers: int
    max_delta: float
    plcc: float
    complaints: tuple[str, ...]


def agreement(precision: Precision, answered: Sequence[Answered]) -> Agreement:
    """Of everything that was answered, one answer or more."""
    scores = np.concatenate([each.scores for each in answered])
    reference = np.concatenate([each.reference for each in answered])
    # One of each pair: a run gives the same few scores thousands of times.
    pairs = np.unique(np.stack((reference, scores)), axis=1)
    compared = compare(*pairs)
    gate = Gate(TOLERANCE, FP32_PLCC) if precision == "fp32" else Gate(REDUCED_DELTA, REDUCED_PLCC)
    return Agreement(len(scores), compared.max_delta, compared.plcc, gate.failures(compared))
