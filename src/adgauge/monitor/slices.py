"""Which slices a label belongs to: declared dimensions, each a list of values, and SQL that picks one.

What is in no declared value is `other`, and `unknown` where the product's field is missing, so that a
dimension never has more values than were declared.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from adgauge.canonical.presets import AMAZON_CATEGORIES
from adgauge.monitor.engine import literal
from adgauge.monitor.plans import FLAGS
from adgauge.monitor.result import Slice
from adgauge.records import Flag

OTHER, UNKNOWN = "other", "unknown"
CROSS = " × "
MOST_SLICES = 1000
"""That may be declared in all: each is a series in Prometheus, several times over."""
SCRIPTS = ("Latin", "Cyrillic", "Arabic", "Hangul", "Han and Kana")

Value = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$")]
Edges = tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...]
Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Dimension:
    """Values that slices have, and SQL for the number of a label's value in them.

    Where `bits` is set a label may have several values, and the number's bits say which.
    """

    name: str
    values: tuple[str, ...]
    sql: str
    bits: bool = False

    def occurring(self, numbers: npt.NDArray[Any]) -> Iterator[tuple[Slice, int]]:
        """The slices that occur in numbers [n], in the declared order, with the place of their value."""
        if self.bits:
            present = int(np.bitwise_or.reduce(numbers, initial=0))
            found = [bool(present & (1 << place)) for place in range(len(self.values))]
        else:
            found = np.bincount(numbers, minlength=len(self.values)).astype(bool).tolist()
        for place, (value, there) in enumerate(zip(self.values, found, strict=True)):
            if there:
                yield Slice(dimension=self.name, value=value), place

    def at(self, numbers: npt.NDArray[Any], place: int) -> Indices:
        """The positions in numbers [n] of a value's members, ascending."""
        return np.flatnonzero(numbers & (1 << place) if self.bits else numbers == place)

    def members(self, numbers: npt.NDArray[Any]) -> Iterator[tuple[Slice, Indices]]:
        """Every slice that occurs, with its members."""
        for of, place in self.occurring(numbers):
            yield of, self.at(numbers, place)


class Declared(BaseModel):
    """The table `[slices]` of the monitor's TOML. An empty list, or false, leaves a dimension out.

    Numbers are the edges of bands: `[10, 50]` makes "under 10", "10 to 50" and "from 50".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    main_category: tuple[Value, ...] = AMAZON_CATEGORIES
    price: Edges = (10, 20, 50, 100)
    rating_number: Edges = (5, 20, 100, 1000)
    text_length: Edges = (200, 500, 1000, 2000)
    language: tuple[Value, ...] = Field(
        default=(), description="values of the field `language`, in small letters"
    )
    script: bool = Field(default=True, description="the writing of the title")
    image: bool = Field(default=True, description="whether the model was shown a picture")
    flags: bool = Field(default=True, description="of the score: no_image, no_text …")
    crosses: tuple[tuple[str, str], ...] = Field(default=(), description="pairs of dimensions")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        for name in ("price", "rating_number", "text_length"):
            edges = getattr(self, name)
            if list(edges) != sorted(set(edges)):
                raise ValueError(f"{name}: edges must ascend")
        for name in ("main_category", "language"):
            values = getattr(self, name)
            if len(set(values)) < len(values) or {OTHER, UNKNOWN} & set(values):
                raise ValueError(f"{name}: values must differ, also from {OTHER} and {UNKNOWN}")
        slices = sum(len(each.values) for each in self.dimensions())
        if slices > MOST_SLICES:
            raise ValueError(f"{slices} slices are declared; at most {MOST_SLICES} may be")
        return self

    def dimensions(self) -> tuple[Dimension, ...]:
        """In the order above. Raises ValueError for a cross of what is no dimension."""
        single = [each for each in self._single() if each is not None]
        named = {each.name: each for each in single if not each.bits}
        for pair in self.crosses:
            if unknown := [name for name in pair if name not in named]:
                raise ValueError(f"crosses: {unknown[0]} is none of {', '.join(named)}")
        return (*single, *(_cross(named[one], named[other]) for one, other in self.crosses))

    def _single(self) -> Iterator[Dimension | None]:
        yield _listed("main_category", self.main_category)
        yield _banded("price", self.price)
        yield _banded("rating_number", self.rating_number)
        yield _banded("text_length", self.text_length)
        yield _listed("language", self.language)
        yield _listed("script", SCRIPTS if self.script else ())
        yield _image() if self.image else None
        yield Dimension("flags", FLAGS, "COALESCE(flags, 0)", bits=True) if self.flags else None


def _listed(name: str, values: Sequence[str]) -> Dimension | None:
    if not values:
        return None
    listed = ", ".join(map(literal, values))
    n = len(values)
    sql = (
        f"CASE WHEN {name} IS NULL THEN {n + 1} ELSE COALESCE(list_position([{listed}], {name}) - 1, {n}) END"
    )
    return Dimension(name, (*values, OTHER, UNKNOWN), sql)


def _banded(name: str, edges: Sequence[float]) -> Dimension | None:
    if not edges:
        return None
    between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
    values = (f"under {edges[0]:g}", *between, f"from {edges[-1]:g}", UNKNOWN)
    below = " ".join(f"WHEN {name} < {edge!r} THEN {number}" for number, edge in enumerate(edges))
    sql = f"CASE WHEN {name} IS NULL THEN {len(edges) + 1} {below} ELSE {len(edges)} END"
    return Dimension(name, values, sql)


def _image() -> Dimension:
    """Of a label without a score nobody knows what a model would have been shown."""
    bit = 1 << FLAGS.index(Flag.NO_IMAGE)
    sql = f"CASE WHEN flags IS NULL THEN 2 WHEN flags & {bit} <> 0 THEN 1 ELSE 0 END"
    return Dimension("image", ("with", "without", UNKNOWN), sql)


def _cross(one: Dimension, other: Dimension) -> Dimension:
    values = tuple(CROSS.join(pair) for pair in itertools.product(one.values, other.values))
    sql = f"({one.sql}) * {len(other.values)} + ({other.sql})"
    return Dimension(f"{one.name}{CROSS}{other.name}", values, sql)
