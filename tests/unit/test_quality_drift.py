"""Drift from counts: p-values are scipy's, intervals are the published ones, counts of parts add up."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from adgauge.quality.drift import (
    binned,
    chi_square,
    chi_square_tail,
    fisher_exact,
    kolmogorov_smirnov,
    kolmogorov_tail,
    psi,
    quantile_edges,
    share_change,
    wilson_interval,
)
from adgauge.quality.metrics import Interval

COUNTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=12)
VALUES = st.lists(st.integers(2, 10).map(lambda half: half / 2), min_size=1, max_size=80)


def ends(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high


def test_edges_part_distinct_values_into_equal_bins() -> None:
    values = np.random.default_rng(1).normal(size=1000)
    edges = quantile_edges(values)
    assert binned(values, edges).tolist() == [100.0] * 10
    assert edges == pytest.approx(np.sort(values)[100::100])


def test_a_value_that_fills_several_bins_gets_one() -> None:
    stars = np.repeat([1.0, 4.0, 4.5, 5.0], [5, 25, 30, 40])
    edges = quantile_edges(stars)
    assert edges.tolist() == [4.0, 4.5, 5.0]
    assert binned(stars, edges).tolist() == [5, 25, 30, 40]


@given(VALUES, st.integers(2, 12))
def test_no_bin_of_the_reference_is_empty_and_counted_values_give_the_same_edges(
    values: list[float], bins: int
) -> None:
    edges = quantile_edges(values, bins=bins)
    distinct, counts = np.unique(values, return_counts=True)

    assert len(edges) < bins
    assert (binned(values, edges) > 0).all()
    assert quantile_edges(distinct, counts, bins).tolist() == edges.tolist()
    assert binned(distinct, edges, counts).tolist() == binned(values, edges).tolist()


@given(VALUES, VALUES)
def test_counts_of_parts_add_up_to_those_of_the_whole(first: list[float], second: list[float]) -> None:
    edges = quantile_edges(first)
    parts = binned(first, edges) + binned(second, edges)
    assert parts.tolist() == binned(first + second, edges).tolist()


def test_nothing_has_no_edges_and_what_is_beyond_them_lies_in_the_outer_bins() -> None:
    assert quantile_edges([]).tolist() == []
    assert binned([], np.array([1.0, 2.0])).tolist() == [0, 0, 0]
    assert binned([-math.inf, 1.0, 1.5, 2.0, 9.0], np.array([1.0, 2.0])).tolist() == [1, 2, 2]


@pytest.mark.parametrize("values", [[math.nan], [math.inf], [[1.0]]])
def test_edges_of_what_is_no_list_of_numbers_are_a_mistake(values: npt.ArrayLike) -> None:
    with pytest.raises(ValueError, match="edges need"):
        quantile_edges(values)


def test_nan_lies_in_no_bin() -> None:
    with pytest.raises(ValueError, match="NaN lies in no bin"):
        binned([1.0, math.nan], np.array([1.0]))


def test_psi_worked_by_hand() -> None:
    # Shares 0.2/0.3/0.5 against 0.3/0.3/0.4: 0.1·ln 1.5 + 0.1·ln 1.25; with a million rows ½ is nothing.
    before, after = np.array([2, 3, 5]) * 1e9, np.array([3, 3, 4]) * 1e9
    assert psi(before, after) == pytest.approx(0.1 * math.log(1.5) + 0.1 * math.log(1.25), abs=1e-8)


def test_psi_of_an_empty_bin_is_finite_and_one_row_in_it_makes_no_jump() -> None:
    empty, one = psi([500, 500, 0], [480, 500, 20]), psi([500, 499, 1], [480, 500, 20])
    expected = [(c + 0.5) / 1001.5 for c in (500, 500, 0)], [(c + 0.5) / 1001.5 for c in (480, 500, 20)]
    assert empty == pytest.approx(
        sum((p - q) * math.log(p / q) for p, q in zip(*expected, strict=True)), abs=1e-14
    )
    assert one == pytest.approx(empty, abs=0.04)


def test_psi_without_a_change_is_as_large_as_its_docstring_says() -> None:
    rng = np.random.default_rng(2)
    found = [psi(*(rng.multinomial(n, [0.1] * 10) for n in (1000, 500))) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(9 * (1 / 1000 + 1 / 500), rel=0.05)


@given(COUNTS)
def test_psi_is_the_same_both_ways_and_nothing_only_for_equal_shares(counts: list[tuple[int, int]]) -> None:
    p, q = np.array(counts).T
    found = psi(p, q)
    if not p.sum() or not q.sum():
        assert math.isnan(found)
    else:
        assert found >= 0
        assert found == pytest.approx(psi(q, p), abs=1e-12)
        assert psi(p, p) == 0


@pytest.mark.parametrize("seed", range(5))
def test_chi_square_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mix = rng.dirichlet(np.full(8, 5.0))
    table = np.stack([rng.multinomial(n, mix) for n in (3000, 2000)])
    expected = stats.chi2_contingency(table, correction=False)

    found = chi_square(*table)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-12)


def test_rare_categories_are_tested_together() -> None:
    common, rare = ([400, 300, 100], [350, 330, 120]), ([1, 0, 2, 1, 3], [2, 1, 0, 1, 4])
    found = chi_square(common[0] + rare[0], common[1] + rare[1])
    pooled = stats.chi2_contingency([[*common[0], 7], [*common[1], 8]], correction=False)
    assert found.p_value == pytest.approx(pooled.pvalue, rel=1e-12)


def test_rare_categories_that_are_too_few_together_take_the_next_one_in() -> None:
    found = chi_square([400, 50, 1], [350, 60, 2])
    pooled = stats.chi2_contingency([[400, 51], [350, 62]], correction=False)
    assert found.p_value == pytest.approx(pooled.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    "counts", [([5, 5], [0, 0]), ([0, 0], [0, 0]), ([100], [50]), ([9, 0], [9, 0]), ([1, 1], [1, 1])]
)
def test_what_leaves_less_than_two_bins_is_not_tested(counts: tuple[list[int], list[int]]) -> None:
    assert math.isnan(chi_square(*counts).p_value)


@pytest.mark.parametrize("freedom", [1, 2, 3, 9, 10, 49, 400])
def test_the_tail_of_chi_square_is_scipys(freedom: int) -> None:
    for statistic in (0.0, 1e-6, 0.5, freedom / 2, float(freedom), freedom + 60.0, freedom + 500.0):
        assert chi_square_tail(statistic, freedom) == pytest.approx(
            stats.chi2.sf(statistic, freedom), rel=1e-11
        )


@pytest.mark.parametrize("distance", [0, 0.02, 0.039, 0.041, 0.2, 0.5, 0.999, 1, 1.001, 1.5, 3, 12])
def test_the_tail_of_kolmogorovs_distribution_is_scipys(distance: float) -> None:
    assert kolmogorov_tail(distance) == pytest.approx(special.kolmogorov(distance), rel=1e-11, abs=1e-15)


@given(VALUES, VALUES)
def test_kolmogorov_smirnov_with_ties_is_the_largest_gap_between_distributions(
    x: list[float], y: list[float]
) -> None:
    support = np.unique(x + y)
    found = kolmogorov_smirnov(*(binned(each, support[1:]) for each in (x, y)))
    gaps = [abs(np.mean(np.array(x) <= value) - np.mean(np.array(y) <= value)) for value in support]
    assert found.statistic == pytest.approx(max(gaps), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_kolmogorov_smirnov_is_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=3000).round(1), rng.normal(0.05, 1, 2000).round(1)
    edges = np.unique(np.concatenate([x, y]))[1:]
    found = kolmogorov_smirnov(binned(x, edges), binned(y, edges))
    expected = stats.ks_2samp(x, y, method="asymp")

    assert found.statistic == pytest.approx(expected.statistic, abs=1e-12)
    assert found.p_value == pytest.approx(special.kolmogorov(math.sqrt(1200) * expected.statistic), rel=1e-11)
    assert found.p_value == pytest.approx(expected.pvalue, rel=0.1)  # which corrects for a finite sample


def test_ties_make_kolmogorov_smirnov_cautious_and_never_rash() -> None:
    rng = np.random.default_rng(3)
    stars = np.array([0.05, 0.05, 0.1, 0.2, 0.6])
    p_values = [kolmogorov_smirnov(*rng.multinomial(300, stars, 2)).p_value for _ in range(3000)]
    shares = [float(np.mean(np.array(p_values) <= level)) for level in (0.01, 0.05, 0.2)]
    assert all(share <= level for share, level in zip(shares, (0.01, 0.05, 0.2), strict=True))


def test_an_empty_window_is_not_tested() -> None:
    assert math.isnan(kolmogorov_smirnov([1, 2], [0, 0]).p_value)
    assert math.isnan(psi([1, 2], [0, 0]))


@pytest.mark.parametrize(
    "counts", [([1, 2], [1, 2, 3]), ([], []), ([-1, 2], [1, 2]), ([math.nan, 2], [1, 2])]
)
def test_windows_counted_otherwise_are_a_mistake(counts: tuple[list[float], list[float]]) -> None:
    for test in (psi, chi_square, kolmogorov_smirnov):
        with pytest.raises(ValueError, match=r"same bins|at least 0"):
            test(*counts)


# Newcombe, Stat. Med. 17 (1998), Table II, method 10: p₁ − p₂ of contrasts (a) to (h).
CONTRASTS = [
    (56, 70, 48, 80, 0.0524, 0.3339),
    (9, 10, 3, 10, 0.1705, 0.8090),
    (6, 7, 2, 7, 0.0582, 0.8062),
    (5, 56, 0, 29, -0.0381, 0.1926),
    (0, 10, 0, 20, -0.1611, 0.2775),
    (0, 10, 0, 10, -0.2775, 0.2775),
    (10, 10, 0, 20, 0.6791, 1.0000),
    (10, 10, 0, 10, 0.6075, 1.0000),
]


@pytest.mark.parametrize(("a", "m", "b", "n", "low", "high"), CONTRASTS)
def test_intervals_of_differences_are_newcombes(
    a: int, m: int, b: int, n: int, low: float, high: float
) -> None:
    found = share_change(b, n, a, m)
    assert found.difference == pytest.approx(a / m - b / n)
    assert ends(found.interval) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize(("count", "rows"), [(0, 10), (3, 10), (10, 10), (1, 100_000), (400, 1000)])
def test_intervals_of_shares_are_scipys(count: int, rows: int) -> None:
    expected = stats.binomtest(count, rows).proportion_ci(0.95, method="wilson")
    assert ends(wilson_interval(count, rows)) == pytest.approx((expected.low, expected.high), abs=1e-12)


@given(st.integers(0, 60), st.integers(1, 60), st.integers(0, 60), st.integers(1, 60))
def test_p_values_of_shares_are_fishers(a: int, m: int, b: int, n: int) -> None:
    a, b = min(a, m), min(b, n)
    expected = stats.fisher_exact([[a, m - a], [b, n - b]]).pvalue
    assert fisher_exact(a, m, b, n) == pytest.approx(expected, abs=1e-12)
    assert fisher_exact(b, n, a, m) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("a", "m", "b", "n"),
    [
        (3, 50, 0, 1000),
        (400, 10_000, 460, 10_000),
        (40_000, 1_000_000, 40_500, 1_000_000),
        (5, 10**7, 25, 10**7),
    ],
)
def test_p_values_of_shares_are_exact_for_rare_ones_and_for_many_rows(a: int, m: int, b: int, n: int) -> None:
    expected = stats.fisher_exact([[a, m - a], [b, n - b]]).pvalue
    assert fisher_exact(a, m, b, n) == pytest.approx(expected, rel=1e-6)


def test_a_large_change_of_many_rows_cannot_be_chance() -> None:
    assert fisher_exact(400_000, 10**7, 3_100_000, 10**7) == 0.0
    assert share_change(40, 1000, 310, 1000).p_value < 1e-50


def test_clean_windows_rarely_have_low_p_values() -> None:
    rng = np.random.default_rng(4)
    hits = rng.binomial([200, 1000], 0.04, (3000, 2))
    p_values = np.array([share_change(int(a), 200, int(b), 1000).p_value for a, b in hits])
    assert np.mean(p_values <= 0.05) <= 0.05
    assert np.mean(p_values <= 0.001) <= 0.002


@pytest.mark.parametrize(
    ("before", "rows_before", "after", "rows_after"), [(0, 0, 3, 9), (3, 9, 0, 0), (0, 0, 0, 0)]
)
def test_a_share_of_an_empty_window_is_not_tested(
    before: int, rows_before: int, after: int, rows_after: int
) -> None:
    found = share_change(before, rows_before, after, rows_after)
    assert np.isnan([found.difference, *ends(found.interval), found.p_value]).all()


@pytest.mark.parametrize(("count", "rows"), [(-1, 5), (6, 5), (0, -1)])
def test_more_hits_than_rows_are_a_mistake(count: int, rows: int) -> None:
    with pytest.raises(ValueError, match="from 0 to rows"):
        share_change(1, 5, count, rows)
