"""Whether a candidate's scores may replace the baseline's: promote, hold or reject, with reasons.

Both have scored the same labelled items. The candidate is promoted where nothing speaks against it and the
data show that it is no worse: the PLCC of all items and of every declared slice (non-inferiority within a
declared margin), CES in both forms, how many items it scored at all, and parity of its exported graph where
a result of that is given. It is rejected where it is worse, be it on one slice only and better overall; it is
held where the data say neither. A slice without enough pairs holds it: nothing is shown there.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from adgauge.monitor.gate_result import Check, CheckKind, Decision, Finding, GateResult, Side
from adgauge.monitor.result import ALL, UNDEFINED, Figure, Slice, finite
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.correlation import Correlation, Difference, correlation, difference, difference_interval
from adgauge.quality.metrics import MetricWarning, plcc_plus
from adgauge.quality.significance import NonInferiority, benjamini_hochberg, pairs_needed, worse
from adgauge.quality.significance import decide as decide_differences

Margin = Annotated[float, Field(gt=0, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class GatePolicy(BaseModel):
    """What is asked of a candidate; the table `[gate]` of the monitor's TOML. Margins are losses one accepts.

    Labels cannot show less than they tell: 15,000 pairs, of scores that correlate by 0.9, about 0.01, and
    1,700 about 0.03.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    margin: Margin = Field(default=0.01, description="of PLCC, over all items")
    slice_margin: Margin = Field(default=0.03, description="of PLCC, on a slice")
    ces_margin: Margin = Field(default=0.01, description="of CES")
    confidence: Share = 0.95
    false_discovery_rate: Share = Field(default=0.05, description="of slices called worse")
    dimensions: tuple[str, ...] = Field(
        default=("main_category",), description="of [slices]: on each of their values it must be no worse"
    )
    minimum_pairs: Annotated[int, Field(ge=3)] = 50
    small_slices: Literal["hold", "ignore"] = Field(
        default="hold", description="what a declared slice with fewer pairs does"
    )
    label_window_days: Annotated[float, Field(gt=0)] = Field(
        default=28.0, description="a label speaks of so long a time, unless there is an earlier one"
    )
    least_scored: Share = Field(
        default=0.95, description="of items that the baseline has scored, the candidate must have so many"
    )


@dataclass(frozen=True, slots=True)
class Measured:
    """The PLCC of both on the same items of a slice, and how sure one may be of it."""

    slice: Slice
    difference: Difference
    baseline: Correlation


@dataclass(frozen=True, slots=True)
class Scored:
    """Of `labelled` items that the baseline has scored in time, the candidate has scored `by_candidate`."""

    labelled: int
    by_candidate: int


@dataclass(frozen=True, slots=True)
class Parity:
    """What `adgauge parity` said of the candidate's graph."""

    passed: bool
    source: str


@dataclass(frozen=True, slots=True)
class _Question:
    """Whether the candidate is no worse, within a margin."""

    kind: CheckKind
    slice: Slice
    difference: Difference
    margin: float


