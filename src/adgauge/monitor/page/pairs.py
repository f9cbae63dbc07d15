"""Scores against labels: the sample of pairs, and how labels follow scores by decile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from adgauge.monitor.page.charts import LEFT, RIGHT, Scale, chart, dot, heights, line, upright, widths
from adgauge.monitor.page.wording import count, decimal, with_interval
from adgauge.monitor.result import CalibrationBin, ScatterPoint

_HEIGHT_PX = 320
_TOP_PX, _BOTTOM_PX = 32.0, _HEIGHT_PX - 36.0


def calibration(bins: Sequence[CalibrationBin]) -> Element:
    """Mean label by decile of the scores, with intervals, and the line on which both are equal."""
    ends = [end for each in bins for end in (each.label.value, each.label.low, each.label.high)]
    across = Scale.over([each.mean_score for each in bins], LEFT + 3, RIGHT)
    up = Scale.over([*ends, *(each.mean_score for each in bins)], _BOTTOM_PX, _TOP_PX)
    drawn = [part for each in bins for part in _bin(each, across, up)]
    return chart(
        "Calibration: mean label by decile of the scores",
        "Points above the dashed line are scored too low, points below it too high.",
        _HEIGHT_PX,
        *_axes(across, up, "mean label"),
        *drawn,
    )


def scatter(points: Sequence[ScatterPoint]) -> Element:
    """A sample of the pairs; dots are larger where more ratings stand behind the label."""
    across = Scale.over([each.score for each in points], LEFT + 3, RIGHT)
    up = Scale.over([each.label for each in points], _BOTTOM_PX, _TOP_PX)
    drawn = [dot(across.at(each.score), up.at(each.label), _radius(each), "point") for each in points]
    return chart(
        f"Scores and labels of {count(len(points))} products",
        "Each dot is a product: to the right the score, upwards the label.",
        _HEIGHT_PX,
        *_axes(across, up, "label"),
        *drawn,
    )


def _axes(across: Scale, up: Scale, unit: str) -> list[Element]:
    """With the line score = label, as far as it crosses the chart."""
    low, high = max(across.low, up.low), min(across.high, up.high)
    same = [line(across.at(low), up.at(low), across.at(high), up.at(high), "equal")] if low < high else []
    return [*heights(up, unit), *widths(across, _BOTTOM_PX + 16, "score"), *same]


def _bin(each: CalibrationBin, across: Scale, up: Scale) -> list[Element]:
    if each.label.value is None:
        return []
    x = across.at(each.mean_score)
    told = (
        f"scores around {decimal(each.mean_score)}: labels {with_interval(each.label)}, {count(each.n)} pairs"
    )
    return [
        *upright(x, up, each.label, "interval judged"),
        dot(x, up.at(each.label.value), 4.5, "mark judged", told),
    ]


def _radius(point: ScatterPoint) -> float:
    """In pixels, from 2 to 5 at ten thousand ratings."""
    ratings = point.rating_number or 1
    return 2 + 3 * min(1.0, math.log10(max(1, ratings)) / 4)
