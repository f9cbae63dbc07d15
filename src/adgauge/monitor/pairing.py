"""Labels beside what two models say of the same content of a product, for the gate.

The baseline's score is the one that was live before the label's window began. The candidate need not have
been: what it was given by a replay today is as good, if only it saw the content that the baseline had seen
then. So its score counts of any version of the product that the baseline found equal to that one, by the
digest of its own canonical input. Its newest such score is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from adgauge.monitor.engine import Engine
from adgauge.monitor.gate import Measured, Scored, measure
from adgauge.monitor.result import ALL, Slice
from adgauge.monitor.slices import CROSS, OTHER, UNKNOWN, Dimension
from adgauge.quality.metrics import Array

_PAIR = """
CREATE OR REPLACE TABLE gate_pairs AS
WITH timely AS (
    SELECT * FROM (
        SELECT l.*, b.flags, b.image_reason, b.score AS baseline, b.digest AS baseline_digest
        FROM ({labels}) l ASOF JOIN ({baseline}) b ON l.id = b.id AND l.begins_ms >= b.at_ms
    ) WHERE baseline IS NOT NULL
),
versions AS (
    SELECT DISTINCT b.id, b.event_ms, b.seq
    FROM ({baseline}) b JOIN timely t ON b.id = t.id AND b.digest = t.baseline_digest
),
theirs AS (
    SELECT c.id, arg_max(c.score, c.at_ms) AS candidate
    FROM ({candidate}) c JOIN versions v USING (id, event_ms, seq)
    WHERE c.score IS NOT NULL GROUP BY c.id
)
SELECT t.*, c.candidate FROM timely t LEFT JOIN theirs c ON t.id = c.id
"""


def pair(engine: Engine, *, labels: str, baseline: str, candidate: str) -> Scored:
    """Make the table `gate_pairs`: the columns of labels, `baseline`, and `candidate` (NULL: it has none).

    All three are queries. Labels are one row a product, with `id`, `label`, `begins_ms` (of its window) and
    what slices need. Scores have `id`, `event_ms`, `seq`, `at_ms`, `score` (NULL: deleted), `digest`, `flags`
    and `image_reason`; those two are the baseline's in the table.
    """
    engine.run(_PAIR.format(labels=labels, baseline=baseline, candidate=candidate))
    labelled, scored = engine.one("SELECT count(*), count(candidate) FROM gate_pairs")
    return Scored(labelled=labelled, by_candidate=scored)


def measured(
    engine: Engine, dimensions: Sequence[Dimension], *, least_rest: int, weighted: bool
) -> Iterator[Measured]:
    """Of all pairs first, then of every slice that has a label, be it that the candidate scored none of it.

    What no value was declared for (`other`, `unknown`) is left out with fewer than `least_rest` labels.
    """
    numbers = "".join(f", ({each.sql})::INTEGER AS d{at}" for at, each in enumerate(dimensions))
    found = engine.arrays(f"SELECT candidate, baseline, label, rating_number{numbers} FROM gate_pairs")
    ours, theirs, labels = (_floats(found[name], np.nan) for name in ("candidate", "baseline", "label"))
    weights = _floats(found["rating_number"], 0.0) if weighted else np.ones_like(labels)
    yield measure(ALL, ours, theirs, labels, weights)
    for at, dimension in enumerate(dimensions):
        for of, members in dimension.members(np.asarray(found[f"d{at}"])):
            if members.size >= least_rest or not _is_rest(of):
                yield measure(of, ours[members], theirs[members], labels[members], weights[members])


def _floats(column: Any, missing: float) -> Array:
    filled: Array = np.ma.filled(np.ma.asarray(column, dtype=np.float64), missing)
    return filled


def _is_rest(of: Slice) -> bool:
    return bool({OTHER, UNKNOWN} & set(of.value.split(CROSS)))
