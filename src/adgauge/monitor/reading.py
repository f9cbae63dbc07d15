"""Labels, scores, and what else is known of products, from files into tables of the engine.

No row makes a run fail: what cannot be used is counted by reason, with examples. A kind's table has its
plan's name and columns (`plans`); `contracts` (generation, model, contract, rows) comes with `scores`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import duckdb

from adgauge.monitor.columns import Relation, relation_of
from adgauge.monitor.engine import Engine, first_line, literal
from adgauge.monitor.plans import BadReason, Plan
from adgauge.monitor.result import BadRows, Source, SourceRead
from adgauge.monitor.sources import Part

EXAMPLES = 3
EXAMPLE_CHARS = 160
_CONTRACTS = "generation BIGINT, model VARCHAR, contract VARCHAR, rows BIGINT"
_REJECTS = ("reject_errors", "reject_scans")
_REJECTED_AS = {"INVALID ENCODING": BadReason.NOT_UTF8, "LINE SIZE OVER MAXIMUM": BadReason.TOO_LONG}


@dataclass(slots=True)
class Tally:
    """What was read and what was left out, as it is gathered."""

    sources: list[SourceRead] = field(default_factory=list)
    _rows: Counter[tuple[Source, str]] = field(default_factory=Counter)
    _examples: dict[tuple[Source, str], list[str]] = field(default_factory=dict)

    def bad(self, kind: Source, reason: str, rows: int, examples: Iterable[str | None] = ()) -> None:
        """Count rows; the first few examples are kept."""
        if rows:
            self._rows[kind, reason] += rows
            kept = self._examples.setdefault((kind, reason), [])
            shown = [_cut(example) for example in examples if example]
            kept.extend(shown[: EXAMPLES - len(kept)])

    def bad_of(self, kind: Source) -> int:
        """How many rows of a kind were left out."""
        return sum(rows for (each, _), rows in self._rows.items() if each == kind)

    def bad_rows(self) -> tuple[BadRows, ...]:
        """All of them, the most frequent first."""
        return tuple(
            BadRows(source=kind, reason=reason, rows=rows, examples=tuple(self._examples[kind, reason]))
            for (kind, reason), rows in sorted(self._rows.items(), key=lambda each: (-each[1], each[0]))
        )


def read_into(engine: Engine, plan: Plan, location: str | None, parts: Sequence[Part], tally: Tally) -> None:
    """Make the plan's table of these files; an empty one of none."""
    definition = ", ".join(f"{name} {kind}" for name, kind in plan.columns.items())
    engine.run(f"CREATE OR REPLACE TABLE {plan.kind} ({definition})")
    if plan.kind == "scores":
        engine.run(f"CREATE OR REPLACE TABLE contracts ({_CONTRACTS})")
    rows = sum(_read_part(engine, plan, part, tally) for part in parts)
    if location is not None:
        newest = engine.one(f"SELECT max({plan.newest}) FROM {plan.kind}")[0] if plan.newest else None
        (accepted,) = engine.one(f"SELECT count(*) FROM {plan.kind}")
        tally.sources.append(
            SourceRead(source=plan.kind, location=location, rows=rows, accepted=accepted, newest_ms=newest)
        )


def drop_repeated_labels(engine: Engine, tally: Tally) -> None:
    """Keep one of equal labels, and none of those that contradict each other about one time."""
    same = "min(rating) = max(rating) AND min(rating_number) IS NOT DISTINCT FROM max(rating_number)"
    engine.run(f"""CREATE OR REPLACE TEMP TABLE repeated AS
        SELECT id, observed_ms, count(*) AS rows, {same} AS same
        FROM labels GROUP BY id, observed_ms HAVING count(*) > 1""")
    for equal, reason, counted in (
        (True, BadReason.DUPLICATE, "rows - 1"),
        (False, BadReason.CONFLICTING, "rows"),
    ):
        rows, examples = engine.one(
            f"SELECT COALESCE(sum({counted}), 0)::BIGINT, min(id || ' at ' || observed_ms, {EXAMPLES})"
            " FROM repeated WHERE same = $1",
            [equal],
        )
        tally.bad("labels", reason, rows, examples or ())
    _keep_one(engine, "labels", "id, observed_ms", "id, observed_ms, main_category, price", "same")


def drop_repeated_scores(engine: Engine, tally: Tally) -> None:
    """Of lines of one product, generation and time keep the newest version: the log repeats itself.

    A deletion is first moved behind the scores of versions before it, see `_settle_deletions`.
    """
    _settle_deletions(engine)
    keys = "id, generation, at_ms"
    engine.run(f"""CREATE OR REPLACE TEMP TABLE repeated AS
        SELECT {keys}, count(*) AS rows FROM scores GROUP BY {keys} HAVING count(*) > 1""")
    rows, examples = engine.one(
        f"SELECT COALESCE(sum(rows - 1), 0)::BIGINT, min(id || ' at ' || at_ms, {EXAMPLES}) FROM repeated"
    )
    tally.bad("scores", BadReason.DUPLICATE, rows, examples or ())
    _keep_one(engine, "scores", keys, f"{keys}, event_ms DESC, seq DESC", "true")


