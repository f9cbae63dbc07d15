"""A submission of one's own, measured against labels and placed in Table 1.

The submission is the challenge's file: CSV `item_id,score,params,flops`, params in millions and flops in
GFLOPs, the same two numbers on every row. Labels are CSV with `item_id` or `parent_asin`, `average_rating`
and, if wanted, `rating_number`; or items in the Amazon Reviews 2023 schema, one JSON object a line. Both may
be gzipped (`.gz`). Whatever is wrong is a ConfigurationError that names file, line and field, and what is
allowed.
"""

from __future__ import annotations

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from adgauge.errors import ConfigurationError
from adgauge.quality.ces import REPORT_BUDGET, Budget, CesForm, require_units
from adgauge.quality.leaderboard import Place, Standing, place, standing
from adgauge.quality.metrics import (
    Interval,
    bootstrap_interval,
    effective_n,
    fisher_interval,
    mae,
    plcc,
    rmse,
    srcc,
)

COLUMNS = ("item_id", "score", "params", "flops")
ID_COLUMNS = ("item_id", "parent_asin")
RATINGS = (1.0, 5.0)
COUNTS = (0.0, 1e12)
LABEL_ENDINGS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")


@dataclass(frozen=True, slots=True)
class Placed:
    """A submission on the leaderboard; `weighted` says whether pairs counted by their rating_number."""

    name: str
    n: int
    weighted: bool
    effective_n: float  # how many equally weighted items tell as much
    plcc: float
    fisher: Interval
    bootstrap: Interval
    srcc: float
    mae: float
    rmse: float
    standing: Standing
    places: Mapping[CesForm, Place]


@dataclass(frozen=True, slots=True)
class Submission:
    """Scores by id, and P in millions and F in GFLOPs as declared."""

    scores: Mapping[str, float]
    params_m: float
    flops_g: float


@dataclass(frozen=True, slots=True)
class Label:
    """The mean rating of an item in stars, and by how many people; None where the file does not say."""

    rating: float
    count: float | None


def place_submission(
    submission: Submission,
    labels: Mapping[str, Label],
    rng: np.random.Generator,
    *,
    name: str,
    by_rating_number: bool = False,
    budget: Budget = REPORT_BUDGET,
) -> Placed:
    """Measure scores against the labels of the same items. Raises ConfigurationError, see the module."""
    _require_same_ids(submission.scores, labels)
    scores = np.array([submission.scores[item] for item in labels])
    ratings = np.array([label.rating for label in labels.values()])
    weights = _weights(labels) if by_rating_number else None
    correlation = plcc(scores, ratings, weights)
    counting = effective_n(scores, ratings, weights)
    stands = standing(correlation, submission.params_m, submission.flops_g, budget)
    return Placed(
        name=name,
        n=len(labels),
        weighted=by_rating_number,
        effective_n=counting,
        plcc=correlation,
        fisher=fisher_interval(correlation, counting),
        bootstrap=bootstrap_interval(scores, ratings, rng, weights=weights),
        srcc=srcc(scores, ratings, weights),
        mae=mae(scores, ratings, weights),
        rmse=rmse(scores, ratings, weights),
        standing=stands,
        places={form: place(stands.ces[form], form, budget) for form in CesForm},
    )


def read_submission(path: Path) -> Submission:
    """Read and check a submission file."""
    scores: dict[str, float] = {}
    declared: tuple[float, float] | None = None
    for where, row in _csv_rows(path, COLUMNS, COLUMNS):
        item = _new_id(row["item_id"], "item_id", scores, where)
        scores[item] = _number(row["score"], "score", RATINGS, where)
        costs = tuple(_number(row[name], name, (0.0, math.inf), where) for name in ("params", "flops"))
        declared = declared or _declared(costs[0], costs[1], where)
        for name, here, first in zip(("params", "flops"), costs, declared, strict=True):
            if here != first:
                raise ConfigurationError(
                    f"{where}: {name} is {here:.15g}, on the first row it is {first:.15g}; all must be equal"
                )
    if declared is None:
        raise ConfigurationError(f"{path} holds no rows; it must hold one for each item")
    return Submission(scores, *declared)


def read_labels(path: Path) -> Mapping[str, Label]:
    """Read and check a file of labels: id → label, in the file's order."""
    if not path.name.lower().endswith(LABEL_ENDINGS):
        raise ConfigurationError(
            f"cannot read labels from {path}: its name must end in {', '.join(LABEL_ENDINGS)}"
        )
    is_json = path.name.lower().endswith((".jsonl", ".jsonl.gz"))
    items = _json_rows(path) if is_json else _csv_rows(path, ("average_rating",), ())
    labels: dict[str, Label] = {}
    for where, row in items:
        id_field = next((name for name in ID_COLUMNS if name in row), None)
        if id_field is None:
            raise ConfigurationError(f"{where}: there is no id; it must be in {' or '.join(ID_COLUMNS)}")
        item = _new_id(row[id_field], id_field, labels, where)
        labels[item] = _label(row, where)
    if not labels:
        raise ConfigurationError(f"{path} holds no labels; it must hold one for each item")
    return labels


