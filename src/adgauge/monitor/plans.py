"""What a row of each kind must hold: where each column comes from, and which rows are left out, and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from adgauge.monitor import columns as read
from adgauge.monitor.columns import Column
from adgauge.monitor.result import Source
from adgauge.pipeline.score_log import ScoreLogRecord
from adgauge.records import CLOCK_SKEW_MS, Flag

Fields = Mapping[str, Column]

FLAGS = tuple(Flag)
"""Flag number n is bit n of `scores.flags`."""
EARLIEST_MS = 946_684_800_000
"""2000-01-01. An earlier time was most likely given in seconds."""
LARGEST_SCORE = 1e6
"""Stars either way. One beyond, of millions, would decide every figure."""
ITEM_FIELDS = ("main_category", "price", "title", "features", "description", "language")
ITEM_COLUMNS = {
    "main_category": "VARCHAR",
    "price": "DOUBLE",
    "text_length": "BIGINT",
    "language": "VARCHAR",
    "script": "VARCHAR",
}
"""What is kept of a product to slice by; `text_length` in characters of title, features and description."""


class BadReason(StrEnum):
    """Why a row, or a file, is left out. A closed list: it labels a metric."""

    UNREADABLE_FILE = "unreadable_file"  # counted once a file: nothing says how many rows it has
    MISSING_COLUMN = "missing_column"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    TOO_LONG = "too_long"
    MALFORMED_ROW = "malformed_row"
    NO_ID = "no_id"
    NO_RATING = "no_rating"
    RATING_OUT_OF_RANGE = "rating_out_of_range"
    NO_COUNT = "no_count"
    NEGATIVE_COUNT = "negative_count"
    NO_TIME = "no_time"
    IN_THE_FUTURE = "in_the_future"
    BEFORE_2000 = "before_2000"
    DUPLICATE = "duplicate"
    CONFLICTING = "conflicting"
    NO_GENERATION = "no_generation"
    NO_OUTCOME = "no_outcome"
    NO_SCORE = "no_score"


Rule = tuple[str, BadReason]


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows of one kind are read into the table of that name.

    `columns` name and type it; `values` makes the SQL of each, and of any further names that `rules` use,
    from a file's fields. Of `rules`, conditions on those names, the first that holds is the reason. A row
    that is no text is shown by the columns `shown`.
    """

    kind: Source
    columns: Mapping[str, str]
    fields: Sequence[str]
    required: Sequence[str]
    values: Callable[[Fields], dict[str, str]]
    rules: Sequence[Rule]
    shown: Sequence[str]
    newest: str | None = None  # the column of times


def labels_plan(now_ms: int, observed_ms: int | None) -> Plan:
    """Of labels; `observed_ms` is when rows without `observed_at` were observed."""

    def values(fields: Fields) -> dict[str, str]:
        observed = read.time_ms(fields["observed_at"])
        if observed_ms is not None:
            stated = read.present(fields["observed_at"])
            observed = f"CASE WHEN {stated} THEN {observed} ELSE {observed_ms}::BIGINT END"
        return {
            "id": read.product_id(fields["parent_asin"]),
            "rating": read.number(fields["average_rating"]),
            "rating_number": read.whole(fields["rating_number"]),
            "observed_ms": observed,
            "counted": read.present(fields["rating_number"]),
            **_item_values(fields),
        }

    required = ["parent_asin", "average_rating", *(["observed_at"] if observed_ms is None else [])]
    return Plan(
        kind="labels",
        columns={"id": "VARCHAR", "rating": "DOUBLE", "rating_number": "BIGINT", "observed_ms": "BIGINT"}
        | ITEM_COLUMNS,
        fields=("parent_asin", "average_rating", "rating_number", "observed_at", *ITEM_FIELDS),
        required=required,
        values=values,
        rules=(
            ("id IS NULL", BadReason.NO_ID),
            ("rating IS NULL", BadReason.NO_RATING),
            ("NOT rating BETWEEN 1 AND 5", BadReason.RATING_OUT_OF_RANGE),
            ("counted AND rating_number IS NULL", BadReason.NO_COUNT),
            ("rating_number < 0", BadReason.NEGATIVE_COUNT),
            *_time_rules("observed_ms", now_ms),
        ),
        shown=("id", "rating", "rating_number", "observed_ms"),
        newest="observed_ms",
    )


