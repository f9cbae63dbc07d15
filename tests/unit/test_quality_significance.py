"""Intervals hold the truth as often as they say, p-values are scipy's, odd slices have defined answers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adgauge.quality.calibration import Mean, absolute_error, bias, calibration, mean, student_quantile
from adgauge.quality.correlation import (
    Correlation,
    Difference,
    change_interval,
    correlation,
    difference,
    difference_interval,
    plcc_interval,
    rank_correlation,
)
from adgauge.quality.metrics import Array, Interval, MetricWarning, fisher_interval, mae, plcc, srcc
from adgauge.quality.significance import (
    NonInferiority,
    below_floor,
    benjamini_hochberg,
    decide,
    dropped,
    pairs_needed,
    worse,
)

PROMOTE, HOLD, REJECT = NonInferiority.PROMOTE, NonInferiority.HOLD, NonInferiority.REJECT
P_VALUES = st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=40)
# Few distinct values, so that ties and constant draws are common.
STARS = st.integers(2, 10).map(lambda tenths: tenths / 2)
# Benjamini & Hochberg (1995), section 3.2: fifteen tests, of which four are significant at 0.05.
HOCHBERG = (
    *(0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719),
    *(0.6528, 0.7590, 1.0),
)


def ratings(seed: int, n: int, slope: float = 0.5) -> tuple[Array, Array, Array]:
    """Skewed labels with ties, scores that err more where ratings are few, and rating numbers."""
    rng = np.random.default_rng(seed)
    numbers = np.ceil(rng.lognormal(2, 1.5, n))
    quality = 4.2 + 0.4 * rng.normal(size=n)
    labels = np.clip(quality + rng.normal(size=n) / np.sqrt(numbers), 1, 5).round(1)
    scores = 4.1 + slope * (quality - 4.2) + 0.3 * rng.normal(size=n) * (1 + (numbers < 5))
    return scores, labels, numbers


def by_hand(scores: Array, labels: Array, weights: Array) -> float:
    """The error as the module's formulas have it, with shares p and a hat matrix for the leverage."""
    p = weights / weights.sum()
    u, v = ((x - p @ x) / math.sqrt(p @ (x - p @ x) ** 2) for x in (scores, labels))
    r = float(p @ (u * v))
    design = np.stack([np.ones_like(u), u, v], axis=1) * np.sqrt(p)[:, None]
    leverage = np.diag(design @ np.linalg.inv(design.T @ design) @ design.T)
    contribution = p * (u * v - r / 2 * (u * u + v * v)) / (1 - leverage)
    return math.sqrt(float(contribution @ contribution))


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


@pytest.mark.parametrize("seed", range(3))
def test_the_error_of_a_plcc_is_the_formula_with_and_without_weights(seed: int) -> None:
    scores, labels, numbers = ratings(seed, 300)
    plain, weighted = correlation(scores, labels), correlation(scores, labels, numbers)

    assert plain.plcc == plcc(scores, labels)
    assert weighted.plcc == plcc(scores, labels, numbers)
    assert plain.error == pytest.approx(by_hand(scores, labels, np.ones(300)), rel=1e-10)
    assert weighted.error == pytest.approx(by_hand(scores, labels, numbers), rel=1e-10)
    assert plain.pairs == weighted.pairs == 300


def test_the_error_agrees_with_a_jackknife() -> None:
    scores, labels, _ = ratings(1, 2000)
    kept = ~np.eye(2000, dtype=bool)
    without = np.array([np.corrcoef(scores[row], labels[row])[0, 1] for row in kept])
    jackknife = math.sqrt(1999 / 2000 * float(np.sum((without - without.mean()) ** 2)))
    assert correlation(scores, labels).error == pytest.approx(jackknife, rel=0.01)


def test_for_normal_data_the_interval_is_fishers() -> None:
    x, e = np.random.default_rng(3).normal(size=(2, 50_000))
    found = correlation(x, 0.5 * x + e)
    assert ends(plcc_interval(found)) == pytest.approx(ends(fisher_interval(found.plcc, 50_000)), abs=2e-4)


def test_equal_weights_are_no_weights_and_no_scale_or_order_matters() -> None:
    scores, labels, _ = ratings(4, 500)
    expected = correlation(scores, labels)
    order = np.random.default_rng(0).permutation(500)
    for other in (
        correlation(scores, labels, np.full(500, 7.0)),
        correlation(1e6 + 1e-3 * scores, 3 * labels),
        correlation(scores[order], labels[order]),
    ):
        assert (other.plcc, other.error) == pytest.approx((expected.plcc, expected.error), rel=1e-6)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels, numbers = ratings(5, 1000)
    whole = correlation(scores, labels, numbers)
    monkeypatch.setattr("adgauge.quality.correlation.BLOCK", 77)
    assert correlation(scores, labels, numbers).error == pytest.approx(whole.error, rel=1e-13)


