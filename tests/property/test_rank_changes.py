"""Rank changes between two score vectors, whatever they hold: against a plain count over all pairs."""

from __future__ import annotations

from itertools import combinations
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adgauge.export.comparison import Comparison, compare

# Few values, so that ties are many.
SCORES = st.one_of(st.sampled_from([1.0, 1.5, 2.0, 5.0]), st.floats(1, 5, width=32))
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=1, max_size=30)


def ranked(pairs: list[tuple[float, float]]) -> tuple[Comparison, list[float], list[float]]:
    first, second = [one for one, _ in pairs], [other for _, other in pairs]
    return compare(first, second), first, second


@given(PAIRS)
def test_discordant_pairs_are_those_in_opposite_order(pairs: list[tuple[float, float]]) -> None:
    result, _, _ = ranked(pairs)
    opposite = sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for a, b in combinations(pairs, 2))
    assert result.discordant == opposite


@given(PAIRS)
def test_the_largest_change_of_rank_is_that_of_shared_ranks(pairs: list[tuple[float, float]]) -> None:
    result, first, second = ranked(pairs)
    assert result.rank_change == np.abs(stats.rankdata(first) - stats.rankdata(second)).max()


@given(PAIRS)
def test_it_does_not_matter_which_vector_is_the_reference(pairs: list[tuple[float, float]]) -> None:
    result, first, second = ranked(pairs)
    back = compare(second, first)
    assert (result.discordant, result.rank_change) == (back.discordant, back.rank_change)
    assert (result.max_delta, result.mean_delta) == (back.max_delta, back.mean_delta)


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_products_does_not_matter(pairs: list[tuple[float, float]], rng: Random) -> None:
    result, _, _ = ranked(pairs)
    shuffled = rng.sample(pairs, len(pairs))
    other, _, _ = ranked(shuffled)
    assert (result.discordant, result.rank_change) == (other.discordant, other.rank_change)


@given(st.lists(SCORES, min_size=1, max_size=30))
def test_equal_vectors_change_no_rank(scores: list[float]) -> None:
    result = compare(scores, scores)
    assert (result.max_delta, result.discordant, result.rank_change) == (0.0, 0, 0.0)
