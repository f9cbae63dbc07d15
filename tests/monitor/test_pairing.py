"""Which scores of two models the gate compares."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from adgauge.monitor.engine import Engine, open_engine
from adgauge.monitor.gate import Scored
from adgauge.monitor.pairing import measured, pair
from adgauge.monitor.result import ALL
from adgauge.monitor.slices import Declared

BEGINS_MS = 1000
CATEGORIES = [Declared().dimensions()[0]]

Row = tuple[Any, ...]

_INSERT = {
    "l": "INSERT INTO l (id, label, begins_ms, main_category) VALUES (?, ?, ?, ?)",
    "b": "INSERT INTO b (id, event_ms, seq, score, at_ms, digest) VALUES (?, ?, ?, ?, ?, ?)",
    "c": "INSERT INTO c (id, event_ms, seq, score, at_ms, digest) VALUES (?, ?, ?, ?, ?, ?)",
}


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine(memory_mb=500, threads=2) as engine:
        yield engine


def paired(
    engine: Engine, labels: Sequence[Row], baseline: Sequence[Row], candidate: Sequence[Row]
) -> Scored:
    """Labels (id, label, begins_ms, category); scores (id, event_ms, seq, score, at_ms, digest)."""
    engine.run(
        "CREATE OR REPLACE TABLE l (id VARCHAR, label DOUBLE, begins_ms BIGINT, main_category VARCHAR,"
        " rating_number BIGINT)"
    )
    for name in ("b", "c"):
        engine.run(
            f"CREATE OR REPLACE TABLE {name} (id VARCHAR, event_ms BIGINT, seq BIGINT, score DOUBLE,"
            " at_ms BIGINT, digest VARCHAR, flags UTINYINT DEFAULT 0, image_reason VARCHAR)"
        )
    for name, rows in (("l", labels), ("b", baseline), ("c", candidate)):
        for row in rows:
            engine.run(_INSERT[name], row)
    return pair(engine, labels="FROM l", baseline="FROM b", candidate="FROM c")


def scores_of(engine: Engine, product: str = "P") -> list[Row]:
    return engine.rows("SELECT baseline, candidate FROM gate_pairs WHERE id = ?", [product])


LABEL = ("P", 4.0, BEGINS_MS, "Books")


def test_the_baseline_counts_with_its_newest_score_before_the_window(engine: Engine) -> None:
    baseline = [("P", 1, 0, 3.1, 500, "x"), ("P", 2, 1, 3.2, 900, "y"), ("P", 3, 2, 3.3, 1001, "z")]
    candidate = [("P", event, event - 1, 4.0 + event / 10, 9000, "of another model") for event in (1, 2, 3)]
    assert paired(engine, [LABEL], baseline, candidate) == Scored(1, 1)
    assert scores_of(engine) == [(3.2, 4.2)]


def test_a_score_at_the_very_beginning_of_the_window_is_in_time(engine: Engine) -> None:
    assert paired(engine, [LABEL], [("P", 1, 0, 3.1, BEGINS_MS, "x")], []) == Scored(1, 0)


def test_a_label_that_the_baseline_scored_only_later_is_not_compared(engine: Engine) -> None:
    assert paired(engine, [LABEL], [("P", 1, 0, 3.1, 1001, "x")], [("P", 1, 0, 4.1, 1, "x")]) == Scored(0, 0)


def test_the_candidate_is_not_compared_on_content_that_was_published_later(engine: Engine) -> None:
    baseline = [("P", 1, 0, 3.1, 500, "x"), ("P", 2, 1, 3.2, 2000, "y")]
    assert paired(engine, [LABEL], baseline, [("P", 2, 1, 4.2, 9000, "z")]) == Scored(1, 0)
    assert scores_of(engine) == [(3.1, None)]


def test_a_product_that_was_deleted_before_the_window_is_not_compared(engine: Engine) -> None:
    baseline = [("P", 1, 0, 3.1, 500, "x"), ("P", 2, 1, None, 800, None)]
    assert paired(engine, [LABEL], baseline, [("P", 1, 0, 4.1, 1, "x")]) == Scored(0, 0)


def test_content_that_was_only_published_again_is_the_same(engine: Engine) -> None:
    """As a catalog that is sent anew every night; a replay holds the newest version alone."""
    baseline = [("P", 1, 0, 3.1, 500, "x"), ("P", 2, 1, 3.1, 2000, "x"), ("P", 3, 2, 3.3, 3000, "y")]
    assert paired(engine, [LABEL], baseline, [("P", 2, 1, 4.2, 9000, "z")]) == Scored(1, 1)
    assert scores_of(engine) == [(3.1, 4.2)]


def test_of_several_scores_of_a_version_the_candidates_newest_counts_once(engine: Engine) -> None:
    baseline = [("P", 1, 0, 3.1, 500, "x"), ("P", 1, 0, 3.1, 600, "x")]
    candidate = [("P", 1, 0, 4.1, 9000, "z"), ("P", 1, 0, 4.3, 9500, "z"), ("P", 1, 0, 4.2, 9200, "z")]
    assert paired(engine, [LABEL], baseline, candidate) == Scored(1, 1)
    assert scores_of(engine) == [(3.1, 4.3)]


def test_every_slice_is_measured_on_its_own_pairs(engine: Engine) -> None:
    rng = np.random.default_rng(0)
    labels, ours, theirs = rng.normal(size=(3, 40))
    scores = [
        [(f"P{at}", 1, at, float(score), 1, f"P{at}") for at, score in enumerate(each)]
        for each in (theirs, ours)
    ]
    named = ["Books" if at % 2 else "All Beauty" for at in range(38)] + ["Groceries", None]
    rows = [(f"P{at}", float(labels[at]), BEGINS_MS, name) for at, name in enumerate(named)]
    paired(engine, rows, scores[0], scores[1][:30])
    overall, *slices = measured(engine, CATEGORIES, least_rest=2, weighted=False)
    pairs = {each.slice.value: each.difference.pairs for each in slices}

    assert (overall.slice, overall.difference.pairs) == (ALL, 30)
    assert overall.difference.candidate == pytest.approx(np.corrcoef(ours[:30], labels[:30])[0, 1], abs=1e-12)
    assert pairs == {"All Beauty": 15, "Books": 15}
    books = next(each for each in slices if each.slice.value == "Books")
    expected = np.corrcoef(theirs[1:30:2], labels[1:30:2])[0, 1]
    assert books.difference.baseline == pytest.approx(expected, abs=1e-12)


def test_a_slice_of_which_the_candidate_scored_nothing_is_not_forgotten(engine: Engine) -> None:
    paired(engine, [LABEL], [("P", 1, 0, 3.1, 500, "x")], [])
    _, books = measured(engine, CATEGORIES, least_rest=2, weighted=False)
    assert (books.slice.value, books.difference.pairs) == ("Books", 0)


def test_without_any_pair_nothing_is_measured_and_nothing_fails(engine: Engine) -> None:
    assert paired(engine, [], [], []) == Scored(0, 0)
    (overall,) = measured(engine, CATEGORIES, least_rest=2, weighted=True)
    assert overall.difference.pairs == 0