@pytest.mark.parametrize(("n", "slope"), [(60, 0.3), (100, 1.0), (1000, 0.5)])
def test_the_interval_holds_the_truth_in_about_95_of_100_windows(n: int, slope: float) -> None:
    scores, labels, _ = ratings(6, 200_000, slope)
    truth = plcc(scores, labels)
    rows = np.random.default_rng(7).integers(0, 200_000, (2000, n))
    intervals = [plcc_interval(correlation(scores[row], labels[row])) for row in rows]
    held = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.935 <= held <= 0.97  # two standard errors are 0.01


def test_clean_windows_give_p_values_below_5_percent_in_about_5_of_100() -> None:
    scores, labels, _ = ratings(8, 200_000)
    noise = 0.1 * np.random.default_rng(1).normal(size=(2, 200_000))
    scores, rivals = scores + noise[0], scores + noise[1]
    truth = plcc(scores, labels)
    rows = np.random.default_rng(9).integers(0, 200_000, (2000, 2, 200))
    p_values = []
    for now, before in rows:
        found = correlation(scores[now], labels[now])
        reference = correlation(scores[before], labels[before])
        rival = difference(scores[now], rivals[now], labels[now])
        p_values.append((below_floor(found, truth), dropped(found, reference), worse(rival)))
    shares = np.mean(np.array(p_values) <= 0.05, axis=0)
    assert ((shares >= 0.03) & (shares <= 0.065)).all()


@pytest.mark.filterwarnings("ignore::adgauge.quality.metrics.MetricWarning")
@pytest.mark.parametrize(
    ("scores", "labels"),
    [((), ()), ((4.0,), (4.0,)), ((1, 2), (3, 4)), ((4.0,) * 9, range(9)), (range(9), (5,) * 9)],
)
def test_slices_that_have_no_correlation_are_not_tested(scores: npt.ArrayLike, labels: npt.ArrayLike) -> None:
    found = correlation(scores, labels)
    well = Correlation(0.5, 0.1, 50)

    assert found.pairs == np.size(scores)
    undefined = [found.plcc, found.error, *ends(plcc_interval(found)), *ends(change_interval(found, well))]
    undefined += [
        below_floor(found, 0.2),
        dropped(found, well),
        dropped(well, found),
        dropped(well, found, 0.1),
    ]
    apart = difference(scores, scores, labels)
    undefined += [apart.value, apart.error, *ends(difference_interval(apart)), worse(apart)]
    assert np.isnan(undefined).all()
    assert decide([apart], [0.02]) == (HOLD,)
    assert math.isnan(pairs_needed(apart, 0.02))


def test_a_slice_without_a_correlation_says_why() -> None:
    with pytest.warns(MetricWarning, match="scores are constant") as caught:
        correlation([4.0] * 9, range(9))
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("scores", "labels"),
    [((1, 2, 4), (3, 5, 4)), ((1, 2, 3), (1, 2, 3)), ((4, 4, 4, 4, 1), (3, 5, 4, 2, 1))],
    ids=["three", "three on a line", "one that differs"],
)
def test_where_one_pair_decides_nothing_is_known(scores: npt.ArrayLike, labels: npt.ArrayLike) -> None:
    found = correlation(scores, labels)

    assert ends(plcc_interval(found)) == (-1.0, 1.0)
    assert below_floor(found, 0.9) == 0.5
    assert difference(scores, labels, labels).error == math.inf


def test_points_on_a_line_have_no_error() -> None:
    found = correlation(range(50), np.arange(50) * -2.0)

    assert ends(plcc_interval(found)) == pytest.approx((-1.0, -1.0), abs=1e-15)
    assert below_floor(found, -0.5) == 0.0
    assert below_floor(correlation(range(50), range(50)), 0.99) == 1.0
    assert dropped(found, found) == 1.0


def test_pairs_with_nan_in_either_scorer_are_left_out_of_both() -> None:
    scores, labels, numbers = ratings(10, 200)
    candidate, baseline = scores.copy(), scores**2
    candidate[3], baseline[7], labels[11] = np.nan, np.inf, np.nan
    kept = np.delete(np.arange(200), [3, 7, 11])
    with pytest.warns(MetricWarning, match="3 of 200 pairs"):
        found = difference(candidate, baseline, labels, numbers)
    assert found == difference(candidate[kept], baseline[kept], labels[kept], numbers[kept])


