"""One run of the monitor: sources and rules in, a `Result` out."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from adgauge.contract import ModelContract
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.monitor.alarms import judge, slice_figures, verdict_of
from adgauge.monitor.changes import drift_of
from adgauge.monitor.engine import Engine
from adgauge.monitor.figures import (
    Method,
    calibration_of,
    measure_all,
    previous_measured,
    scatter_of,
    training_figures,
)
from adgauge.monitor.joining import join, labelled
from adgauge.monitor.plans import ids_plan, items_plan, labels_plan, scores_plan
from adgauge.monitor.reading import Tally, drop_repeated_labels, drop_repeated_scores, read_into
from adgauge.monitor.residuals import worst_of
from adgauge.monitor.result import JudgedModel, Result, Rules, Window
from adgauge.monitor.settings import RunRules
from adgauge.monitor.slices import Declared
from adgauge.monitor.sources import Part, ReadTopic, parts_of
from adgauge.quality.ces import REPORT_BUDGET, require_units

_JUDGED, _REFERENCE = 0, 1


@dataclass(frozen=True, slots=True)
class Sources:
    """Where everything lies: `sources.parts_of` says how. Only labels and scores are needed.

    `items` are catalog lines with fields to slice by, `rejected` and `training` are ids of products.
    """

    labels: str
    scores: str
    items: str | None = None
    rejected: str | None = None
    training: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is judged: labels observed in the `window_ms` before `ends_ms`, against the same time before.

    `generation` None: the newest in earnest, which has at least half as many scores as the one with the most;
    a shadow or a stray line judges nobody. `previous` None: the one before it. `observed_ms` is when
    labels without a time were observed.
    """

    ends_ms: int
    window_ms: int
    generation: int | None = None
    previous: int | None = None
    observed_ms: int | None = None
    reference: Window | None = None

    @property
    def window(self) -> Window:
        """Of the labels that are judged."""
        return Window(begins_ms=max(0, self.ends_ms - self.window_ms), ends_ms=self.ends_ms)

    @property
    def before(self) -> Window:
        """The reference window."""
        begins = self.window.begins_ms
        return self.reference or Window(begins_ms=max(0, begins - self.window_ms), ends_ms=begins)


def run_once(
    engine: Engine,
    sources: Sources,
    question: Question,
    *,
    declared: Declared,
    rules: RunRules,
    contract: ModelContract | None,
    now_ms: int,
    threads: int = 1,
    read_topic: ReadTopic | None = None,
) -> Result:
    """Read, join, measure, compare and conclude.

    Bad rows are counted, never raised. Raises ConfigurationError for sources that are not there or hold no
    score, ContractMismatch for a contract that is not the one that scored, and what `read_topic` raises.
    """
    begun = time.monotonic()
    tally = Tally()
    parts = _read(engine, sources, question, tally, now_ms, read_topic)
    model = _judged_model(engine, question, contract)
    dimensions = declared.dimensions()
    join(
        engine,
        window=question.window,
        reference=question.before,
        window_ms=question.window_ms,
        generation=model.generation,
        previous=model.previous_generation,
    )
    drift = drift_of(
        engine,
        dimensions,
        window=question.window,
        reference=question.before,
        generation=model.generation,
        rules=rules,
    )
    for table in ("labels", "scores", "items"):
        engine.run(f"DROP TABLE {table}")  # the arrays that come next need the room
    now, before = (labelled(engine, period, dimensions) for period in (_JUDGED, _REFERENCE))
    method = Method(
        minimum_pairs=rules.minimum_pairs,
        confidence=rules.confidence,
        tolerated_drop=rules.tolerated_drop,
        cost=model.cost,
        weighted=rules.weighted_by_rating_number,
    )
    measured = measure_all(now, before, dimensions, method, threads)
    judgement = judge(measured, drift, rules)
    overall, *slices = judgement.slices
    if model.previous_generation is not None:
        theirs = previous_measured(now, model.previous_generation, method)
        slices += [] if theirs is None else [slice_figures(theirs)]
    return Result(
        run_at_ms=now_ms,
        took_s=time.monotonic() - begun,
        window=question.window,
        reference=question.before,
        model=model,
        rules=_rules(rules),
        sources=tuple(tally.sources),
        bad_rows=tally.bad_rows(),
        verdict=verdict_of(overall, judgement.alarms, rules),
        alarms=judgement.alarms,
        overall=overall,
        slices=tuple(slices),
        training=training_figures(now, method),
        calibration=calibration_of(now, method),
        scatter=scatter_of(now, np.random.default_rng(now_ms)),
        worst=worst_of(engine, parts),
        drift=drift,
    )


