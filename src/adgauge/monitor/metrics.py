"""Every metric of the monitor, once. A closed list: names carry units, labels come from closed sets.

Slices come from the declared list. What is undefined has no series: nothing here is ever NaN.
`docs/metrics.md` is generated from this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

BY_SLICE = ("dimension", "slice")
"""`main_category` and `Books`; all products are `all` and `all`."""


class RunOutcome(StrEnum):
    """How a run ended."""

    OK = "ok"  # whatever its verdict
    FAILED = "failed"  # a source or a setting is wrong; the log says which
    TIMEOUT = "timeout"  # it took longer than it may
    KILLED = "killed"  # by the system, mostly for want of memory


class Limit(StrEnum):
    """The rules of `[rules]` that alerts compare with; one that is not set has no series."""

    PLCC_FLOOR = "plcc_floor"
    COVERAGE_FLOOR = "coverage_floor"
    BIAS_LIMIT = "bias_limit"


class LeftOut(StrEnum):
    """Why a series of a result is not served."""

    UNDECLARED = "undeclared"  # its slice is no declared one (any more)
    BOUND = "bound"  # there were too many before it


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """A name, what it means, and its labels."""

    name: str
    documentation: str
    labels: tuple[str, ...] = ()
    type: Literal["gauge", "counter"] = "gauge"


_gauge = MetricDefinition

# The job itself. Staleness is `time() - last success`: it grows whatever stops runs from succeeding.
LAST_SUCCESS_TIMESTAMP = _gauge(
    "adgauge_monitor_last_success_timestamp_seconds", "Unix time of the end of the run that is shown."
)
LAST_RUN_TIMESTAMP = _gauge(
    "adgauge_monitor_last_run_timestamp_seconds", "Unix time of the end of the last run, good or not."
)
LAST_RUN_SECONDS = _gauge("adgauge_monitor_last_run_seconds", "How long the last run took, good or not.")
RUNNING = _gauge("adgauge_monitor_running", "1 while a run is going on.")
INTERVAL_SECONDS = _gauge("adgauge_monitor_interval_seconds", "Time between the beginnings of two runs.")
RUNS = MetricDefinition(
    "adgauge_monitor_runs", "Runs of this process, by how they ended.", ("outcome",), "counter"
)

# What the last good run read. Labels that stop coming are no alarm of any slice: their age is.
NEWEST_TIMESTAMP = _gauge(
    "adgauge_monitor_newest_timestamp_seconds",
    "Unix time of the newest accepted row of a source.",
    ("source",),
)
ROWS = _gauge("adgauge_monitor_rows", "Rows that were accepted, by source.", ("source",))
BAD_ROWS = _gauge("adgauge_monitor_bad_rows", "Rows that were left out, by reason.", ("source", "reason"))

# What it concluded.
VERDICT = _gauge("adgauge_monitor_verdict", "1 for the verdict, 0 for the others.", ("status",))
ALARMS = _gauge("adgauge_monitor_alarms", "Alarms by kind, over all slices.", ("kind",))
ALARM_ACTIVE = _gauge(
    "adgauge_monitor_alarm_active",
    "1 for each kind of alarm in a slice that has one.",
    ("kind", *BY_SLICE),
)
LIMIT = _gauge("adgauge_monitor_limit", "Limits in force, in the unit of what they limit.", ("rule",))
MODEL_INFO = _gauge(
    "adgauge_monitor_model_info",
    "Model, contract digest (12 hex digits) and generation that are judged; always 1.",
    ("model", "contract", "generation"),
)

# Figures, of slices that are large enough to be judged. The ends of intervals are absent where only they are
# undefined.
PLCC = _gauge("adgauge_monitor_plcc", "PLCC of scores and labels.", BY_SLICE)
PLCC_LOW = _gauge("adgauge_monitor_plcc_low", "Lower end of PLCC's interval.", BY_SLICE)
PLCC_HIGH = _gauge("adgauge_monitor_plcc_high", "Upper end of PLCC's interval.", BY_SLICE)
SRCC = _gauge("adgauge_monitor_srcc", "SRCC of scores and labels.", BY_SLICE)
MAE_STARS = _gauge("adgauge_monitor_mae_stars", "Mean distance of scores from labels.", BY_SLICE)
BIAS_STARS = _gauge(
    "adgauge_monitor_bias_stars", "Mean of score - label: above 0, scores are too high.", BY_SLICE
)
CES_PRINTED = _gauge("adgauge_monitor_ces_printed", "CES by Eq. (3) as printed.", BY_SLICE)
CES_LEADERBOARD = _gauge("adgauge_monitor_ces_leaderboard", "CES in the form of the leaderboard.", BY_SLICE)

# How much they rest on, of every slice that occurred.
PAIRS = _gauge("adgauge_monitor_pairs", "Pairs of a score and a label that were compared.", BY_SLICE)
COVERAGE_RATIO = _gauge(
    "adgauge_monitor_coverage_ratio", "Share of the labels that could decide which were compared.", BY_SLICE
)
LABELS = _gauge("adgauge_monitor_labels", "Labels of all products by what became of them.", ("coverage",))

# What changed without labels. `reason` is empty for pictures that are missing for whatever reason.
DRIFT_ACTIVE = _gauge(
    "adgauge_monitor_drift_active",
    "1 for each kind of drift in a slice that has one.",
    ("kind", *BY_SLICE),
)
DRIFT_PSI = _gauge("adgauge_monitor_drift_psi", "Population stability index.", ("kind", *BY_SLICE))
DRIFT_KS = _gauge("adgauge_monitor_drift_ks", "Kolmogorov-Smirnov statistic.", ("kind", *BY_SLICE))
DRIFT_SHARE_RATIO = _gauge(
    "adgauge_monitor_drift_share_ratio",
    "A share (of missing pictures) in the judged and in the reference window.",
    ("kind", "reason", "window", *BY_SLICE),
)

# Bounded, and what the bound takes away is counted.
SERIES_LEFT_OUT = _gauge("adgauge_monitor_series_left_out", "Series of the result not served.", ("why",))

DEFINITIONS = tuple(each for each in dict(vars()).values() if isinstance(each, MetricDefinition))
"""All of them, in the order above."""

FIGURE_METRICS: Mapping[str, MetricDefinition] = {
    "plcc": PLCC,
    "srcc": SRCC,
    "mae": MAE_STARS,
    "bias": BIAS_STARS,
    "ces_printed": CES_PRINTED,
    "ces_leaderboard": CES_LEADERBOARD,
}
"""Field of `result.Figures` → the gauge of its value."""
