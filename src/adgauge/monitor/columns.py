"""How a file's columns are read: each field as one SQL expression, whatever type it came in.

Nothing here fails on a value: what cannot be read is NULL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adgauge.monitor.engine import Engine, file_literal, identifier, literal
from adgauge.monitor.sources import Part
from adgauge.product import ID_BYTES

LINE_BYTES = 4 * 2**20
"""A longer line is left out, and counted."""
_LENIENT = (
    f"ignore_errors = true, store_rejects = true, rejects_limit = 0, max_line_size = {LINE_BYTES},"
    f" buffer_size = {4 * LINE_BYTES}"
)
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "UTINYINT",
            "USMALLINT", "UINTEGER", "UBIGINT")  # fmt: skip
_JSON_FIELDS = ("parent_asin", "id", "features", "description", "flags")
"""Of these it matters whether JSON has a string, a number or a list; others are read as text."""
_PRICE = r"(?:\d{1,3}(?:,\d{3})+|\d{1,12})(?:\.\d{1,9})?"


@dataclass(frozen=True, slots=True)
class Column:
    """A field in a relation: an expression, and DuckDB's name of its type. "NULL": the file has none."""

    sql: str
    type: str

    @property
    def missing(self) -> bool:
        """Whether the file has no such column."""
        return self.type == "NULL"


@dataclass(frozen=True, slots=True)
class Relation:
    """Rows of a file: a FROM clause, its fields, and two expressions: a row as text, and why it is broken."""

    source: str
    fields: Mapping[str, Column]
    line: str
    broken: str


def relation_of(engine: Engine, part: Part, fields: Sequence[str]) -> Relation:
    """How to read these fields of a file. Raises duckdb.Error for one that cannot be read at all."""
    if part.form == "jsonl":
        return _json_lines(part, fields)
    source = table_of(part)
    types = {name: kind for name, kind, *_ in engine.rows(f"DESCRIBE SELECT * FROM {source}")}
    columns = {
        name: Column(identifier(name), types[name]) if name in types else Column("NULL", "NULL")
        for name in fields
    }
    return Relation(source, columns, "NULL::VARCHAR", "NULL::VARCHAR")


def lines_of(part: Part) -> str:
    """The lines of a text file as rows with one column, `line`; NULL where one is empty."""
    return (
        f"read_csv({file_literal(part.path)}, columns = {{'line': 'VARCHAR'}}, auto_detect = false,"
        " delim = chr(1), quote = '', escape = '', header = false, strict_mode = false,"
        f" null_padding = false, {_LENIENT})"
    )


def table_of(part: Part) -> str:
    """The rows of a CSV or Parquet file; a CSV's values are text."""
    if part.form == "parquet":
        return f"read_parquet({file_literal(part.path)})"
    return (
        f"read_csv({file_literal(part.path)}, all_varchar = true, header = true, delim = ',', quote = '\"',"
        f" escape = '\"', nullstr = '', {_LENIENT})"
    )


def _json_lines(part: Part, fields: Sequence[str]) -> Relation:
    wanted = ", ".join(f'"{name}": "{"JSON" if name in _JSON_FIELDS else "VARCHAR"}"' for name in fields)
    source = f"""(
        SELECT line, kind, CASE WHEN kind = 'OBJECT' THEN json_transform(line, '{{{wanted}}}') END AS j
        FROM (
            SELECT line, CASE WHEN json_valid(line) THEN json_type(line) END AS kind
            FROM {lines_of(part)} WHERE trim(line) <> ''
        )
    )"""
    columns = {
        name: Column(f"j.{identifier(name)}", "JSON" if name in _JSON_FIELDS else "VARCHAR")
        for name in fields
    }
    broken = "CASE WHEN kind IS NULL THEN 'not_json' WHEN kind <> 'OBJECT' THEN 'not_object' END"
    return Relation(source, columns, "line", broken)


