"""The metrics agree with scipy, with worked examples, and with what their module says of odd input."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from adgauge.quality import metrics
from adgauge.quality.metrics import (
    Array,
    Interval,
    MetricWarning,
    bootstrap_interval,
    effective_n,
    fisher_interval,
    mae,
    plcc,
    plcc_plus,
    rmse,
    srcc,
)

Metric = Callable[..., float]
SEEDS = range(5)

# Anscombe, "Graphs in Statistical Analysis", The American Statistician 27 (1973): r = 0.816 in all four.
QUARTET_X = (10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5)
QUARTET = [
    (QUARTET_X, (8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68), 0.81642),
    (QUARTET_X, (9.14, 8.14, 8.74, 8.77, 9.26, 8.10, 6.13, 3.10, 9.13, 7.26, 4.74), 0.81624),
    (QUARTET_X, (7.46, 6.77, 12.74, 7.11, 7.81, 8.84, 6.08, 5.39, 8.15, 6.42, 5.73), 0.81629),
    (
        (8, 8, 8, 8, 8, 8, 8, 19, 8, 8, 8),
        (6.58, 5.76, 7.71, 8.84, 8.47, 7.04, 5.25, 12.50, 5.56, 7.91, 6.89),
        0.81652,
    ),
]
# Zar, Biostatistical Analysis: wing and tail lengths (cm) of twelve birds; r = 0.870, limits 0.592 and 0.963,
# and with ties r_s = 0.851.
WINGS = (10.4, 10.8, 11.1, 10.2, 10.3, 10.2, 10.7, 10.5, 10.8, 11.2, 10.6, 11.4)
TAILS = (7.4, 7.6, 7.9, 7.2, 7.4, 7.1, 7.4, 7.2, 7.8, 7.7, 7.8, 8.3)


def ratings(seed: int, n: int = 300) -> tuple[Array, Array, Array]:
    """Scores, ratings with many ties, and rating numbers as catalogs have them."""
    rng = np.random.default_rng(seed)
    labels = np.clip(4.2 + 0.5 * rng.normal(size=n), 1, 5).round(1)
    scores = np.clip(4.1 + 0.4 * (labels - 4.2) + 0.3 * rng.normal(size=n), 1, 5).round(2)
    return scores, labels, np.ceil(rng.lognormal(3, 2, n))


def exact_plcc(x: Array, y: Array) -> float:
    """In fractions, without rounding."""
    xs, ys = [Fraction(float(v)) for v in x], [Fraction(float(v)) for v in y]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    covariance = sum((a - mean_x) * (b - mean_y) for a, b in zip(xs, ys, strict=True))
    spread = sum((a - mean_x) ** 2 for a in xs) * sum((b - mean_y) ** 2 for b in ys)
    return math.copysign(math.sqrt(covariance**2 / spread), covariance)


def weighted_pearson(x: Array, y: Array, w: Array) -> float:
    mean_x, mean_y = np.average(x, weights=w), np.average(y, weights=w)
    covariance = np.average((x - mean_x) * (y - mean_y), weights=w)
    spread = np.average((x - mean_x) ** 2, weights=w) * np.average((y - mean_y) ** 2, weights=w)
    return float(covariance / math.sqrt(spread))


@pytest.mark.parametrize("seed", SEEDS)
def test_plcc_and_its_fisher_interval_are_scipys(seed: int) -> None:
    scores, labels, _ = ratings(seed)
    expected = stats.pearsonr(scores, labels)
    actual = plcc(scores, labels)

    assert actual == pytest.approx(expected.statistic, abs=1e-12)
    for confidence in (0.8, 0.95, 0.999):
        ours, theirs = fisher_interval(actual, 300, confidence), expected.confidence_interval(confidence)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_srcc_with_ties_is_scipys(seed: int) -> None:
    scores, labels, _ = ratings(seed)
    assert len(np.unique(labels)) < 40
    assert srcc(scores, labels) == pytest.approx(stats.spearmanr(scores, labels).statistic, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_errors_are_the_formulas(seed: int) -> None:
    scores, labels, weights = ratings(seed)
    errors = np.abs(scores - labels)

    assert mae(scores, labels) == pytest.approx(errors.mean(), abs=1e-12)
    assert rmse(scores, labels) == pytest.approx(math.sqrt((errors**2).mean()), abs=1e-12)
    assert mae(scores, labels, weights) == pytest.approx(np.average(errors, weights=weights), abs=1e-12)
    expected = math.sqrt(np.average(errors**2, weights=weights))
    assert rmse(scores, labels, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_weighted_correlations_are_the_formulas(seed: int) -> None:
    scores, labels, weights = ratings(seed)
    repeated = (np.repeat(each, weights.astype(int)) for each in (scores, labels))

    assert plcc(scores, labels, weights) == pytest.approx(
        weighted_pearson(scores, labels, weights), abs=1e-12
    )
    assert srcc(scores, labels, weights) == pytest.approx(stats.spearmanr(*repeated).statistic, abs=1e-12)


@pytest.mark.parametrize(("x", "y", "expected"), QUARTET)
def test_anscombes_quartet_has_one_correlation(
    x: tuple[float, ...], y: tuple[float, ...], expected: float
) -> None:
    assert plcc(x, y) == pytest.approx(expected, abs=5e-6)


def test_wings_and_tails_correlate_as_in_zar() -> None:
    correlation = plcc(WINGS, TAILS)
    interval = fisher_interval(correlation, len(WINGS))

    assert (round(correlation, 3), round(interval.low, 3), round(interval.high, 3)) == (0.870, 0.592, 0.963)
    assert round(srcc(WINGS, TAILS), 3) == 0.851


def test_a_fisher_interval_worked_by_hand() -> None:
    # https://www.statology.org/fisher-z-transformation/: 60 residents, height and weight; rounded on the way.
    interval = fisher_interval(0.56, 60)
    assert (interval.low, interval.high) == pytest.approx((0.3568, 0.7126), abs=3e-4)


def test_spearman_worked_by_hand() -> None:
    # https://en.wikipedia.org/wiki/Spearman%27s_rank_correlation_coefficient: IQ and hours of television.
    iq = (106, 100, 86, 101, 99, 103, 97, 113, 112, 110)
    hours = (7, 27, 2, 50, 28, 29, 20, 12, 6, 17)
    assert srcc(iq, hours) == pytest.approx(-29 / 165, abs=1e-15)


def test_large_offsets_and_tiny_variances_take_no_digits_away() -> None:
    rng = np.random.default_rng(1)
    x = 1e8 + rng.normal(size=200) * 1e-3
    y = (x - 1e8) * 1e-200 + 1e-204 * rng.normal(size=200)
    assert plcc(x, y) == pytest.approx(exact_plcc(x, y * 1e200), abs=1e-14)


def test_magnitudes_at_the_ends_of_float64_overflow_nowhere() -> None:
    x, y, _ = ratings(2)
    expected = plcc(x, y)
    assert plcc(x * 3e307, y * 1e-300) == pytest.approx(expected, abs=1e-12)
    assert plcc(-x * 3e307, y, np.full(300, 1e300)) == pytest.approx(-expected, abs=1e-12)


@pytest.mark.parametrize("metric", [plcc, srcc, mae, rmse])
def test_pairs_that_are_no_numbers_are_left_out_with_a_warning(metric: Metric) -> None:
    scores, labels, _ = ratings(3)
    expected = metric(scores[3:], labels[3:])
    scores[0], labels[1], scores[2] = math.nan, math.nan, math.inf

    with pytest.warns(MetricWarning, match=r"3 of 300 pairs hold NaN or inf and are left out"):
        assert metric(scores, labels) == expected


@pytest.mark.parametrize("metric", [plcc, srcc])
@pytest.mark.parametrize("level", [4.2, 0.0, -1e300])
def test_what_is_constant_correlates_with_nothing(metric: Metric, level: float) -> None:
    _, labels, _ = ratings(4)
    with pytest.warns(MetricWarning, match="scores are constant"):
        assert math.isnan(metric(np.full(300, level), labels))
    with pytest.warns(MetricWarning, match="labels are constant"):
        assert math.isnan(metric(labels, np.full(300, level)))


def test_what_differs_by_rounding_only_is_constant() -> None:
    _, labels, _ = ratings(4)
    sums = np.full(300, 0.1 + 0.2)
    sums[::2] = 0.3
    with pytest.warns(MetricWarning, match="scores are constant"):
        assert math.isnan(plcc(sums, labels))


def test_a_scorer_without_a_correlation_earns_nothing() -> None:
    assert [plcc_plus(each) for each in (math.nan, -0.3, 0.0, 0.41)] == [0.0, 0.0, 0.0, 0.41]


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("metric", [plcc, srcc])
def test_fewer_than_three_pairs_have_no_correlation(metric: Metric, n: int) -> None:
    with pytest.warns(MetricWarning, match=f"at least 3 pairs, not {n}"):
        assert math.isnan(metric([1.0, 2.0][:n], [1.0, 3.0][:n]))


@pytest.mark.parametrize("metric", [mae, rmse])
def test_an_error_needs_one_pair(metric: Metric) -> None:
    assert metric([2.0], [5.0]) == 3.0
    with pytest.warns(MetricWarning, match="no pairs"):
        assert math.isnan(metric([], []))


@pytest.mark.parametrize(
    ("scores", "labels", "weights", "message"),
    [
        ([1, 2, 3], [1, 2], None, r"equally long, not scores \(3,\), labels \(2,\)"),
        ([[1, 2, 3]], [[1, 2, 3]], None, "one-dimensional"),
        ([1, 2, 3], [1, 2, 4], [1, 1], "equally long"),
        ([1, 2, 3], [1, 2, 4], [1, -1, 1], "at least 0"),
        ([1, 2, 3], [1, 2, 4], [1, math.nan, 1], "finite"),
        ([1, 2, 3], [1, 2, 4], [1, math.inf, 1], "finite"),
    ],
)
@pytest.mark.parametrize("metric", [plcc, srcc, mae, rmse])
def test_arguments_that_do_not_fit_are_refused(
    metric: Metric, scores: list[float], labels: list[float], weights: list[float] | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metric(scores, labels, weights)


def test_pairs_without_weight_do_not_count() -> None:
    scores, labels, weights = ratings(5)
    weights[100:] = 0
    assert plcc(scores, labels, weights) == plcc(scores[:100], labels[:100], weights[:100])
    with pytest.warns(MetricWarning, match="not 0"):
        assert math.isnan(plcc(scores, labels, np.zeros(300)))


def test_the_fisher_interval_at_its_ends() -> None:
    assert fisher_interval(0.5, 3) == Interval(-1.0, 1.0)
    assert fisher_interval(1.0, 3) == Interval(-1.0, 1.0)
    assert fisher_interval(1.0, 4) == Interval(1.0, 1.0)
    assert fisher_interval(-1.0, 10) == Interval(-1.0, -1.0)
    assert all(
        math.isnan(end) for end in (fisher_interval(math.nan, 10).low, fisher_interval(math.nan, 10).high)
    )


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 95, math.nan])
def test_a_confidence_is_a_share(confidence: float) -> None:
    scores, labels, _ = ratings(0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fisher_interval(0.5, 10, confidence)
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_interval(scores, labels, np.random.default_rng(0), confidence=confidence)


def test_unequal_weights_tell_less() -> None:
    scores, labels, weights = ratings(6)
    assert effective_n(scores, labels) == 300
    assert effective_n(scores, labels, weights) == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert effective_n([], []) == 0


@pytest.mark.parametrize("weighted", [False, True])
def test_the_bootstrap_is_that_of_a_plain_loop(weighted: bool) -> None:
    """Same distribution, other draws: ends agree within their Monte Carlo error."""
    scores, labels, numbers = ratings(7)
    weights = np.log1p(numbers) if weighted else None
    rng = np.random.default_rng(8)
    drawn = []
    for chosen in (rng.integers(0, 300, 300) for _ in range(4000)):
        of_draw = None if weights is None else weights[chosen]
        drawn.append(plcc(scores[chosen], labels[chosen], of_draw))
    actual = bootstrap_interval(scores, labels, np.random.default_rng(9), weights=weights, resamples=4000)
    assert (actual.low, actual.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.006)


def test_bootstrap_and_fisher_agree_on_normal_data() -> None:
    rng = np.random.default_rng(10)
    x = rng.normal(size=2000)
    y = 0.6 * x + 0.8 * rng.normal(size=2000)
    ours, fisher = bootstrap_interval(x, y, rng), fisher_interval(plcc(x, y), 2000)
    assert (ours.low, ours.high) == pytest.approx((fisher.low, fisher.high), abs=0.005)


def test_the_same_generator_gives_the_same_interval() -> None:
    scores, labels, _ = ratings(11)
    first, second = (bootstrap_interval(scores, labels, np.random.default_rng(12)) for _ in range(2))
    assert first == second
    assert first != bootstrap_interval(scores, labels, np.random.default_rng(13))


def test_blocks_of_the_bootstrap_change_nothing_and_bound_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, labels, _ = ratings(14, n=1000)
    whole = bootstrap_interval(scores, labels, np.random.default_rng(15))
    monkeypatch.setattr(metrics, "BLOCK_CELLS", 7000)
    tracemalloc.start()
    in_blocks = bootstrap_interval(scores, labels, np.random.default_rng(15))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert (in_blocks.low, in_blocks.high) == pytest.approx((whole.low, whole.high), abs=1e-12)
    assert peak < 1_000_000  # 2000 draws of 1000 pairs at once would be 16 MB of counts alone


def test_draws_without_a_correlation_are_left_out() -> None:
    scores, labels = [1.0, 2.0, 3.0], [1.0, 2.5, 2.0]
    interval = bootstrap_interval(scores, labels, np.random.default_rng(16))
    assert -1.0 <= interval.low <= plcc(scores, labels) <= interval.high <= 1.0


def test_no_correlation_has_no_interval() -> None:
    with pytest.warns(MetricWarning, match="constant"):
        interval = bootstrap_interval([4.0] * 9, range(9), np.random.default_rng(0))
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="at least 1"):
        bootstrap_interval([1, 2, 3], [1, 2, 4], np.random.default_rng(0), resamples=0)
