"""What all charts are made of. Across they are drawn in percent and down in pixels: a chart is as wide as
its place while text and marks keep their size, on a telephone as on a wall.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self
from xml.etree.ElementTree import Element

from adgauge.monitor.page.markup import Node, tag
from adgauge.monitor.page.wording import decimal
from adgauge.monitor.result import Figure

LEFT, RIGHT = 9.0, 97.0
"""Where values begin and end, in percent: to the left stand the numbers of the axis."""
_FARTHEST = 1e6  # what lies beyond is drawn there: no sum overflows


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from `low` to `high` (low < high) on a line from `begin` to `end`, percent or pixels.

    What lies outside is drawn at the end.
    """

    low: float
    high: float
    begin: float
    end: float

    @classmethod
    def over(
        cls,
        values: Iterable[float | None],
        begin: float,
        end: float,
        *,
        room: float = 0.06,
        least: float = 0.1,
    ) -> Self:
        """Of a scale that holds all of them, with `room` at both ends, at least `least` long."""
        known = [_near(value) for value in values if value is not None] or [0.0]
        low, high = min(known), max(known)
        extra = max((high - low) * room, (least - (high - low)) / 2)
        return cls(low - extra, high + extra, begin, end)

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        part = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers on it, `most` at the most, a step of 1, 2 or 5 apart."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [number * step for number in range(first, last + 1)]

    def decimals(self, most: int = 6) -> int:
        """How many its round numbers need."""
        ticks = self.ticks(most)
        step = ticks[1] - ticks[0] if len(ticks) > 1 else self.high - self.low
        return max(0, -math.floor(math.log10(step) + 1e-9))


def chart(title: str, words: str, height: int, *children: Node, class_: str = "chart") -> Element:
    """An image as wide as its place, named by `title` and told by `words`."""
    return tag(
        "svg",
        tag("title", title),
        tag("desc", words),
        *children,
        class_=class_,
        role="img",
        width="100%",
        height=height,
    )


def percent(value: float) -> str:
    """As an attribute of SVG."""
    return f"{value:.2f}%"


def pixels(value: float) -> str:
    """As an attribute of SVG."""
    return f"{value:.1f}"


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """From (x1 %, y1 px) to (x2 %, y2 px)."""
    return tag("line", x1=percent(x1), y1=pixels(y1), x2=percent(x2), y2=pixels(y2), class_=class_)


def dot(x: float, y: float, radius: float, class_: str, title: str | None = None) -> Element:
    """At (x %, y px); `title` is shown to a pointer that rests on it."""
    named = tag("title", title) if title is not None else None
    return tag("circle", named, cx=percent(x), cy=pixels(y), r=pixels(radius), class_=class_)


def words_at(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Element:
    """Text that begins, ends or has its middle at (x %, y px)."""
    return tag("text", text, x=percent(x), y=pixels(y), text_anchor=anchor, class_=class_)


def upright(x: float, scale: Scale, figure: Figure, class_: str) -> list[Element]:
    """A vertical interval at x %; nothing where it is undefined."""
    if figure.low is None or figure.high is None:
        return []
    return [line(x, scale.at(figure.low), x, scale.at(figure.high), class_)]


def heights(scale: Scale, unit: str = "") -> list[Element]:
    """Lines across, each with its number on it at the left."""
    ticks, places = scale.ticks(), scale.decimals()
    drawn: list[Element] = []
    for tick in ticks:
        y = scale.at(tick)
        drawn += [line(0, y, 100, y, "grid"), words_at(0, y - 3, decimal(tick, places), "tick")]
    return [*drawn, words_at(0, 11, unit, "unit")] if unit else drawn


def widths(scale: Scale, y: float, unit: str = "", most: int = 6) -> list[Element]:
    """Numbers below the chart, at y px; what they count stands at the right end of the next line."""
    places = scale.decimals(most)
    numbers = [
        words_at(scale.at(tick), y, decimal(tick, places), "tick", "middle") for tick in scale.ticks(most)
    ]
    return [*numbers, words_at(100, y + 15, unit, "unit", "end")] if unit else numbers


def _near(value: float) -> float:
    return min(max(value, -_FARTHEST), _FARTHEST)
