"""Whatever a run found, its page can be made, is well formed, and draws inside its charts."""

from __future__ import annotations

import math
import re
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from adgauge.monitor.history import past_run
from adgauge.monitor.page.charts import Scale
from adgauge.monitor.page.markup import clean
from adgauge.monitor.report import render
from adgauge.monitor.result import (
    Alarm,
    AlarmKind,
    BadRows,
    CalibrationBin,
    Comparison,
    Coverage,
    Drift,
    DriftKind,
    Figure,
    Figures,
    JudgedModel,
    Residual,
    Result,
    Rules,
    ScatterPoint,
    Slice,
    SliceFigures,
    SourceRead,
    Status,
    Verdict,
    Window,
)
from tests.monitor.parsed_page import parsed
from tests.monitor.test_report import assert_inert

NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.floats(-1, 5)
MAYBE = st.none() | NUMBERS
SHARES = st.none() | st.floats(0, 1)
COUNTS = st.integers(0, 2**40)
TIMES = st.integers(0, 2**62) | st.integers(0, 2_000_000_000_000)
TEXTS = st.text(max_size=20) | st.sampled_from(
    ["<script>", "</table>", '"&amp;', "\x00\u202e\ufffe", "https://a.b/"]
)
FATES = (
    "compared",
    "training",
    "scored_later",
    "other_generation",
    "rejected",
    "deleted",
    "never_scored",
)
FIGURES = st.builds(Figure, value=MAYBE, low=MAYBE, high=MAYBE)
SLICES = st.builds(Slice, dimension=TEXTS, value=TEXTS)
COVERAGES = st.lists(COUNTS, min_size=7, max_size=7).map(
    lambda parts: Coverage(labels=sum(parts), **dict(zip(FATES, parts, strict=True)))
)
ALL_FIGURES = st.builds(
    Figures, n=COUNTS, effective_n=st.floats(0, 1e300), plcc=FIGURES, bias=FIGURES, ces_leaderboard=FIGURES
)
COMPARISONS = st.builds(
    Comparison,
    against=st.sampled_from(["reference_window", "previous_generation"]),
    n=COUNTS,
    plcc=FIGURES,
    difference=FIGURES,
    p_value=SHARES,
    q_value=SHARES,
)
SLICE_FIGURES = st.builds(
    SliceFigures,
    slice=SLICES,
    judged=st.booleans(),
    coverage=COVERAGES,
    figures=ALL_FIGURES,
    comparisons=st.lists(COMPARISONS, max_size=2).map(tuple),
)
DRIFTS = st.builds(
    Drift,
    kind=st.sampled_from(DriftKind),
    slice=SLICES,
    detail=st.none() | TEXTS,
    n_before=COUNTS,
    n_after=COUNTS,
    psi=MAYBE,
    before=MAYBE,
    after=MAYBE,
    difference=FIGURES,
    since_ms=st.none() | TIMES,
    alarming=st.booleans(),
    words=TEXTS,
)
WINDOWS = st.builds(Window, begins_ms=TIMES, ends_ms=TIMES)


def few(each: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(each, max_size=4).map(tuple)


RESULTS = st.builds(
    Result,
    run_at_ms=TIMES,
    took_s=st.floats(0, 1e9),
    window=WINDOWS,
    reference=st.none() | WINDOWS,
    model=st.builds(JudgedModel, generation=COUNTS, name=st.none() | TEXTS, params_m=MAYBE, cost=MAYBE),
    rules=st.builds(
        Rules,
        minimum_pairs=COUNTS,
        false_discovery_rate=st.floats(0, 1),
        confidence=st.floats(0, 1),
        plcc_floor=MAYBE,
        bias_limit=MAYBE,
    ),
    sources=few(
        st.builds(SourceRead, source=st.just("labels"), location=TEXTS, rows=COUNTS, accepted=COUNTS)
    ),
    bad_rows=few(
        st.builds(BadRows, source=st.just("labels"), reason=TEXTS, rows=COUNTS, examples=few(TEXTS))
    ),
    verdict=st.builds(Verdict, status=st.sampled_from(Status), headline=TEXTS),
    alarms=few(st.builds(Alarm, kind=st.sampled_from(AlarmKind), slice=SLICES, words=TEXTS, value=MAYBE)),
    overall=SLICE_FIGURES,
    slices=few(SLICE_FIGURES),
    training=st.none() | ALL_FIGURES,
    calibration=few(
        st.builds(CalibrationBin, low=NUMBERS, high=NUMBERS, n=COUNTS, mean_score=NUMBERS, label=FIGURES)
    ),
    scatter=few(st.builds(ScatterPoint, score=NUMBERS, label=NUMBERS, rating_number=st.none() | COUNTS)),
    worst=few(
        st.builds(
            Residual,
            id=TEXTS,
            title=st.none() | TEXTS,
            main_category=st.none() | TEXTS,
            score=NUMBERS,
            label=NUMBERS,
            rating_number=st.none() | COUNTS,
            picture=st.none() | TEXTS,
        )
    ),
    drift=few(DRIFTS),
)
_PLACE = re.compile(r"-?\d+(\.\d+)?%?")


@settings(max_examples=150)
@given(RESULTS, st.lists(RESULTS, max_size=2))
def test_every_result_has_a_sound_page(result: Result, earlier: list[Result]) -> None:
    page = parsed(render(result, [past_run(each) for each in earlier]))
    assert_inert(page)
    for node in page.all():
        for name in {"x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "width", "height"} & set(
            node.attributes
        ):
            place = node.attributes[name]
            assert _PLACE.fullmatch(place), (node.tag, name, place)
            if place.endswith("%"):
                assert 0 <= float(place[:-1]) <= 100.01
    rows = [row for row in page.one("table", "forest").all("tr") if list(row.all("td"))]
    assert [row.one("th").text for row in rows[1:]] == [
        " ".join(clean(each.slice.value).split())
        for dimension in dict.fromkeys(each.slice.dimension for each in result.slices)
        for each in result.slices
        if each.slice.dimension == dimension
    ]


@given(st.lists(NUMBERS, max_size=5))
def test_a_scale_holds_its_values_and_has_few_round_ticks(values: list[float]) -> None:
    scale = Scale.over(values, 0, 100)
    ticks = scale.ticks()
    assert all(0 <= scale.at(value) <= 100 for value in values)
    assert len(ticks) <= 7
    assert all(scale.low <= tick <= scale.high for tick in ticks)
    steps = {
        round((after - before) / 10 ** math.floor(math.log10(after - before) + 1e-9), 3)
        for before, after in pairwise(ticks)
    }
    assert steps <= {1.0, 2.0, 5.0, 10.0}
    shown = [f"{tick:.{scale.decimals()}f}" for tick in ticks]
    assert len(set(shown)) == len(shown)