def measure(
    of: Slice,
    candidate: npt.ArrayLike,
    baseline: npt.ArrayLike,
    labels: npt.ArrayLike,
    weights: npt.ArrayLike | None = None,
) -> Measured:
    """From the scores [n] of both and labels [n]. What has no PLCC is NaN, without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MetricWarning)
        return Measured(
            of, difference(candidate, baseline, labels, weights), correlation(baseline, labels, weights)
        )


def decide(
    overall: Measured,
    slices: Sequence[Measured],
    *,
    candidate: Side,
    baseline: Side,
    scored: Scored,
    parity: Parity | None,
    policy: GatePolicy,
    now_ms: int,
) -> GateResult:
    """The decision and every check behind it; `parity` None: no result of it is given."""
    checks = [
        *_judged(list(_questions(overall, slices, candidate, baseline, policy)), policy),
        *_unjudged(overall, slices, candidate, baseline, policy),
        _scored_check(scored, policy),
        *([_parity_check(parity)] if parity is not None else []),
    ]
    decision = _decision(checks)
    return GateResult(
        decided_at_ms=now_ms,
        decision=decision,
        reasons=tuple(_reasons(decision, checks)),
        candidate=candidate,
        baseline=baseline,
        checks=tuple(checks),
    )


def _decision(checks: Iterable[Check]) -> Decision:
    findings = {check.finding for check in checks}
    if Finding.FAILED in findings:
        return Decision.REJECT
    return Decision.HOLD if Finding.UNDECIDED in findings else Decision.PROMOTE


def _reasons(decision: Decision, checks: Sequence[Check]) -> Iterator[str]:
    """What the decision rests on; of a candidate that is rejected also what is not shown, last."""
    for finding in (Finding.FAILED, Finding.UNDECIDED):
        yield from (check.words for check in checks if check.finding is finding)
    if decision is Decision.PROMOTE:
        yield from (check.words for check in checks if check.slice == ALL)
        if slices := sum(check.slice != ALL for check in checks):
            yield f"no worse on any of {slices} declared slices"


def _questions(
    overall: Measured, slices: Sequence[Measured], candidate: Side, baseline: Side, policy: GatePolicy
) -> Iterator[_Question]:
    """All that has data enough to be asked."""
    for each in (overall, *slices):
        if each.difference.pairs >= policy.minimum_pairs:
            margin = policy.margin if each is overall else policy.slice_margin
            yield _Question(CheckKind.PLCC, each.slice, each.difference, margin)
    if overall.difference.pairs < policy.minimum_pairs:
        return
    for form, kind in _FORMS.items():  # of slices it would say what PLCC says
        ours, theirs = _efficiency(candidate, form), _efficiency(baseline, form)
        if ours is not None and theirs is not None:
            yield _Question(kind, ALL, _ces_difference(overall, ours, theirs), policy.ces_margin)


def _judged(questions: Sequence[_Question], policy: GatePolicy) -> Iterator[Check]:
    """The answers. All are corrected for each other, for an equal candidate must not fail one by chance."""
    differences = [each.difference for each in questions]
    margins = [each.margin for each in questions]
    found = decide_differences(differences, margins, policy.confidence, policy.false_discovery_rate)
    adjusted = benjamini_hochberg([worse(each) for each in differences])
    for question, said, q_value in zip(questions, found, adjusted, strict=True):
        measured, finding = question.difference, _FINDINGS[said]
        if math.isnan(measured.candidate) and not math.isnan(measured.baseline):
            finding = Finding.FAILED  # labels vary and its scores do not
        yield Check(
            kind=question.kind,
            slice=question.slice,
            finding=finding,
            words=f"{question.slice}: {_compared(question, policy)}{_conclusion(question, finding, policy)}",
            n=measured.pairs,
            candidate=finite(measured.candidate),
            baseline=finite(measured.baseline),
            difference=Figure.of(measured.value, difference_interval(measured, policy.confidence)),
            margin=question.margin,
            p_value=finite(worse(measured)),
            q_value=finite(float(q_value)),
        )


def _unjudged(
    overall: Measured, slices: Sequence[Measured], candidate: Side, baseline: Side, policy: GatePolicy
) -> Iterator[Check]:
    """What could not be asked, and is to be known."""
    for each in (overall, *(slices if policy.small_slices == "hold" else ())):
        pairs = each.difference.pairs
        if pairs < policy.minimum_pairs:
            words = f"{each.slice}: too little data, {pairs:,} pairs of at least {policy.minimum_pairs:,}"
            yield _undecided(CheckKind.PLCC, each.slice, words, pairs)
    for unknown in (candidate, baseline):
        if unknown.params_m is None or unknown.flops_g is None:
            words = f"CES: P and F of {unknown.model} are not known: name the folder of the model"
            yield _undecided(CheckKind.CES_PRINTED, ALL, words)


def _undecided(kind: CheckKind, of: Slice, words: str, pairs: int = 0) -> Check:
    return Check(kind=kind, slice=of, finding=Finding.UNDECIDED, words=words, n=pairs)


def _compared(question: _Question, policy: GatePolicy) -> str:
    measured = question.difference
    if math.isnan(measured.value):
        which = "the candidate's" if math.isnan(measured.candidate) else "the baseline's"
        return (
            f"{which} scores or the labels are all the same in {measured.pairs:,} pairs, so there is no PLCC"
        )
    interval = difference_interval(measured, policy.confidence)
    return (
        f"{_NAMES[question.kind]} {measured.candidate:.4f} against {measured.baseline:.4f},"
        f" {measured.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] over {measured.pairs:,} pairs"
    )


def _conclusion(question: _Question, finding: Finding, policy: GatePolicy) -> str:
    measured, margin = question.difference, question.margin
    if finding is Finding.PASSED:
        return f"; no worse, within {margin:g}"
    if finding is Finding.FAILED:
        return "; worse" if not math.isnan(measured.value) else ""
    needed = pairs_needed(measured, margin, policy.confidence)
    enough = f"; of an equal one about {needed:,.0f} pairs would show it" if math.isfinite(needed) else ""
    return f"; not shown to be no worse, within {margin:g}{enough}"


def _efficiency(side: Side, form: CesForm) -> float | None:
    if side.params_m is None or side.flops_g is None:
        return None
    return REPORT_BUDGET.efficiency(REPORT_BUDGET.cost(side.params_m, side.flops_g), form)


def _ces_difference(overall: Measured, ours: float, theirs: float) -> Difference:
    """Of CES = PLCC⁺ · E. a·r₁ − b·r₂ = a(r₁ − r₂) + (a − b)·r₂, whose error is at most the sum of both."""
    plcc = overall.difference
    if math.isnan(plcc.value):
        return plcc
    error = ours * plcc.error + abs(ours - theirs) * overall.baseline.error
    return Difference(plcc_plus(plcc.candidate) * ours, plcc_plus(plcc.baseline) * theirs, error, plcc.pairs)


def _scored_check(scored: Scored, policy: GatePolicy) -> Check:
    share = scored.by_candidate / scored.labelled if scored.labelled else 0.0
    passed = share >= policy.least_scored
    words = (
        f"the candidate has scored {scored.by_candidate:,} of {scored.labelled:,} labelled items that the"
        f" baseline has{'' if passed else f'; at least {policy.least_scored:.0%} are compared'}"
    )
    return Check(
        kind=CheckKind.SCORED,
        slice=ALL,
        finding=Finding.PASSED if passed else Finding.UNDECIDED,
        words=words,
        n=scored.labelled,
        candidate=share,
        baseline=1.0 if scored.labelled else None,
        difference=UNDEFINED,
        margin=1 - policy.least_scored,
    )


def _parity_check(parity: Parity) -> Check:
    said = (
        "scores as the model does in torch" if parity.passed else "does not score as the model does in torch"
    )
    return Check(
        kind=CheckKind.PARITY,
        slice=ALL,
        finding=Finding.PASSED if parity.passed else Finding.FAILED,
        words=f"the exported graph {said} ({parity.source})",
    )


_FINDINGS = {
    NonInferiority.PROMOTE: Finding.PASSED,
    NonInferiority.HOLD: Finding.UNDECIDED,
    NonInferiority.REJECT: Finding.FAILED,
}
_FORMS = {CesForm.PRINTED: CheckKind.CES_PRINTED, CesForm.LEADERBOARD: CheckKind.CES_LEADERBOARD}
_NAMES = {
    CheckKind.PLCC: "PLCC",
    CheckKind.CES_PRINTED: "CES (printed)",
    CheckKind.CES_LEADERBOARD: "CES (leaderboard)",
}
