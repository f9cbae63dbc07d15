"""How two score vectors are compared, and what a gate lets through."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from adgauge.contract import Precision
from adgauge.errors import ContractMismatch
from adgauge.export.comparison import Comparison, Gate, compare, gate_for

GOLDEN = np.linspace(2.0, 4.0, 16, dtype=np.float32)


def compared(max_delta: float, plcc: float) -> Comparison:
    return Comparison(16, max_delta, max_delta, plcc, 0, 0.0)


@pytest.mark.parametrize("n", [3, 40, 300])
def test_figures_are_those_of_scipy(n: int) -> None:
    rng = np.random.default_rng(n)
    first = rng.normal(3, 0.5, n)
    second = first + rng.normal(0, 0.2, n)
    result = compare(first, second)
    assert result.n == n
    assert result.plcc == pytest.approx(stats.pearsonr(first, second).statistic, abs=1e-12)
    assert result.discordant is not None
    tau = 1 - 2 * result.discordant / (n * (n - 1) / 2)
    assert tau == pytest.approx(stats.kendalltau(first, second).statistic)
    assert result.rank_change == np.abs(stats.rankdata(first) - stats.rankdata(second)).max()
    assert result.max_delta == np.abs(first - second).max()
    assert result.mean_delta == np.abs(first - second).mean()


def test_a_tie_in_either_vector_is_no_discordant_pair() -> None:
    broken = compare([1, 1, 2, 3], [1, 2, 2, 3])
    assert (broken.discordant, broken.rank_change) == (0, 1.0)  # ranks 1.5, 1.5, 3 become 1, 2.5, 2.5
    swapped = compare([1, 1, 2, 3], [2, 2, 1, 3])
    assert (swapped.discordant, swapped.rank_change) == (2, 2.0)  # ranks 1.5, 1.5, 3 become 2.5, 2.5, 1


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_number_makes_every_figure_unknown_and_passes_no_gate(wrong: float) -> None:
    result = compare([1, 2, 3, 4], [1, 2, 3, wrong])
    assert all(math.isnan(figure) for figure in (result.max_delta, result.mean_delta, result.plcc))
    assert (result.discordant, result.rank_change) == (None, None)
    assert len(Gate(0.03, 0.999).failures(result)) == 2
    assert len(Gate(0.03, None).failures(result)) == 1


@pytest.mark.parametrize(("first", "second"), [([], []), ([1.0], [1.0, 2.0]), ([[1.0]], [[1.0]])])
def test_vectors_of_other_shapes_are_a_mistake(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match="scores of the same products"):
        compare(first, second)


@pytest.mark.parametrize("n", [1, 2])
def test_so_few_products_have_no_correlation_and_pass_by_their_deltas_alone(n: int) -> None:
    result = compare(GOLDEN[:n], GOLDEN[:n])
    assert (result.max_delta, result.discordant) == (0.0, 0)
    assert Gate(1e-4, None).failures(result) == ()
    assert Gate(0.03, 0.999).failures(result) == ("PLCC is nan, at least 0.999 is required",)


def test_float32_is_bounded_in_stars_and_by_the_spread() -> None:
    gate = gate_for("fp32", GOLDEN, trained=True)
    assert gate == Gate(1e-4, None)
    assert gate.failures(compared(1e-4, 0.0)) == ()
    assert gate.failures(compared(1.2e-4, 1.0)) == ("max |Δ| is 1.20e-04, at most 1.00e-04 is allowed",)
    close = np.array([3.0, 3.1], dtype=np.float32)  # 0.0999999 apart
    with pytest.raises(ContractMismatch):
        gate_for("fp32", close, trained=True)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_a_reduced_precision_is_bounded_in_stars_and_by_correlation(precision: Precision) -> None:
    gate = gate_for(precision, GOLDEN, trained=False)
    assert gate == Gate(0.03, 0.999)
    assert gate.failures(compared(0.03, 0.999)) == ()
    assert gate.failures(compared(0.0301, 1.0)) == ("max |Δ| is 3.01e-02, at most 3.00e-02 is allowed",)
    assert gate.failures(compared(0.0, 0.99899)) == ("PLCC is 0.998990, at least 0.999 is required",)


@pytest.mark.parametrize(
    ("spread", "trained", "refused"),
    [(0.05, True, True), (0.2, True, False), (0.2, False, True), (0.4, False, False), (math.nan, True, True)],
)
def test_a_gate_that_would_prove_nothing_is_refused(spread: float, trained: bool, refused: bool) -> None:
    golden = np.array([3.0, 3.0 + spread], dtype=np.float32)
    if not refused:
        assert gate_for("fp32", golden, trained=trained).max_delta <= 1e-4
        return
    with pytest.raises(ContractMismatch, match="parity would prove nothing") as refusal:
        gate_for("fp32", golden, trained=trained)
    assert f"{spread:.4f}" in str(refusal.value)
    assert ("0.1" if trained else "0.3") in str(refusal.value)