def test_scorers_of_different_lengths_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="equally long"):
        difference([1, 2, 3], [1, 2, 3], [1])


def test_the_difference_of_scorers_is_surer_than_that_of_windows() -> None:
    scores, labels, _ = ratings(11, 1000)
    rival = scores + 0.05 * np.random.default_rng(1).normal(size=1000)
    found = difference(scores, rival, labels)

    assert found.value == plcc(scores, labels) - plcc(rival, labels)
    assert found.error < 0.3 * math.hypot(correlation(scores, labels).error, correlation(rival, labels).error)
    assert worse(found) + worse(difference(rival, scores, labels)) == pytest.approx(1, abs=1e-12)


def test_scores_on_another_scale_are_neither_better_nor_worse() -> None:
    scores, labels, _ = ratings(12, 1000)
    found = difference(1 + scores / 5, scores, labels)

    assert worse(found) == 1.0
    assert decide([found], [0.01]) == (PROMOTE,)


def test_p_values_are_the_normal_tails_also_far_out() -> None:
    found, before = Correlation(0.2, 0.01, 1000), Correlation(0.5, 0.02, 1000)
    z, error = math.atanh(0.2), 0.01 / 0.96
    other, other_error = math.atanh(0.5), 0.02 / 0.75

    assert below_floor(found, 0.4) == pytest.approx(stats.norm.cdf((z - math.atanh(0.4)) / error), rel=1e-10)
    expected = stats.norm.cdf((z - other) / math.hypot(error, other_error))
    assert dropped(found, before) == pytest.approx(expected, rel=1e-10)
    assert dropped(found, before, tolerated=0.1) > dropped(found, before)
    assert dropped(found, Correlation(0.3, 0.02, 1000), tolerated=0.1) == pytest.approx(0.5)
    assert worse(Difference(0.2, 0.5, 0.03, 9)) == pytest.approx(stats.norm.cdf(-10), rel=1e-10)


@pytest.mark.parametrize("floor", [-1, 1, 1.5, math.nan])
def test_a_floor_that_is_no_correlation_is_a_mistake(floor: float) -> None:
    with pytest.raises(ValueError, match="floor"):
        below_floor(Correlation(0.2, 0.01, 1000), floor)


def test_a_change_between_windows_worked_by_hand() -> None:
    # Zou (2007), section on independent correlations: r = 0.49 of 145 and 0.36 of 87, 0.13 (-0.09, 0.37),
    # with Fisher's errors (1 − r²)/√(n − 3).
    first, second = (Correlation(r, (1 - r * r) / math.sqrt(n - 3), n) for r, n in ((0.49, 145), (0.36, 87)))
    low, high = ends(change_interval(first, second))
    assert (low, high) == pytest.approx((-0.085, 0.355), abs=0.02)
    assert ends(change_interval(second, first)) == pytest.approx((-high, -low), abs=1e-15)


@pytest.mark.parametrize("weighted", [False, True])
def test_srcc_and_its_error_with_ties_agree_with_a_jackknife(weighted: bool) -> None:
    scores, labels, numbers = ratings(13, 600)
    scores = scores.round(1)
    weights = np.minimum(numbers, 20) if weighted else np.ones(600)
    found = rank_correlation(scores, labels, weights)
    kept = ~np.eye(600, dtype=bool)
    without = np.array([srcc(scores[row], labels[row], weights[row]) for row in kept])
    jackknife = math.sqrt(599 / 600 * float(np.sum((without - without.mean()) ** 2)))

    assert found.plcc == pytest.approx(srcc(scores, labels, weights), abs=1e-14)
    assert found.error == pytest.approx(jackknife, rel=0.03)


def test_intervals_of_srcc_hold_the_truth_in_about_95_of_100_windows() -> None:
    scores, labels, _ = ratings(14, 200_000, 1.0)
    truth = srcc(scores, labels)
    rows = np.random.default_rng(7).integers(0, 200_000, (2000, 100))
    intervals = [plcc_interval(rank_correlation(scores[row], labels[row])) for row in rows]
    held = np.mean([interval.low <= truth <= interval.high for interval in intervals])
    assert 0.935 <= held <= 0.97


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg() -> None:
    adjusted = benjamini_hochberg(HOCHBERG)
    assert np.flatnonzero(adjusted <= 0.05).tolist() == [0, 1, 2, 3]
    assert adjusted == pytest.approx(stats.false_discovery_control(HOCHBERG), abs=1e-12)