def product_id(column: Column) -> str:
    """An id without white space around it; a number may have lost leading zeros and is none."""
    if column.type == "JSON":
        text = f"CASE WHEN json_type({column.sql}) = 'VARCHAR' THEN {column.sql} ->> '$' END"
    elif column.type == "VARCHAR":
        text = column.sql
    else:
        return "NULL::VARCHAR"
    return f"CASE WHEN strlen(trim({text})) BETWEEN 1 AND {ID_BYTES} THEN trim({text}) END"


def present(column: Column) -> str:
    """Whether a row has anything there."""
    if column.missing:
        return "false"
    return f"({text(column)} IS NOT NULL)" if column.type == "VARCHAR" else f"({column.sql} IS NOT NULL)"


def number(column: Column) -> str:
    """A DOUBLE, perhaps NaN or infinite."""
    if column.type.startswith(_NUMBERS):
        return f"CAST({column.sql} AS DOUBLE)"
    return f"TRY_CAST(trim({column.sql}) AS DOUBLE)" if column.type == "VARCHAR" else "NULL::DOUBLE"


def whole(column: Column) -> str:
    """A BIGINT; NULL for what has a fraction or does not fit."""
    value = number(column)
    return f"CASE WHEN floor({value}) = {value} THEN TRY_CAST({value} AS BIGINT) END"


def time_ms(column: Column) -> str:
    """Ms since 1970 (BIGINT) from a whole number of them, or from a date, or a time as ISO 8601 writes it.

    Without an offset it is UTC.
    """
    if column.type.startswith(("TIMESTAMP", "DATE")):
        return f"epoch_ms(CAST({column.sql} AS TIMESTAMPTZ))"
    if column.type == "VARCHAR":
        return f"COALESCE({whole(column)}, epoch_ms(TRY_CAST(trim({column.sql}) AS TIMESTAMPTZ)))"
    return whole(column)


def text(column: Column) -> str:
    """A VARCHAR without white space around it; NULL where nothing is left."""
    if column.type == "JSON":
        return f"nullif(trim({column.sql} ->> '$'), '')"
    return f"nullif(trim({column.sql}), '')" if column.type == "VARCHAR" else "NULL::VARCHAR"


def price(column: Column) -> str:
    """A price from 0, as a number or as the first one in a short text such as "$1,299.00"."""
    found = number(column)
    if column.type == "VARCHAR":
        stated = f"replace(regexp_extract(left({column.sql}, 64), {literal(_PRICE)}), ',', '')"
        found = f"COALESCE({found}, TRY_CAST(nullif({stated}, '') AS DOUBLE))"
    return f"CASE WHEN {found} BETWEEN 0 AND 1e9 THEN {found} END"


def characters(columns: Sequence[Column]) -> str:
    """How many characters several texts, or lists of them, have in all; NULL where the file has none."""
    counted = [_characters(column) for column in columns if not column.missing]
    return " + ".join(f"COALESCE({each}, 0)" for each in counted) if counted else "NULL::BIGINT"


def _characters(column: Column) -> str:
    if column.type == "JSON":
        listed = f"length(array_to_string(json_extract_string({column.sql}, '$[*]'), ''))"
        single = f"length({column.sql} ->> '$')"
        return f"CASE json_type({column.sql}) WHEN 'ARRAY' THEN {listed} WHEN 'VARCHAR' THEN {single} END"
    if column.type == "VARCHAR[]":
        return f"length(array_to_string({column.sql}, ''))"
    return f"length({column.sql})" if column.type == "VARCHAR" else "0"


def script(column: Column) -> str:
    """The writing of a title: the first of these that it has a letter of."""
    title = text(column)
    return (
        f"CASE WHEN {title} IS NULL THEN NULL"
        f" WHEN regexp_matches({title}, '[\\p{{Han}}\\p{{Hiragana}}\\p{{Katakana}}]') THEN 'Han and Kana'"
        f" WHEN regexp_matches({title}, '\\p{{Hangul}}') THEN 'Hangul'"
        f" WHEN regexp_matches({title}, '\\p{{Arabic}}') THEN 'Arabic'"
        f" WHEN regexp_matches({title}, '\\p{{Cyrillic}}') THEN 'Cyrillic'"
        f" WHEN regexp_matches({title}, '\\p{{Latin}}') THEN 'Latin' ELSE 'other' END"
    )
