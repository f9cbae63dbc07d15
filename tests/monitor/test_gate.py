"""Promote, hold or reject: on generated scores of which the truth is known."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from adgauge.monitor.gate import GatePolicy, Measured, Parity, Scored, decide, measure
from adgauge.monitor.gate_result import CheckKind, Decision, Finding, GateResult, Side
from adgauge.monitor.result import ALL, Slice
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.metrics import plcc

NOW_MS = 1_763_870_400_000
BOOKS, BEAUTY = (Slice(dimension="main_category", value=value) for value in ("Books", "Beauty"))
DEFAULT = GatePolicy()

Scores = tuple[np.ndarray, np.ndarray, np.ndarray]


def scores(n: int, candidate: float, baseline: float, seed: int = 0, *, alike: float = 0.9) -> Scores:
    """Scores of both and labels [n] with those PLCC in the population; errors correlate by `alike`."""
    rng = np.random.default_rng(seed)
    labels, shared, own, other = rng.normal(size=(4, n))
    errors = [math.sqrt(alike) * shared + math.sqrt(1 - alike) * each for each in (own, other)]
    ours, theirs = (
        r * labels + math.sqrt(1 - r * r) * error
        for r, error in zip((candidate, baseline), errors, strict=True)
    )
    return ours, theirs, labels


def side(name: str, params_m: float | None = 30.0, flops_g: float | None = 5.0) -> Side:
    return Side(
        source=f"{name}.jsonl", generation=None, model=name, contract="ab" * 32,
        params_m=params_m, flops_g=flops_g,
    )  # fmt: skip


def judge(
    overall: Measured, slices: Sequence[Measured] = (), *, policy: GatePolicy = DEFAULT, **given: Any
) -> GateResult:
    facts: dict[str, Any] = {
        "candidate": side("new/2"), "baseline": side("old/1"), "scored": Scored(100, 100), "parity": None
    }  # fmt: skip
    return decide(overall, slices, policy=policy, now_ms=NOW_MS, **(facts | given))


def joined(*parts: Scores) -> Scores:
    ours, theirs, labels = (np.concatenate(each) for each in zip(*parts, strict=True))
    return ours, theirs, labels


def test_a_better_candidate_is_promoted() -> None:
    books, beauty = scores(4000, 0.40, 0.33, 1), scores(4000, 0.38, 0.33, 2)
    result = judge(measure(ALL, *joined(books, beauty)), [measure(BOOKS, *books), measure(BEAUTY, *beauty)])
    assert result.decision is Decision.PROMOTE
    assert {check.finding for check in result.checks} == {Finding.PASSED}
    assert "no worse on any of 2 declared slices" in result.reasons


def test_an_equal_candidate_is_held_with_too_little_data_and_promoted_with_enough() -> None:
    few, many = scores(400, 0.35, 0.35, 3), scores(60_000, 0.35, 0.35, 3)
    held = judge(measure(ALL, *few))
    assert held.decision is Decision.HOLD
    assert "not shown to be no worse, within 0.01; of an equal one about" in held.reasons[0]
    assert judge(measure(ALL, *many)).decision is Decision.PROMOTE


def test_a_candidate_worse_on_one_declared_slice_is_rejected_though_better_overall() -> None:
    books, beauty = scores(20_000, 0.45, 0.33, 4), scores(2000, 0.15, 0.35, 5)
    overall = measure(ALL, *joined(books, beauty))
    slices = [measure(BOOKS, *books), measure(BEAUTY, *beauty)]
    result = judge(overall, slices)

    assert judge(overall).decision is Decision.PROMOTE
    assert result.decision is Decision.REJECT
    assert len(result.reasons) == 1
    assert result.reasons[0].startswith("main_category Beauty: PLCC 0.1")
    assert result.reasons[0].endswith("over 2,000 pairs; worse")
    failed = [(check.kind, check.slice) for check in result.checks if check.finding is Finding.FAILED]
    assert failed == [(CheckKind.PLCC, BEAUTY)]


def test_a_worse_candidate_is_rejected_by_plcc_and_by_ces() -> None:
    result = judge(measure(ALL, *scores(20_000, 0.25, 0.35)))
    assert result.decision is Decision.REJECT
    assert [check.kind for check in result.checks if check.finding is Finding.FAILED] == [
        CheckKind.PLCC, CheckKind.CES_PRINTED, CheckKind.CES_LEADERBOARD,
    ]  # fmt: skip


def test_no_figure_is_other_than_an_independent_one() -> None:
    ours, theirs, labels = scores(5000, 0.4, 0.35)
    result = judge(measure(ALL, ours, theirs, labels), candidate=side("new/2", 300.0, 40.0))
    found = {check.kind: check for check in result.checks}

    assert found[CheckKind.PLCC].candidate == pytest.approx(np.corrcoef(ours, labels)[0, 1], abs=1e-12)
    assert found[CheckKind.PLCC].baseline == pytest.approx(np.corrcoef(theirs, labels)[0, 1], abs=1e-12)
    for kind, form in (
        (CheckKind.CES_PRINTED, CesForm.PRINTED),
        (CheckKind.CES_LEADERBOARD, CesForm.LEADERBOARD),
    ):
        expected = REPORT_BUDGET.ces(plcc(ours, labels), REPORT_BUDGET.cost(300.0, 40.0), form)
        assert found[kind].candidate == pytest.approx(expected, abs=1e-12)


def test_a_better_candidate_that_costs_too_much_is_rejected_by_ces() -> None:
    result = judge(measure(ALL, *scores(20_000, 0.40, 0.35)), candidate=side("huge/1", 2000.0, 40.0))
    assert result.decision is Decision.REJECT
    assert all(reason.startswith("all products: CES") for reason in result.reasons)


def test_without_a_cost_the_candidate_is_held_and_the_model_named() -> None:
    result = judge(measure(ALL, *scores(20_000, 0.40, 0.33)), baseline=side("old/1", None, None))
    assert result.decision is Decision.HOLD
    assert "P and F of old/1 are not known" in result.reasons[0]


def test_parity_decides_where_it_is_given() -> None:
    overall = measure(ALL, *scores(20_000, 0.40, 0.33))
    passed, failed = (judge(overall, parity=Parity(each, "parity.json")) for each in (True, False))
    assert (passed.decision, failed.decision) == (Decision.PROMOTE, Decision.REJECT)
    assert failed.reasons == ("the exported graph does not score as the model does in torch (parity.json)",)


def test_a_candidate_that_scored_only_easy_items_is_held() -> None:
    result = judge(measure(ALL, *scores(20_000, 0.40, 0.33)), scored=Scored(1000, 940))
    assert result.decision is Decision.HOLD
    (reason,) = result.reasons
    assert reason.startswith("the candidate has scored 940 of 1,000 labelled items that the baseline has; at")


def test_a_declared_slice_that_is_too_small_holds_unless_it_is_to_be_ignored() -> None:
    overall, tiny = measure(ALL, *scores(20_000, 0.40, 0.33)), measure(BEAUTY, *scores(49, 0.1, 0.5))
    held = judge(overall, [tiny])
    assert held.decision is Decision.HOLD
    assert held.reasons == ("main_category Beauty: too little data, 49 pairs of at least 50",)
    assert judge(overall, [tiny], policy=GatePolicy(small_slices="ignore")).decision is Decision.PROMOTE


@pytest.mark.parametrize("small_slices", ["hold", "ignore"])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 49])
def test_with_hardly_any_items_it_is_held_whatever_is_ignored(n: int, small_slices: Any) -> None:
    overall = measure(ALL, *scores(n, 0.9, 0.1))
    result = judge(overall, policy=GatePolicy(small_slices=small_slices), scored=Scored(0, 0))
    assert result.decision is Decision.HOLD
    assert GateResult.model_validate_json(result.to_json()) == result


def test_a_candidate_that_says_the_same_of_everything_is_rejected() -> None:
    _, theirs, labels = scores(200, 0.4, 0.4)
    result = judge(measure(ALL, np.full(200, 3.0), theirs, labels))
    assert result.decision is Decision.REJECT
    assert "so there is no PLCC" in result.reasons[0]


def test_where_labels_are_all_the_same_nothing_is_shown() -> None:
    ours, theirs, _ = scores(200, 0.4, 0.4)
    result = judge(measure(ALL, ours, theirs, np.full(200, 4.0)))
    assert result.decision is Decision.HOLD
    assert result.checks[0].candidate is None


def test_the_same_scores_again_are_promoted() -> None:
    _, theirs, labels = scores(60, 0.4, 0.4)
    assert judge(measure(ALL, theirs, theirs, labels)).decision is Decision.PROMOTE


def test_pairs_that_hold_no_number_are_left_out() -> None:
    ours, theirs, labels = scores(3000, 0.5, 0.3)
    ours[:100], labels[200:250] = np.nan, np.inf
    assert measure(ALL, ours, theirs, labels).difference.pairs == 2850


def test_of_many_equal_candidates_few_are_rejected_on_twenty_slices() -> None:
    """Each slice alone would reject 2.5 %; all twenty together are corrected for."""
    slices = [Slice(dimension="main_category", value=str(number)) for number in range(20)]
    rejected = 0
    for run in range(200):
        parts = [scores(200, 0.35, 0.35, 1000 * run + number) for number in range(20)]
        measured = [measure(of, *part) for of, part in zip(slices, parts, strict=True)]
        result = judge(measure(ALL, *joined(*parts)), measured)
        rejected += result.decision is Decision.REJECT
    assert rejected <= 0.08 * 200


def test_of_many_candidates_that_lose_just_the_margin_few_are_promoted() -> None:
    runs = 200
    promoted = sum(
        judge(measure(ALL, *scores(20_000, 0.34, 0.35, run))).decision is Decision.PROMOTE
        for run in range(runs)
    )
    assert promoted <= 0.05 * runs


def test_a_document_that_says_promote_against_its_own_checks_is_refused() -> None:
    held = judge(measure(ALL, *scores(400, 0.35, 0.35, 3)))
    edited = held.to_json().replace('"decision": "hold"', '"decision": "promote"')
    with pytest.raises(ValueError, match="it says promote, although all products"):
        GateResult.model_validate_json(edited)