@given(P_VALUES)
def test_adjusted_p_values_are_scipys_and_leave_out_what_was_not_tested(p_values: list[float]) -> None:
    p = np.array(p_values, dtype=float)
    tested = ~np.isnan(p)
    adjusted = benjamini_hochberg(p)

    assert np.isnan(adjusted[~tested]).all()
    if tested.any():
        assert adjusted[tested] == pytest.approx(stats.false_discovery_control(p[tested]), abs=1e-12)


@given(P_VALUES)
def test_adjusting_keeps_order_and_ties_and_never_lowers(p_values: list[float]) -> None:
    p = np.array([value for value in p_values if not math.isnan(value)], dtype=float)
    adjusted = benjamini_hochberg(p)

    assert ((adjusted >= p) & (adjusted <= 1)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(adjusted[order]) >= 0).all()
    assert (np.diff(adjusted[order])[np.diff(p[order]) == 0] == 0).all()
    assert benjamini_hochberg(p[::-1])[::-1].tolist() == adjusted.tolist()


@pytest.mark.parametrize("p_values", [[-0.1], [1.1], [[0.5]]])
def test_what_is_no_probability_is_a_mistake(p_values: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="p-values"):
        benjamini_hochberg(p_values)


def apart(value: float, error: float) -> Difference:
    return Difference(0.4 + value, 0.4, error, 1000)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (0.05, 0.01, PROMOTE),
        (0.0, 0.005, PROMOTE),
        (0.0, 0.05, HOLD),
        (0.05, 0.05, HOLD),
        (-0.01, 0.002, PROMOTE),
        (-0.1, 0.01, REJECT),
        (-0.03, 0.01, REJECT),
        (-0.03, 0.05, HOLD),
    ],
    ids=[
        "better",
        "equal with much data",
        "equal with too little data",
        "better with too little data",
        "surely worse, and surely by less than the margin",
        "worse by more than the margin",
        "worse, maybe by more than the margin",
        "maybe worse",
    ],
)
def test_a_candidate_is_promoted_held_or_rejected(
    value: float, error: float, expected: NonInferiority
) -> None:
    assert decide([apart(value, error)], [0.02]) == (expected,)


def test_a_candidate_that_is_better_overall_is_rejected_on_the_slice_where_it_is_worse() -> None:
    slices = [apart(0.05, 0.01)] * 99 + [apart(-0.2, 0.04)]
    assert decide(slices, [0.02] * 100) == (*[PROMOTE] * 99, REJECT)


def test_of_many_slices_one_that_looks_worse_by_chance_is_held() -> None:
    slices = [apart(-0.1, 0.05), *[apart(0.0, 0.05)] * 99]
    assert decide(slices[:1], [0.02]) == (REJECT,)
    assert decide(slices, [0.02] * 100)[0] == HOLD


@pytest.mark.parametrize("margins", [[-0.1], [0.1, 0.1], []])
def test_margins_must_fit(margins: list[float]) -> None:
    with pytest.raises(ValueError, match=r"margins|argument"):
        decide([apart(0, 1)], margins)


def test_as_many_pairs_as_are_needed_promote_an_equal_candidate_in_four_of_five_cases() -> None:
    needed = pairs_needed(apart(0.0, 0.05), 0.02)
    error = 0.05 * math.sqrt(1000 / needed)
    promoted = [
        decide([apart(float(value), error)], [0.02]) == (PROMOTE,)
        for value in np.random.default_rng(1).normal(0, error, 4000)
    ]
    assert np.mean(promoted) == pytest.approx(0.8, abs=0.02)


@given(st.lists(st.tuples(STARS, STARS, STARS, st.integers(1, 500)), min_size=3, max_size=30))
@pytest.mark.filterwarnings("ignore::adgauge.quality.metrics.MetricWarning")
def test_whatever_the_stars_answers_are_in_range_or_not_given(
    rows: list[tuple[float, float, float, int]],
) -> None:
    a, b, labels, numbers = np.array(rows, dtype=float).T
    for weights in (None, numbers):
        found, apart = correlation(a, labels, weights), difference(a, b, labels, weights)
        interval, change = plcc_interval(found), difference_interval(apart)
        assert math.isnan(found.plcc) == math.isnan(rank_correlation(a, labels, weights).plcc)
        if not math.isnan(found.plcc):
            assert -1 <= interval.low <= found.plcc <= interval.high <= 1
            assert 0 <= below_floor(found, 0.3) <= 1
        if not math.isnan(apart.value):
            assert change.low <= apart.value <= change.high
            assert 0 <= worse(apart) <= 1


