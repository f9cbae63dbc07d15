"""What one run of the monitor found: the JSON document that the report, the exporter and the history read.

Times are ms since 1970. No number is NaN or infinite: what has no answer is None. Slices come from the
declared list only, so the size of a document does not grow with the data.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from adgauge.quality.metrics import Interval

FORMAT: Literal[1] = 1
"""Of the document; a reader refuses another."""
OVERALL = "all"
"""The dimension, and the value, of the slice that holds every pair."""

Ms = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Source = Literal["labels", "scores", "rejected", "items", "training"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figure(_Frozen):
    """A value with its 95 % interval; all None where it is undefined, the ends also where only they are."""

    value: Finite | None = None
    low: Finite | None = None
    high: Finite | None = None

    @classmethod
    def of(cls, value: float, interval: Interval | None = None) -> Self:
        """From numbers in which NaN means undefined."""
        low, high = (interval.low, interval.high) if interval else (math.nan, math.nan)
        return cls(value=finite(value), low=finite(low), high=finite(high))


UNDEFINED = Figure()


def finite(value: float) -> float | None:
    """None for what JSON has no number for."""
    return float(value) if math.isfinite(value) else None


class Slice(_Frozen):
    """One value of one declared dimension: `main_category` is `Books`; a cross joins both with ` × `."""

    dimension: str
    value: str

    def __str__(self) -> str:
        """As people read it."""
        return "all products" if self.dimension == OVERALL else f"{self.dimension} {self.value}"


ALL = Slice(dimension=OVERALL, value=OVERALL)


class Window(_Frozen):
    """The labels observed from `begins_ms` on and before `ends_ms`."""

    begins_ms: Ms
    ends_ms: Ms


class JudgedModel(_Frozen):
    """What scored: the generation, and the contract that its lines in the score log name.

    `params_m` in millions and `flops_g` in GFLOPs an item come from the served contract; None where none was
    given, and then there is no CES.
    """

    generation: Count
    previous_generation: Count | None = None
    name: str | None = None
    contract: str | None = Field(None, description="sha256 (hex) of the model's contract")
    params_m: Finite | None = None
    flops_g: Finite | None = None
    cost: Finite | None = Field(None, description="C, Eq. (2) of the report")


class BadRows(_Frozen):
    """Rows that were left out for one reason. A closed list of reasons: `plans.BadReason`."""

    source: Source
    reason: str
    rows: Count
    examples: tuple[str, ...] = ()  # a few, cut short, each with file and line where known


class SourceRead(_Frozen):
    """One source as it was read. `newest_ms` is the latest time in it: what freshness is measured from."""

    source: Source
    location: str
    rows: Count
    accepted: Count
    newest_ms: Ms | None = None


class Coverage(_Frozen):
    """What became of the window's labels, each in exactly one of these; figures rest on `compared`."""

    labels: Count
    compared: Count
    training: Count = 0  # in the model's training set: reported apart, never decide
    scored_later: Count = 0  # by the generation, but only after the label's window had begun
    other_generation: Count = 0  # in time, by another generation only
    rejected: Count = 0  # a record of it is in the dead letters, and the generation has no score of it
    deleted: Count = 0  # it was deleted before the label's window, or has no score but a deletion
    never_scored: Count = 0

    @property
    def share(self) -> float | None:
        """Of the labels that could decide (training items cannot), how many were compared."""
        decisive = self.labels - self.training
        return self.compared / decisive if decisive else None


class Figures(_Frozen):
    """How well scores foretell labels. `effective_n` (Kish) is `n` where pairs are not weighted.

    `mae` and `bias` (mean of score − label) are in stars. Intervals of correlations are Fisher's, with an
    error that is estimated from the pairs (`quality.correlation`).
    """

    n: Count
    effective_n: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    plcc: Figure = UNDEFINED
    plcc_plus: Figure = UNDEFINED
    srcc: Figure = UNDEFINED
    mae: Figure = UNDEFINED
    bias: Figure = UNDEFINED
    ces_printed: Figure = UNDEFINED
    ces_leaderboard: Figure = UNDEFINED


class Comparison(_Frozen):
    """PLCC against that of other pairs, or of other scores for the same items.

    `difference` is this minus that. `p_value` is of "it is lower by no more than `Rules.tolerated_drop`";
    `q_value` is corrected over all that the run tested (Benjamini–Hochberg).
    """

    against: Literal["reference_window", "previous_generation"]
    n: Count
    plcc: Figure
    difference: Figure
    p_value: Share | None = None
    q_value: Share | None = None


