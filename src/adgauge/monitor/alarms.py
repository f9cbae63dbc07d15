"""What is wrong: from figures and drift to alarms and a verdict, corrected for how much was tested.

Every question is asked of every judged slice, and all p-values of a run are corrected together
(Benjamini–Hochberg), so that of the alarms at most `false_discovery_rate` are false on average.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from adgauge.monitor.figures import Measured
from adgauge.monitor.result import (
    OVERALL,
    Alarm,
    AlarmKind,
    Comparison,
    Coverage,
    Drift,
    Figure,
    Slice,
    SliceFigures,
    Status,
    Verdict,
    finite,
)
from adgauge.monitor.settings import RunRules
from adgauge.quality.significance import below_floor, benjamini_hochberg

_FELL = {
    "reference_window": (AlarmKind.PLCC_FELL, "in the reference window"),
    "previous_generation": (AlarmKind.WORSE_THAN_PREVIOUS, "of the previous generation on the same items"),
}


@dataclass(frozen=True, slots=True)
class _Question:
    """One test: a small p-value speaks for the alarm."""

    kind: AlarmKind
    slice: Slice
    p_value: float
    value: float | None
    limit: float | None
    words: str
    comparison: Comparison | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """The alarms, worst first, and the slices with their corrected comparisons, in the order given."""

    alarms: tuple[Alarm, ...]
    slices: tuple[SliceFigures, ...]


def judge(measured: Sequence[Measured], drift: Sequence[Drift], rules: RunRules) -> Judgement:
    """Correct all tests together and say which are alarms."""
    questions = [each for one in measured if one.judged for each in _questions(one, rules)]
    corrected = benjamini_hochberg([each.p_value for each in questions]).tolist()
    q_values = dict(zip(map(id, questions), corrected, strict=True))
    found = [
        (q, _alarm(each, q))
        for each, q in zip(questions, corrected, strict=True)
        if q <= rules.false_discovery_rate
    ]
    alarms = [alarm for _, alarm in sorted(found, key=lambda each: each[0])]
    if not any(each.slice == measured[0].slice for each in alarms):
        alarms += _saying_nothing(measured[0])
    alarms += [_drifted(each) for each in drift if each.alarming]
    alarms += _coverage_alarm(measured[0], rules)
    by_comparison = {
        id(each.comparison): q_values[id(each)] for each in questions if each.comparison is not None
    }
    return Judgement(tuple(alarms), tuple(_slice(each, by_comparison) for each in measured))


def slice_figures(one: Measured) -> SliceFigures:
    """As the document has it, of a slice of which nothing was tested."""
    return _slice(one, {})


def verdict_of(overall: SliceFigures, alarms: Sequence[Alarm], rules: RunRules) -> Verdict:
    """The conclusion, and a sentence that names the worst."""
    figures = overall.figures
    if alarms:
        more = (
            f", and {len(alarms) - 1} more alarm{'s' if len(alarms) > 2 else ''}" if len(alarms) > 1 else ""
        )
        return Verdict(status=Status.ALARM, headline=f"{_sentence(alarms[0].words)}{more}.")
    if not overall.judged:
        needed = f"{rules.minimum_pairs} are needed"
        return Verdict(
            status=Status.NO_DATA, headline=f"{figures.n:,} labels could be compared with a score; {needed}."
        )
    if figures.plcc.value is None:
        return Verdict(
            status=Status.NO_DATA,
            headline=f"PLCC is undefined: labels of {figures.n:,} products are all the same or do not count.",
        )
    return Verdict(
        status=Status.OK,
        headline=f"PLCC is {_shown(figures.plcc)} over {figures.n:,} products; nothing alarms.",
    )


def _questions(one: Measured, rules: RunRules) -> Iterator[_Question]:
    plcc = one.figures.plcc.value
    if rules.plcc_floor is not None:
        yield _Question(
            AlarmKind.PLCC_BELOW_FLOOR,
            one.slice,
            below_floor(one.now, rules.plcc_floor),
            plcc,
            rules.plcc_floor,
            f"{one.slice}: PLCC {_shown(one.figures.plcc)}, below the floor of {rules.plcc_floor:g}",
        )
    for each in one.comparisons:
        kind, where = _FELL[each.against]
        yield _Question(
            kind,
            one.slice,
            math.nan if each.p_value is None else each.p_value,
            plcc,
            each.plcc.value,
            f"{one.slice}: PLCC {_shown(one.figures.plcc)}, and {_number(each.plcc.value)} {where}",
            each,
        )
    if rules.bias_limit is not None:
        yield _biased(one, rules.bias_limit, rules.confidence)


def _biased(one: Measured, limit: float, confidence: float) -> _Question:
    """p-value of "the bias is at most `limit` either way", from its interval, normal."""
    bias, p_value = one.figures.bias, math.nan
    if bias.value is not None and bias.low is not None and bias.high is not None:
        error = (bias.high - bias.low) / (2 * NormalDist().inv_cdf((1 + confidence) / 2))
        distance = limit - abs(bias.value)
        p_value = math.erfc(-distance / error / math.sqrt(2)) / 2 if error else float(distance >= 0)
    direction = "above" if (bias.value or 0.0) > 0 else "below"
    words = f"{one.slice}: scores lie {_number(abs(bias.value or 0.0))} stars {direction} labels on average"
    return _Question(AlarmKind.BIAS, one.slice, p_value, bias.value, limit, words)


def _alarm(question: _Question, q_value: float) -> Alarm:
    return Alarm(
        kind=question.kind,
        slice=question.slice,
        words=f"{question.words} (q = {q_value:.2g})",
        value=question.value,
        limit=question.limit,
        q_value=finite(q_value),
    )


def _saying_nothing(overall: Measured) -> list[Alarm]:
    """Whatever rules ask for: a model that says the same of every product is of no use."""
    if overall.figures.plcc.value is not None or math.isnan(overall.now.plcc):
        return []
    words = f"all {overall.figures.n:,} scores are the same, although labels differ"
    return [Alarm(kind=AlarmKind.PLCC_BELOW_FLOOR, slice=overall.slice, words=words)]


def _drifted(found: Drift) -> Alarm:
    return Alarm(
        kind=AlarmKind.DRIFT,
        slice=found.slice,
        words=found.words,
        value=found.after if found.after is not None else found.psi,
        limit=found.before,
        q_value=found.q_value,
    )


def _coverage_alarm(overall: Measured, rules: RunRules) -> list[Alarm]:
    coverage, floor = overall.coverage, rules.coverage_floor
    share = coverage.share
    if floor is None or share is None or share >= floor or coverage.labels < rules.minimum_pairs:
        return []
    words = f"only {share:.0%} of {coverage.labels:,} labels have a score in time: {_lost(coverage)}"
    return [Alarm(kind=AlarmKind.LOW_COVERAGE, slice=overall.slice, words=words, value=share, limit=floor)]


def _lost(coverage: Coverage) -> str:
    counts = {
        name: count for name, count in coverage if name not in ("labels", "compared", "training") and count
    }
    listed = sorted(counts.items(), key=lambda each: -each[1])
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in listed)


def _slice(one: Measured, q_values: dict[int, float]) -> SliceFigures:
    corrected = tuple(
        each.model_copy(update={"q_value": finite(q_values.get(id(each), math.nan))})
        for each in one.comparisons
    )
    return SliceFigures(
        slice=one.slice, judged=one.judged, coverage=one.coverage, figures=one.figures, comparisons=corrected
    )


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:] if words.startswith(("all ", "only ", OVERALL)) else words


def _shown(of: Figure) -> str:
    if of.value is None:
        return "undefined"
    ends = "" if of.low is None or of.high is None else f" ({of.low:.2f} to {of.high:.2f})"
    return f"{of.value:.2f}{ends}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