def _label(row: Mapping[str, Any], where: str) -> Label:
    count = row.get("rating_number")
    return Label(
        rating=_number(row.get("average_rating"), "average_rating", RATINGS, where),
        count=None if count in (None, "") else _number(count, "rating_number", COUNTS, where),
    )


def _declared(params_m: float, flops_g: float, where: str) -> tuple[float, float]:
    require_units(params_m, flops_g, f"{where}: ")
    return params_m, flops_g


def _weights(labels: Mapping[str, Label]) -> list[float]:
    counts = [label.count for label in labels.values() if label.count is not None]
    if len(counts) < len(labels):
        item = next(item for item, label in labels.items() if label.count is None)
        raise ConfigurationError(
            f"item {item} has no rating_number among the labels; all need one to be weighted"
        )
    return counts


def _require_same_ids(scores: Mapping[str, float], labels: Mapping[str, Label]) -> None:
    missing = [item for item in labels if item not in scores]
    unknown = [item for item in scores if item not in labels]
    for items, complaint in (
        (missing, "is labelled and missing from the submission"),
        (unknown, "of the submission is not among the labels"),
    ):
        if items:
            beside = f" (which has {unknown[0]!r})" if missing and unknown else ""
            raise ConfigurationError(
                f"item_id {items[0]!r} {complaint}{beside}, {len(items)} in all;"
                " both must name the same items"
            )


def _new_id(value: object, field: str, known: Mapping[str, object], where: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ConfigurationError(f"{where}: {field} is {value!r}; it must be a string that is not empty")
    if value in known:
        raise ConfigurationError(f"{where}: {field} {value!r} occurs twice; each item is allowed one row")
    return value


def _number(value: object, field: str, allowed: tuple[float, float], where: str) -> float:
    low, high = allowed
    number = _as_number(value)
    if not low <= number <= high or math.isinf(number):
        bounds = f"a number from {low:g} to {high:g}" if high < math.inf else f"a number, at least {low:g}"
        raise ConfigurationError(f"{where}: {field} is {value!r}; it must be {bounds}")
    return number


def _as_number(value: object) -> float:
    """NaN, which lies in no range, for what is no number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def _csv_rows(
    path: Path, required: Sequence[str], only: Sequence[str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """Each row with where it stands; `only` are the columns that are allowed, all where it is empty."""
    reader = csv.reader(_lines(path), strict=True)
    try:
        header = next(reader, [])
        _require_columns(path, header, required, only)
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if row and len(row) != len(header):
                raise ConfigurationError(f"{where}: it has {len(row)} fields; the header has {len(header)}")
            if row:
                yield where, dict(zip(header, row, strict=True))
    except csv.Error as exc:
        raise ConfigurationError(f"{path}, line {reader.line_num}: it is no CSV: {exc}") from exc


def _require_columns(path: Path, header: Sequence[str], required: Sequence[str], only: Sequence[str]) -> None:
    if absent := [name for name in required if name not in header]:
        raise ConfigurationError(
            f"{path}, line 1: column {absent[0]} is missing; needed are {','.join(required)},"
            f" there is {','.join(header)[:200] or 'nothing'}"
        )
    if foreign := [name for name in header if only and name not in only]:
        raise ConfigurationError(
            f"{path}, line 1: column {foreign[0]!r} is unknown; allowed are {','.join(only)}"
        )
    if double := [name for name in header if header.count(name) > 1]:
        raise ConfigurationError(f"{path}, line 1: column {double[0]!r} occurs twice; each is allowed once")


def _json_rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        if line.strip():
            yield where, _json_object(line, where)


def _json_object(line: str, where: str) -> dict[str, Any]:
    try:
        item = json.loads(line)
    except (ValueError, RecursionError) as exc:
        raise ConfigurationError(f"{where}: it is no JSON: {getattr(exc, 'msg', exc)}") from exc
    if not isinstance(item, dict):
        raise ConfigurationError(f"{where}: it is no JSON object; it must be an item")
    return item


def _lines(path: Path) -> Iterator[str]:
    """Lines as they are, for `csv` to find their ends; a byte order mark is passed over."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from file
    except (OSError, EOFError, zlib.error) as exc:
        _cannot_read(path, getattr(exc, "strerror", None) or str(exc), exc)
    except UnicodeDecodeError as exc:
        _cannot_read(path, "it must be UTF-8", exc)


def _cannot_read(path: Path, why: str, exc: Exception) -> NoReturn:
    raise ConfigurationError(f"cannot read {path}: {why}") from exc
