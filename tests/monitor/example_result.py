"""A worked example of a run's document: an alarm in one category, whose pictures went missing."""

from __future__ import annotations

from adgauge.monitor.result import (
    ALL,
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

NOW_MS = 1_795_996_800_000  # 2026-11-30T00:00Z
DAY_MS = 86_400_000
BEAUTY = Slice(dimension="main_category", value="Beauty")
BOOKS = Slice(dimension="main_category", value="Books")
CHEAP = Slice(dimension="price", value="under 20")
RARE = Slice(dimension="main_category × price", value="Books × over 100")


def figures(n: int, plcc: float, half: float) -> Figures:
    """Of `n` pairs whose PLCC is known to ± `half`; the rest follows roughly."""
    correlation = Figure(value=plcc, low=plcc - half, high=plcc + half)
    positive = Figure(value=max(plcc, 0.0), low=max(plcc - half, 0.0), high=max(plcc + half, 0.0))
    return Figures(
        n=n,
        effective_n=float(n),
        plcc=correlation,
        plcc_plus=positive,
        srcc=Figure(value=plcc - 0.02, low=plcc - 0.02 - half, high=plcc - 0.02 + half),
        mae=Figure(value=0.38, low=0.37, high=0.39),
        bias=Figure(value=-0.06, low=-0.07, high=-0.05),
        ces_printed=positive,
        ces_leaderboard=positive,
    )


def too_few(n: int) -> Figures:
    """Of a slice in which nothing is defined."""
    return Figures(n=n, effective_n=float(n))


def compared(against: str, n: int, plcc: float, difference: float, q_value: float) -> Comparison:
    """A comparison whose difference is known to ± 0.05."""
    return Comparison.model_validate(
        {
            "against": against,
            "n": n,
            "plcc": Figure(value=plcc, low=plcc - 0.03, high=plcc + 0.03),
            "difference": Figure(value=difference, low=difference - 0.05, high=difference + 0.05),
            "p_value": q_value / 4,
            "q_value": q_value,
        }
    )


def example_result() -> Result:
    """One run, with every part of the document filled."""
    return Result(
        run_at_ms=NOW_MS,
        took_s=4.2,
        window=Window(begins_ms=NOW_MS - 28 * DAY_MS, ends_ms=NOW_MS),
        reference=Window(begins_ms=NOW_MS - 56 * DAY_MS, ends_ms=NOW_MS - 28 * DAY_MS),
        model=JudgedModel(
            generation=3,
            previous_generation=2,
            name="effimini_lite0",
            contract="ab" * 32,
            params_m=27.55,
            flops_g=4.05,
            cost=0.0747,
        ),
        rules=Rules(
            minimum_pairs=50,
            false_discovery_rate=0.05,
            confidence=0.95,
            plcc_floor=0.3,
            bias_limit=0.25,
            coverage_floor=0.8,
        ),
        sources=(
            SourceRead(
                source="labels",
                location="labels.parquet",
                rows=2_110,
                accepted=2_100,
                newest_ms=NOW_MS - 3_600_000,
            ),
            SourceRead(
                source="scores",
                location="catalog.scores",
                rows=9_000,
                accepted=9_000,
                newest_ms=NOW_MS - 60_000,
            ),
        ),
        bad_rows=(
            BadRows(
                source="labels",
                reason="rating_out_of_range",
                rows=7,
                examples=("B00EXAMPLE1: average_rating 0.0", "B00EXAMPLE2: average_rating 11"),
            ),
            BadRows(
                source="labels",
                reason="not_json",
                rows=3,
                examples=('labels.jsonl:17: {"parent_asin": "B0…',),
            ),
        ),
        verdict=Verdict(
            status=Status.ALARM,
            headline="main_category Beauty: PLCC fell from 0.47 to 0.08; images are missing there.",
        ),
        alarms=(
            Alarm(
                kind=AlarmKind.PLCC_FELL,
                slice=BEAUTY,
                words="main_category Beauty: PLCC 0.08, was 0.47 in the reference window (q = 0.001)",
                value=0.08,
                limit=0.47,
                q_value=0.001,
            ),
            Alarm(
                kind=AlarmKind.DRIFT,
                slice=BEAUTY,
                words="Beauty: images missing 4 % → 31 % since 24 Nov",
                value=0.31,
                limit=0.04,
                q_value=0.0001,
            ),
        ),
        overall=SliceFigures(
            slice=ALL,
            judged=True,
            coverage=Coverage(
                labels=2_100,
                compared=1_800,
                training=20,
                scored_later=120,
                other_generation=60,
                rejected=40,
                never_scored=60,
            ),
            figures=figures(1_800, 0.41, 0.04),
            comparisons=(
                compared("reference_window", 1_700, 0.45, -0.04, 0.2),
                compared("previous_generation", 1_500, 0.38, 0.03, 0.9),
            ),
        ),
        slices=(
            SliceFigures(
                slice=BOOKS,
                judged=True,
                coverage=Coverage(labels=1_300, compared=1_200, never_scored=100),
                figures=figures(1_200, 0.48, 0.045),
                comparisons=(compared("reference_window", 1_100, 0.46, 0.02, 0.8),),
            ),
            SliceFigures(
                slice=BEAUTY,
                judged=True,
                coverage=Coverage(labels=700, compared=590, scored_later=110),
                figures=figures(590, 0.08, 0.08),
                comparisons=(compared("reference_window", 600, 0.47, -0.39, 0.001),),
            ),
            SliceFigures(
                slice=CHEAP,
                judged=True,
                coverage=Coverage(labels=900, compared=800, never_scored=100),
                figures=figures(800, 0.4, 0.06),
            ),
            SliceFigures(
                slice=RARE, judged=False, coverage=Coverage(labels=10, compared=10), figures=too_few(10)
            ),
        ),
        training=figures(20, 0.9, 0.1),
        calibration=tuple(
            CalibrationBin(
                low=3.0 + 0.15 * decile,
                high=3.15 + 0.15 * decile,
                n=180,
                mean_score=3.07 + 0.15 * decile,
                label=Figure(value=3.4 + 0.1 * decile, low=3.32 + 0.1 * decile, high=3.48 + 0.1 * decile),
            )
            for decile in range(10)
        ),
        scatter=tuple(
            ScatterPoint(score=3.0 + 0.005 * number, label=3.4 + 0.1 * (number % 17), rating_number=number)
            for number in range(300)
        ),
        worst=(
            Residual(
                id="B00EXAMPLE3",
                title="Rose water, 200 ml",
                main_category="Beauty",
                score=4.6,
                label=1.4,
                rating_number=812,
                picture="https://cdn.example/pictures/B00EXAMPLE3.jpg",
            ),
            Residual(
                id="B00EXAMPLE4",
                title=None,
                main_category=None,
                score=3.1,
                label=5.0,
                rating_number=None,
                picture=None,
            ),
        ),
        drift=(
            Drift(
                kind=DriftKind.IMAGES_MISSING,
                slice=BEAUTY,
                detail="http_status",
                n_before=2_000,
                n_after=700,
                before=0.04,
                after=0.31,
                difference=Figure(value=0.27, low=0.24, high=0.31),
                p_value=1e-9,
                q_value=1e-7,
                since_ms=NOW_MS - 6 * DAY_MS,
                alarming=True,
                words="Beauty: images missing 4 % → 31 % since 24 Nov",
            ),
            Drift(
                kind=DriftKind.SCORE,
                slice=ALL,
                n_before=8_000,
                n_after=2_100,
                psi=0.03,
                ks=0.02,
                p_value=0.4,
                q_value=0.7,
                alarming=False,
                words="all products: scores as before (PSI 0.03)",
            ),
        ),
    )