def test_bias_and_its_interval_are_scipys() -> None:
    scores, labels, _ = ratings(14, 80)
    found = bias(scores, labels)
    expected = stats.ttest_rel(scores, labels)

    assert found.value == pytest.approx(float(np.mean(scores - labels)), abs=1e-14)
    assert ends(found.interval) == pytest.approx(tuple(expected.confidence_interval(0.95)), abs=1e-9)
    assert absolute_error(scores, labels).value == pytest.approx(mae(scores, labels), abs=1e-14)


def test_a_weighted_mean_is_as_sure_as_its_draws_vary() -> None:
    rng = np.random.default_rng(15)
    numbers = np.ceil(rng.lognormal(2, 0.7, (3000, 200)))
    values = rng.normal(size=(3000, 200)) / np.sqrt(numbers)
    found = [mean(x, w) for x, w in zip(values, numbers, strict=True)]
    held = np.mean([each.interval.low <= 0 <= each.interval.high for each in found])
    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("values", "value"), [((), math.nan), ((3.0,), 3.0)])
def test_means_of_nothing_and_of_one_have_no_interval(values: tuple[float, ...], value: float) -> None:
    found = mean(np.array(values), np.ones(len(values)))
    assert (found.value, found.pairs) == pytest.approx((value, len(values)), nan_ok=True)
    assert np.isnan(ends(found.interval)).all()


def test_a_pair_that_outweighs_all_others_leaves_a_mean_without_interval() -> None:
    found = mean(np.array([3.0, 4.0]), np.array([1.0, 1e-300]))
    assert found.value == 3.0
    assert np.isnan(ends(found.interval)).all()


@pytest.mark.parametrize(("freedom", "within"), [(5, 3e-4), (10, 1e-5), (20, 3e-7), (1e9, 1e-9)])
def test_quantiles_of_students_t_are_scipys(freedom: float, within: float) -> None:
    assert student_quantile(0.975, freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=within)


def test_calibration_is_of_ten_bins_with_as_many_pairs() -> None:
    scores, labels, _ = ratings(16, 1000)
    bins = calibration(scores, labels)

    assert [each.label.pairs for each in bins] == [100] * 10
    assert [each.high for each in bins[:-1]] == [each.low for each in bins[1:]]
    assert (bins[0].low, bins[-1].high) == (scores.min(), scores.max())
    for each, rows in zip(bins, np.array_split(np.argsort(scores), 10), strict=True):
        expected: Mean = mean(labels[rows], np.ones(100))
        assert each.mean_score == pytest.approx(scores[rows].mean(), abs=1e-12)
        assert each.label.value == pytest.approx(expected.value, abs=1e-12)
        assert ends(each.label.interval) == pytest.approx(ends(expected.interval), abs=1e-12)


@given(st.lists(st.tuples(STARS, STARS, st.integers(1, 9)), min_size=1, max_size=60))
def test_calibration_parts_no_equal_scores_and_loses_no_pair(rows: list[tuple[float, float, int]]) -> None:
    scores, labels, numbers = np.array(rows, dtype=float).T
    bins = calibration(scores, labels, numbers)

    assert sum(each.label.pairs for each in bins) == len(rows)
    assert all(each.label.pairs for each in bins)
    assert all(each.low - 1e-12 <= each.mean_score <= each.high + 1e-12 for each in bins)
    inside = [((scores >= each.low) & (scores < each.high)).sum() for each in bins[:-1]]
    assert inside == [each.label.pairs for each in bins[:-1]]


def test_calibration_of_nothing_has_no_bins_and_of_constant_scores_one() -> None:
    assert calibration([], []) == ()
    (only,) = calibration([4.0] * 30, range(30))
    assert (only.low, only.high, only.mean_score, only.label.value) == pytest.approx((4, 4, 4, 14.5))


@pytest.mark.parametrize(
    "metric", [lambda c: plcc_interval(Correlation(0.5, 0.1, 9), c), lambda c: bias([1], [1], None, c)]
)
@pytest.mark.parametrize("confidence", [0, 1, 95])
def test_confidence_lies_between_0_and_1(metric: Callable[[float], object], confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        metric(confidence)
