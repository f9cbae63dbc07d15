"""The products whose scores are furthest from their labels, with what a person wants to see of them."""

from __future__ import annotations

from typing import Any

import duckdb

from adgauge.errors import RecordRejected
from adgauge.monitor.columns import lines_of, table_of
from adgauge.monitor.engine import Engine, literal
from adgauge.monitor.joining import Fate
from adgauge.monitor.result import Residual
from adgauge.monitor.sources import Part
from adgauge.product import ProductRecord, parse_product

WORST = 20
_MOST_BYTES = 2**24
_TITLE_CHARS = 200


def worst_of(engine: Engine, parts: tuple[Part, ...]) -> tuple[Residual, ...]:
    """Of the judged window; titles and pictures are looked up in `parts`, which are files of products."""
    rows = engine.rows(f"""SELECT id, score, rating, rating_number, main_category FROM joined
        WHERE period = 0 AND fate = {Fate.COMPARED:d}
        ORDER BY abs(score - rating) DESC, id LIMIT {WORST}""")
    known = _products(engine, parts, [row[0] for row in rows])
    return tuple(_residual(row, known.get(row[0])) for row in rows)


def _residual(row: tuple[Any, ...], product: ProductRecord | None) -> Residual:
    product_id, score, label, rating_number, main_category = row
    picture = product.pictures[0].urls[0] if product and product.pictures else None
    return Residual(
        id=product_id,
        title=(product.title[:_TITLE_CHARS] or None) if product else None,
        main_category=main_category,
        score=score,
        label=label,
        rating_number=rating_number,
        picture=picture,
    )


def _products(engine: Engine, parts: tuple[Part, ...], ids: list[str]) -> dict[str, ProductRecord]:
    found: dict[str, ProductRecord] = {}
    for part in parts:
        if len(found) < len(ids):
            for line in _lines(engine, part, ids):
                try:
                    product = parse_product(line.encode(errors="replace"), _MOST_BYTES)
                except RecordRejected:
                    continue
                found.setdefault(product.parent_asin, product)
    return found


def _lines(engine: Engine, part: Part, ids: list[str]) -> list[str]:
    """The rows of these products as JSON; what cannot be read was counted before."""
    listed = ", ".join(map(literal, ids))
    if part.form == "jsonl":
        chosen = f"CASE WHEN json_valid(line) THEN trim(line ->> '$.parent_asin') END IN ({listed})"
        query = f"SELECT line FROM {lines_of(part)} WHERE {chosen}"
    else:
        query = f"""SELECT to_json(r)::VARCHAR FROM {table_of(part)} r
            WHERE trim(parent_asin::VARCHAR) IN ({listed})"""
    try:
        return [line for (line,) in engine.rows(query)] if ids else []
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error:
        return []
