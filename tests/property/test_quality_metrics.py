"""What is true of the metrics whatever the scores and ratings are."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from adgauge.quality.ces import Budget, CesForm
from adgauge.quality.metrics import (
    Array,
    MetricWarning,
    bootstrap_interval,
    fisher_interval,
    mae,
    plcc,
    plcc_plus,
    rmse,
    srcc,
)

STARS = st.integers(10, 50).map(lambda tenths: tenths / 10)
ANYTHING = st.floats(allow_nan=True, allow_infinity=True)
COSTS = st.floats(1e-4, 1e4)


class Rated(NamedTuple):
    scores: Array
    labels: Array
    weights: Array


@st.composite
def rated(draw: st.DrawFn) -> Rated:
    """Pairs whose scores and labels vary: what correlations are for."""
    pairs = draw(st.lists(st.tuples(STARS, STARS, st.integers(1, 5)), min_size=3, max_size=40))
    scores, labels, weights = (np.array(each, dtype=np.float64) for each in zip(*pairs, strict=True))
    assume(np.ptp(scores) > 0 and np.ptp(labels) > 0)
    return Rated(scores, labels, weights)


@given(rated(), st.integers(-10, 10), st.floats(-100, 100), st.booleans())
def test_plcc_does_not_see_scale_and_offset(pairs: Rated, power: int, offset: float, mirrored: bool) -> None:
    scale = (-1 if mirrored else 1) * 2.0**power
    moved = plcc(pairs.scores * scale + offset, pairs.labels, pairs.weights)
    assert moved == pytest.approx(math.copysign(1, scale) * plcc(*pairs), abs=1e-9)


@given(rated())
def test_srcc_sees_order_only(pairs: Rated) -> None:
    assert srcc(np.exp(pairs.scores), pairs.labels, pairs.weights) == srcc(*pairs)


@given(rated())
def test_correlations_and_errors_are_symmetric(pairs: Rated) -> None:
    for metric in (plcc, srcc, mae, rmse):
        swapped = metric(pairs.labels, pairs.scores, pairs.weights)
        assert swapped == pytest.approx(metric(*pairs), abs=1e-12)


@given(rated(), st.randoms(use_true_random=False))
def test_the_order_of_items_does_not_matter(pairs: Rated, random: object) -> None:
    order = np.arange(len(pairs.scores))
    random.shuffle(order)  # type: ignore[attr-defined]  # hypothesis hands over a random.Random
    shuffled = Rated(*(each[order] for each in pairs))
    for metric in (plcc, srcc, mae, rmse):
        assert metric(*shuffled) == pytest.approx(metric(*pairs), abs=1e-12)


@given(rated())
def test_whole_weights_are_repetitions(pairs: Rated) -> None:
    times = pairs.weights.astype(int)
    scores, labels = np.repeat(pairs.scores, times), np.repeat(pairs.labels, times)
    for metric in (plcc, srcc, mae, rmse):
        assert metric(*pairs) == pytest.approx(metric(scores, labels), abs=1e-12)


@given(rated(), st.floats(1e-6, 1e6))
def test_weights_are_relative(pairs: Rated, factor: float) -> None:
    for metric in (plcc, srcc, mae, rmse):
        scaled = metric(pairs.scores, pairs.labels, pairs.weights * factor)
        assert scaled == pytest.approx(metric(*pairs), abs=1e-9)


@given(rated())
def test_nothing_correlates_better_than_itself(pairs: Rated) -> None:
    assert plcc(pairs.scores, pairs.scores, pairs.weights) == pytest.approx(1.0, abs=1e-14)
    assert srcc(pairs.scores, -pairs.scores, pairs.weights) == pytest.approx(-1.0, abs=1e-14)


@given(rated())
def test_the_largest_error_bounds_the_mean_ones(pairs: Rated) -> None:
    largest = np.abs(pairs.scores - pairs.labels).max()
    assert mae(*pairs) <= rmse(*pairs) + 1e-12 <= largest + 2e-12


@given(rated())
def test_intervals_hold_in_bounds(pairs: Rated) -> None:
    correlation = plcc(*pairs)
    fisher = fisher_interval(correlation, len(pairs.scores))
    drawn = bootstrap_interval(pairs.scores, pairs.labels, np.random.default_rng(0), resamples=50)

    assert -1 <= fisher.low <= correlation + 1e-15
    assert correlation - 1e-15 <= fisher.high <= 1
    assert math.isnan(drawn.low) or -1 <= drawn.low <= drawn.high <= 1


@given(st.lists(st.tuples(ANYTHING, ANYTHING), max_size=20))
def test_any_floats_give_a_correlation_or_nan_with_a_warning(pairs: list[tuple[float, float]]) -> None:
    scores, labels = (list(each) for each in zip(*pairs, strict=True)) if pairs else ([], [])
    for metric in (plcc, srcc):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = metric(scores, labels)
        assert {each.category for each in caught} <= {MetricWarning}
        assert -1 <= value <= 1 or (math.isnan(value) and caught)


@given(COSTS, COSTS, st.sampled_from(CesForm))
def test_a_cheaper_model_is_never_less_efficient(one: float, other: float, form: CesForm) -> None:
    cheap, dear = sorted((one, other))
    budget = Budget()
    assert budget.efficiency(cheap, form) >= budget.efficiency(dear, form)
    assert budget.efficiency(dear, form) >= 0
    assert budget.efficiency(cheap, form) <= 1 + budget.gamma


@given(st.floats(-1, 1), COSTS, st.sampled_from(CesForm))
def test_ces_lies_between_nothing_and_the_bonus(correlation: float, cost: float, form: CesForm) -> None:
    budget = Budget()
    assert 0 <= budget.ces(correlation, cost, form) <= plcc_plus(correlation) * (1 + budget.gamma) + 1e-15