def scores_plan(now_ms: int) -> Plan:
    """Of the score log. A deletion has no score and happened at its event time. `digest` becomes a hash."""

    def values(fields: Fields) -> dict[str, str]:
        outcome = read.text(fields["outcome"])
        event_ms = read.time_ms(fields["event_ms"])
        return {
            "id": read.product_id(fields["id"]),
            "generation": read.whole(fields["generation"]),
            "outcome": outcome,
            "at_ms": f"CASE {outcome} WHEN 'deleted' THEN {event_ms}"
            f" ELSE {read.time_ms(fields['scored_at_ms'])} END",
            "event_ms": event_ms,
            "seq": read.whole(fields["offset"]),
            "score": f"CASE WHEN {outcome} = 'scored' THEN {read.number(fields['score'])} END",
            "flags": _flag_bits(fields["flags"]),
            "digest": f"hash({read.text(fields['digest'])})",
            "deleted": f"COALESCE({outcome} = 'deleted', false)",
            "image_reason": read.text(fields["image_reason"]),
            "model": read.text(fields["model"]),
            "contract": read.text(fields["contract"]),
        }

    return Plan(
        kind="scores",
        columns={
            "id": "VARCHAR",
            "generation": "BIGINT",
            "at_ms": "BIGINT",
            "event_ms": "BIGINT",
            "seq": "BIGINT",
            "score": "DOUBLE",
            "flags": "UTINYINT",
            "digest": "UBIGINT",
            "deleted": "BOOLEAN",
            "image_reason": "VARCHAR",
        },
        fields=tuple(ScoreLogRecord.model_fields),
        required=("id", "outcome", "generation", "score", "scored_at_ms"),
        values=values,
        rules=(
            ("id IS NULL", BadReason.NO_ID),
            ("generation IS NULL OR generation < 0", BadReason.NO_GENERATION),
            ("outcome IS NULL OR outcome NOT IN ('scored', 'deleted')", BadReason.NO_OUTCOME),
            (f"NOT deleted AND (score IS NULL OR NOT abs(score) <= {LARGEST_SCORE})", BadReason.NO_SCORE),
            *_time_rules("at_ms", now_ms),
        ),
        shown=("id", "generation", "score", "at_ms"),
        newest="at_ms",
    )


def items_plan() -> Plan:
    """Of catalog lines, for what slices are made of."""

    def values(fields: Fields) -> dict[str, str]:
        return {"id": read.product_id(fields["parent_asin"]), **_item_values(fields)}

    return Plan(
        kind="items",
        columns={"id": "VARCHAR"} | ITEM_COLUMNS,
        fields=("parent_asin", *ITEM_FIELDS),
        required=("parent_asin",),
        values=values,
        rules=(("id IS NULL", BadReason.NO_ID),),
        shown=("id",),
    )


def ids_plan(kind: Literal["training", "rejected"]) -> Plan:
    """Of products that the model was trained on, or that went to the dead letters."""

    def values(fields: Fields) -> dict[str, str]:
        return {"id": read.product_id(fields["parent_asin"])}

    return Plan(
        kind=kind,
        columns={"id": "VARCHAR"},
        fields=("parent_asin",),
        required=("parent_asin",),
        values=values,
        rules=(("id IS NULL", BadReason.NO_ID),),
        shown=("id",),
    )


def _item_values(fields: Fields) -> dict[str, str]:
    return {
        "main_category": read.text(fields["main_category"]),
        "price": read.price(fields["price"]),
        "text_length": read.characters([fields[name] for name in ("title", "features", "description")]),
        "language": f"lower({read.text(fields['language'])})",
        "script": read.script(fields["title"]),
    }


def _time_rules(name: str, now_ms: int) -> list[Rule]:
    return [
        (f"{name} IS NULL", BadReason.NO_TIME),
        (f"{name} > {now_ms + CLOCK_SKEW_MS}", BadReason.IN_THE_FUTURE),
        (f"{name} < {EARLIEST_MS}", BadReason.BEFORE_2000),
    ]


def _flag_bits(column: Column) -> str:
    if column.missing:
        return "0::UTINYINT"
    listed = f"CAST({column.sql} AS VARCHAR)"
    bits = [
        f"CASE WHEN contains({listed}, '{flag}') THEN {1 << n} ELSE 0 END" for n, flag in enumerate(FLAGS)
    ]
    return f"COALESCE({' + '.join(bits)}, 0)::UTINYINT"
