"""Numbers, moments and closed lists as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime

from adgauge.monitor.result import AlarmKind, DriftKind, Figure, Status

NOTHING = "—"
"""Stands where a figure is undefined."""
STATUS: Mapping[Status, tuple[str, str]] = {
    Status.OK: ("✓", "OK"),
    Status.ALARM: ("▲", "Alarm"),
    Status.NO_DATA: ("?", "No data"),
}
"""A sign and a word: colour alone says nothing to many, and nothing in print."""
ALARMS: Mapping[AlarmKind, str] = {
    AlarmKind.PLCC_BELOW_FLOOR: "PLCC below the floor",
    AlarmKind.PLCC_FELL: "PLCC fell",
    AlarmKind.WORSE_THAN_PREVIOUS: "worse than the previous generation",
    AlarmKind.BIAS: "bias",
    AlarmKind.LOW_COVERAGE: "low coverage",
    AlarmKind.DRIFT: "drift",
}
DRIFTS: Mapping[DriftKind, str] = {
    DriftKind.SCORE: "scores",
    DriftKind.IMAGES_MISSING: "missing images",
    DriftKind.TEXT_LENGTH: "text length",
    DriftKind.CATEGORY_MIX: "mix of categories",
}


def decimal(value: float | None, places: int = 2) -> str:
    """With a true minus sign; what is far from 1 in powers of ten."""
    if value is None or not math.isfinite(value):
        return NOTHING
    large = abs(value) >= 1e6
    shown = f"{value:.3g}" if large else f"{value:.{places}f}"
    return ("0" + shown[2:] if float(shown) == 0 and shown[0] == "-" else shown).replace("-", "−")


def signed(value: float | None, places: int = 2) -> str:
    """With its sign, also where it is a plus."""
    return f"+{decimal(value, places)}" if value is not None and value > 0 else decimal(value, places)


def interval(figure: Figure, places: int = 2) -> str:
    """The interval alone: `[0.37, 0.45]`."""
    if figure.low is None or figure.high is None:
        return NOTHING
    return f"[{decimal(figure.low, places)}, {decimal(figure.high, places)}]"


def with_interval(figure: Figure, places: int = 2) -> str:
    """`0.41 [0.37, 0.45]`."""
    if figure.value is None:
        return NOTHING
    ends = interval(figure, places)
    return decimal(figure.value, places) if ends == NOTHING else f"{decimal(figure.value, places)} {ends}"


def count(number: int) -> str:
    """With commas."""
    return f"{number:,}"


def share(value: float | None) -> str:
    """In percent; what is little is not nothing."""
    if value is None or abs(value) > 1e6:
        return decimal(value)
    places = 1 if 0 < abs(value) < 0.1 else 0
    return f"{100 * value:.{places}f}%"


def probability(value: float | None) -> str:
    """A p- or q-value."""
    if value is None:
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def moment(ms: int) -> str:
    """`30 Nov 2026, 08:15 UTC`."""
    return _at(ms, "%d %b %Y, %H:%M UTC")


def day(ms: int) -> str:
    """`30 Nov 2026`."""
    return _at(ms, "%d %b %Y")


def _at(ms: int, pattern: str) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime(pattern)
    except (ValueError, OverflowError, OSError):  # after the year 9999
        return f"{ms} ms"