def _settle_deletions(engine: Engine) -> None:
    """A score is made some time after its event, so a deletion that happened in between has the earlier time
    and yet is what is live after both: it counts from right behind the newest score of a version before it.
    """
    engine.run("""UPDATE scores SET at_ms = s.made_ms + 1
        FROM (
            SELECT d.id, d.generation, d.event_ms, d.seq, max(s.at_ms) AS made_ms
            FROM scores d JOIN scores s USING (id, generation)
            WHERE d.deleted AND NOT s.deleted AND s.at_ms >= d.at_ms
                AND (s.event_ms, s.seq) < (d.event_ms, d.seq)
            GROUP BY ALL
        ) s
        WHERE scores.deleted AND scores.id = s.id AND scores.generation = s.generation
            AND scores.event_ms = s.event_ms AND scores.seq = s.seq""")


def _keep_one(engine: Engine, table: str, keys: str, order: str, kept: str) -> None:
    if not engine.one("SELECT count(*) FROM repeated")[0]:
        return
    engine.run(f"""CREATE OR REPLACE TEMP TABLE single AS
        SELECT DISTINCT ON ({keys}) {table}.* FROM {table}
        SEMI JOIN (SELECT * FROM repeated WHERE {kept}) USING ({keys}) ORDER BY {order}""")
    engine.run(f"CREATE OR REPLACE TABLE {table} AS SELECT * FROM {table} ANTI JOIN repeated USING ({keys})")
    engine.run(f"INSERT INTO {table} SELECT * FROM single")


def _read_part(engine: Engine, plan: Plan, part: Part, tally: Tally) -> int:
    """How many rows it has, broken ones included."""
    try:
        relation = relation_of(engine, part, plan.fields)
        rows = _take(engine, plan, part, relation, tally)
    except duckdb.OutOfMemoryException:
        raise
    except duckdb.Error as exc:
        tally.bad(plan.kind, BadReason.UNREADABLE_FILE, 1, [f"{part.name}: {first_line(exc)}"])
        rows = 0
    return rows + _rejected(engine, plan, part, tally)


def _take(engine: Engine, plan: Plan, part: Part, relation: Relation, tally: Tally) -> int:
    missing = [name for name in plan.required if relation.fields[name].missing]
    if missing:
        (rows,) = engine.one(f"SELECT count(*) FROM {relation.source}")
        tally.bad(plan.kind, BadReason.MISSING_COLUMN, rows, [f"{part.name}: {', '.join(missing)}"])
        return int(rows)
    _parse(engine, plan, relation)
    (rows,) = engine.one("SELECT count(*) FROM part")
    for reason, count, examples in engine.rows(
        f"SELECT reason, count(*), min(example, {EXAMPLES}) FROM part WHERE reason IS NOT NULL GROUP BY ALL"
    ):
        tally.bad(plan.kind, reason, count, [f"{part.name}: {each}" for each in examples or ()])
    engine.run(f"INSERT INTO {plan.kind} SELECT {', '.join(plan.columns)} FROM part WHERE reason IS NULL")
    if plan.kind == "scores":
        engine.run("""INSERT INTO contracts SELECT generation, model, contract, count(*)
            FROM part WHERE reason IS NULL AND NOT deleted GROUP BY ALL""")
    engine.run("DROP TABLE part")
    return int(rows)


def _parse(engine: Engine, plan: Plan, relation: Relation) -> None:
    """A table `part` of a file's rows: their columns, the reason to leave them out, and how they look."""
    values = plan.values(relation.fields)
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in values.items())
    rules = " ".join(f"WHEN {condition} THEN {literal(reason)}" for condition, reason in plan.rules)
    shown = " || ' ' || ".join(f"COALESCE({name}::VARCHAR, '?')" for name in plan.shown)
    engine.run(f"""CREATE OR REPLACE TEMP TABLE part AS
        SELECT * EXCLUDE (line), CASE WHEN reason IS NOT NULL
            THEN COALESCE(left(line, {EXAMPLE_CHARS}), {shown}) END AS example
        FROM (
            SELECT * EXCLUDE (broken), COALESCE(broken, CASE {rules} END) AS reason
            FROM (
                SELECT {chosen}, {relation.line} AS line, {relation.broken} AS broken FROM {relation.source}
            )
        )""")


def _rejected(engine: Engine, plan: Plan, part: Part, tally: Tally) -> int:
    """Count what DuckDB's own reader of text left out of the last file."""
    try:
        found = engine.rows(
            f"""SELECT kind, count(*), min(csv_line, {EXAMPLES}) FROM (
                SELECT line, min(error_type::VARCHAR) AS kind, min(csv_line) AS csv_line
                FROM reject_errors GROUP BY line
            ) GROUP BY kind"""
        )
    except duckdb.CatalogException:
        return 0  # no text file was read yet
    for name in _REJECTS:
        engine.run(f"DROP TABLE IF EXISTS {name}")
    for kind, rows, examples in found:
        reason = _REJECTED_AS.get(kind, BadReason.MALFORMED_ROW)
        tally.bad(plan.kind, reason, rows, [f"{part.name}: {each}" for each in examples or ()])
    return sum(rows for _, rows, _ in found)


def _cut(text: str) -> str:
    printable = "".join(sign if sign.isprintable() else "�" for sign in text)
    return printable if len(printable) <= EXAMPLE_CHARS else printable[: EXAMPLE_CHARS - 1] + "…"