def _read(
    engine: Engine,
    sources: Sources,
    question: Question,
    tally: Tally,
    now_ms: int,
    read_topic: ReadTopic | None,
) -> tuple[Part, ...]:
    """Make all tables; the files that describe products."""

    def parts(location: str | None) -> tuple[Part, ...]:
        return () if location is None else parts_of(engine, location, read_topic)

    labels, items = parts(sources.labels), parts(sources.items)
    read_into(engine, labels_plan(now_ms, question.observed_ms), sources.labels, labels, tally)
    drop_repeated_labels(engine, tally)
    read_into(engine, scores_plan(now_ms), sources.scores, parts(sources.scores), tally)
    drop_repeated_scores(engine, tally)
    read_into(engine, items_plan(), sources.items, items, tally)
    engine.run("CREATE OR REPLACE TABLE items AS SELECT DISTINCT ON (id) * FROM items")
    for plan, location in (
        (ids_plan("training"), sources.training),
        (ids_plan("rejected"), sources.rejected),
    ):
        read_into(engine, plan, location, parts(location), tally)
        engine.run(f"CREATE OR REPLACE TABLE {plan.kind} AS SELECT DISTINCT id FROM {plan.kind}")
    return (*labels, *items)


def _judged_model(engine: Engine, question: Question, contract: ModelContract | None) -> JudgedModel:
    rows = dict(engine.rows("SELECT generation, sum(rows) FROM contracts GROUP BY 1 ORDER BY 1"))
    generations, most = list(rows), max(rows.values(), default=0)
    in_earnest = max((each for each, count in rows.items() if 2 * count >= most), default=None)
    generation = question.generation if question.generation is not None else in_earnest
    if generation is None:
        raise ConfigurationError("the scores hold no score: is it the score log (catalog.scores)?")
    earlier = [each for each in generations if each < generation]
    name, digest = _scored_by(engine, generation)
    cost = _cost(contract, digest, generation) if contract is not None else {}
    return JudgedModel(
        generation=generation,
        previous_generation=question.previous
        if question.previous is not None
        else max(earlier, default=None),
        name=name,
        contract=digest,
        **cost,
    )


def _scored_by(engine: Engine, generation: int) -> tuple[str | None, str | None]:
    """Model and contract of most of a generation's scores."""
    rows = engine.rows(
        """SELECT model, contract FROM contracts WHERE generation = $1
        GROUP BY ALL ORDER BY sum(rows) DESC, model, contract LIMIT 1""",
        [generation],
    )
    return rows[0] if rows else (None, None)


def _cost(contract: ModelContract, digest: str | None, generation: int) -> dict[str, float]:
    if digest is not None and digest != contract.digest():
        raise ContractMismatch(
            f"generation {generation} was scored under contract {digest[:12]}…, not by {contract.name}"
            f" version {contract.version} ({contract.digest()[:12]}…): name the model that scored it"
        )
    params_m, flops_g = contract.cost.params / 1e6, contract.cost.flops / 1e9
    require_units(params_m, flops_g, f"{contract.name}: ")
    return {"params_m": params_m, "flops_g": flops_g, "cost": REPORT_BUDGET.cost(params_m, flops_g)}


def _rules(rules: RunRules) -> Rules:
    return Rules.model_validate(rules.model_dump(include=set(Rules.model_fields)))
