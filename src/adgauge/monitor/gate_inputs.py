"""What the gate is given: two models' scores, each of one contract, and the newest label of each product."""

from __future__ import annotations

from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import Engine
from adgauge.monitor.gate_result import Side
from adgauge.monitor.plans import ITEM_COLUMNS, ids_plan, items_plan, labels_plan, scores_plan
from adgauge.monitor.reading import Tally, drop_repeated_labels, drop_repeated_scores, read_into
from adgauge.monitor.settings import MonitorConfig
from adgauge.monitor.slices import Dimension
from adgauge.monitor.sources import TOPIC, Part, ReadTopic, parts_of

DAY_MS = 86_400_000

_CONTENT = "CASE WHEN digest IS NULL OR digest = hash(NULL::VARCHAR) THEN hash(event_ms, seq) ELSE digest END"
"""Of a line that does not say what the model saw, each version is content of its own."""

# Of a product trained on nothing is concluded; of each other the newest label counts, once.
_LABELS = """
CREATE OR REPLACE TABLE gate_labels AS
SELECT l.id, l.rating AS label, l.rating_number, {fields},
    COALESCE(l.before_ms, l.observed_ms - {window_ms}) AS begins_ms
FROM (
    SELECT *, lag(observed_ms) OVER product AS before_ms, lead(observed_ms) OVER product AS after_ms
    FROM labels WINDOW product AS (PARTITION BY id ORDER BY observed_ms)
) l
LEFT JOIN items i ON l.id = i.id
ANTI JOIN training ON l.id = training.id
WHERE l.after_ms IS NULL
"""


def gate_dimensions(config: MonitorConfig) -> list[Dimension]:
    """The dimensions that the gate judges; raises ConfigurationError for one that is not declared."""
    declared = {each.name: each for each in config.slices.dimensions()}
    wanted, is_asked_for = config.gate.dimensions, "dimensions" in config.gate.model_fields_set
    if is_asked_for and (unknown := [name for name in wanted if name not in declared]):
        raise ConfigurationError(
            f"gate.dimensions: {unknown[0]} is not declared in [slices]; declared are {', '.join(declared)}"
        )
    return [declared[name] for name in wanted if name in declared]


class Sides:
    """Reads scores of both; the topic, once. `topic` holds the score log, read by `read_topic`."""

    def __init__(
        self, engine: Engine, topic: str, read_topic: ReadTopic | None, tally: Tally, now_ms: int
    ) -> None:
        self._engine = engine
        self._topic = f"{TOPIC}{topic}"
        self._read_topic = read_topic
        self._tally = tally
        self._plan = scores_plan(now_ms)
        self._held: str | None = None

    def read(self, wanted: str, table: str) -> Side:
        """Make `table` of a generation of the topic, or of a file of its lines that holds one contract.

        Raises ConfigurationError where there are no such scores, or of more than one contract.
        """
        generation = int(wanted) if wanted.isdecimal() else None
        self._hold(wanted if generation is None else self._topic)
        side = self._side(wanted, generation)
        self._engine.run(
            f"CREATE OR REPLACE TABLE {table} AS SELECT * REPLACE ({_CONTENT} AS digest) FROM scores"
            " WHERE generation = $1",
            [side.generation],
        )
        return side

    def _hold(self, location: str) -> None:
        if self._held == location:
            return
        parts: tuple[Part, ...] = parts_of(self._engine, location, self._read_topic)
        read_into(self._engine, self._plan, location, parts, self._tally)
        drop_repeated_scores(self._engine, self._tally)
        self._held = location

    def _side(self, wanted: str, generation: int | None) -> Side:
        found = self._engine.rows(
            "SELECT DISTINCT generation, model, contract FROM contracts"
            " WHERE $1 IS NULL OR generation = $1 ORDER BY ALL LIMIT 3",
            [generation],
        )
        where = wanted if generation is None else f"{self._topic} of generation {generation}"
        if len(found) != 1:
            listed = ", ".join(f"generation {number} ({model})" for number, model, _ in found) or "none"
            raise ConfigurationError(
                f"there must be scores of one generation and one contract in {where}; there are: {listed}"
            )
        ((number, model, contract),) = found
        if model is None or contract is None:
            raise ConfigurationError(f"the scores in {where} do not name their model and its contract")
        return Side(source=where, generation=number, model=model, contract=contract)


def read_gate_labels(
    engine: Engine,
    labels: str,
    tally: Tally,
    *,
    items: str | None,
    training: str | None,
    now_ms: int,
    window_days: float,
) -> None:
    """Make `gate_labels`: the newest label of each product that is not among the ids in `training`.

    What a label does not say of its product is taken from `items`, lines of a catalog.
    """
    for plan, location in (
        (labels_plan(now_ms, None), labels),
        (items_plan(), items),
        (ids_plan("training"), training),
    ):
        parts = parts_of(engine, location) if location is not None else ()
        read_into(engine, plan, location, parts, tally)
    drop_repeated_labels(engine, tally)
    for table in ("items", "training"):
        engine.run(f"CREATE OR REPLACE TABLE {table} AS SELECT DISTINCT ON (id) * FROM {table}")
    fields = ", ".join(f"COALESCE(l.{name}, i.{name}) AS {name}" for name in ITEM_COLUMNS)
    engine.run(_LABELS.format(fields=fields, window_ms=round(window_days * DAY_MS)))