class SliceFigures(_Frozen):
    """The figures of a slice. Where `judged` is False it is too small, and nothing is concluded from it."""

    slice: Slice
    judged: bool
    coverage: Coverage
    figures: Figures
    comparisons: tuple[Comparison, ...] = ()

    def against(self, other: Literal["reference_window", "previous_generation"]) -> Comparison | None:
        """The comparison of one kind, where it was made."""
        return next((each for each in self.comparisons if each.against == other), None)


class CalibrationBin(_Frozen):
    """Pairs between two deciles of the scores: `low` ≤ score < `high` (the last includes it)."""

    low: Finite
    high: Finite
    n: Count
    mean_score: Finite
    label: Figure  # their mean label


class ScatterPoint(_Frozen):
    """One pair of the sample that is drawn."""

    score: Finite
    label: Finite
    rating_number: Count | None = None


class Residual(_Frozen):
    """A product whose score is far from its label. `picture` is its MAIN picture's URL or path."""

    id: str
    title: str | None
    main_category: str | None
    score: Finite
    label: Finite
    rating_number: Count | None
    picture: str | None


class DriftKind(StrEnum):
    """What may drift; a closed list, for it labels a metric."""

    SCORE = "score"
    IMAGES_MISSING = "images_missing"
    TEXT_LENGTH = "text_length"
    CATEGORY_MIX = "category_mix"


class Drift(_Frozen):
    """How one quantity changed between the reference window of scores and the newest one; needs no labels.

    Distributions have `psi` and `ks`; shares (of missing images, by the reason in `detail`) have `before`
    and `after`. `words` say it: "Beauty: images missing 4 % → 31 % since 24 Nov".
    """

    kind: DriftKind
    slice: Slice
    detail: str | None = None
    n_before: Count
    n_after: Count
    psi: Finite | None = None
    ks: Finite | None = None
    before: Finite | None = None
    after: Finite | None = None
    difference: Figure = UNDEFINED
    p_value: Share | None = None
    q_value: Share | None = None
    since_ms: Ms | None = None
    alarming: bool
    words: str


class AlarmKind(StrEnum):
    """Why somebody is called; a closed list, for it labels a metric."""

    PLCC_BELOW_FLOOR = "plcc_below_floor"
    PLCC_FELL = "plcc_fell"
    WORSE_THAN_PREVIOUS = "worse_than_previous"
    BIAS = "bias"
    LOW_COVERAGE = "low_coverage"
    DRIFT = "drift"


class Alarm(_Frozen):
    """One reason for the verdict `alarm`, with the slice it is about, in a sentence."""

    kind: AlarmKind
    slice: Slice
    words: str
    value: Finite | None = None
    limit: Finite | None = None
    q_value: Share | None = None


class Status(StrEnum):
    """What a run concludes; `no_data`: too few pairs to conclude anything."""

    OK = "ok"
    ALARM = "alarm"
    NO_DATA = "no_data"


class Verdict(_Frozen):
    """The conclusion and its headline: one sentence that names the worst."""

    status: Status
    headline: str


class Rules(_Frozen):
    """What the verdict was reached by, so that it can be read without the settings of then."""

    minimum_pairs: Count
    false_discovery_rate: Share
    confidence: Share
    tolerated_drop: Share = 0.0
    plcc_floor: Finite | None = None
    bias_limit: Finite | None = None
    coverage_floor: Share | None = None
    weighted_by_rating_number: bool = False


class Result(_Frozen):
    """One run. `overall` is the slice of all pairs; `slices` are in the declared order, then by size.

    `training` are figures of items that the model was trained on. `run_at_ms` is what "now" was.
    """

    format: Literal[1] = FORMAT
    run_at_ms: Ms
    took_s: Annotated[float, Field(ge=0)]
    window: Window
    reference: Window | None = None
    model: JudgedModel
    rules: Rules
    sources: tuple[SourceRead, ...]
    bad_rows: tuple[BadRows, ...] = ()
    verdict: Verdict
    alarms: tuple[Alarm, ...] = ()
    overall: SliceFigures
    slices: tuple[SliceFigures, ...] = ()
    training: Figures | None = None
    calibration: tuple[CalibrationBin, ...] = ()
    scatter: tuple[ScatterPoint, ...] = ()
    worst: tuple[Residual, ...] = ()
    drift: tuple[Drift, ...] = ()

    def to_json(self) -> str:
        """The document, in stable order, with a final newline."""
        return self.model_dump_json(indent=2) + "\n"

    def slice_of(self, dimension: str, value: str) -> SliceFigures | None:
        """The figures of one slice, where it occurred."""
        wanted = Slice(dimension=dimension, value=value)
        return next((each for each in (self.overall, *self.slices) if each.slice == wanted), None)
