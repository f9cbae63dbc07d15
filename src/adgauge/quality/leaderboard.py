"""Table 1 of the LoViF 2026 report: as published, recomputed from its own figures, and recounted by us.

A printed figure with two decimals stands for every number that rounds to it, an interval of ± 0.005. Of what
is recomputed from printed figures the ends are computed as well, and a cell *matches* when the two intervals
meet: when there are figures that round to the printed ones and give the cell. C is taken from P and F, E from
that C, CES from PLCC and that E.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from adgauge.errors import ConfigurationError
from adgauge.quality.ces import REPORT_BUDGET, Budget, CesForm
from adgauge.quality.metrics import Interval

HALF_UNIT = 0.005
RECOUNTED_AS: Mapping[str, str] = {
    "olacnqoddchl": "smolvlm_olacnqoddchl",
    "iamxredz": "lovif_clip",
    "wleach": "smolvlm_wleach",
    "yinloonkhor": "effimini_vlm",
    "ps3336": "pinco",
    "skywalker5165": "pinco",
    "Hope": "latent_query",
}
"""Team → our model of what the report describes. Of the other teams there are figures only."""


@dataclass(frozen=True, slots=True)
class Published:
    """One row as it was printed; `rank` is None for the organizers' baseline, which has none."""

    rank: int | None
    team: str
    ces: float
    plcc: float
    factor: float
    cost: float
    params_m: float
    flops_g: float
    runtime_s: float


@dataclass(frozen=True, slots=True)
class Cell:
    """A printed figure beside the one that is computed for it, and whether they match."""

    published: float
    computed: float
    matches: bool


@dataclass(frozen=True, slots=True)
class Recomputed:
    """What Eq. (2)–(4) give for the PLCC, P and F of a row."""

    published: Published
    cost: Cell
    efficiency: Mapping[CesForm, Cell]
    ces: Mapping[CesForm, Cell]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a system stands: P in millions, F in GFLOPs, and what follows from them and a PLCC."""

    params_m: float
    flops_g: float
    cost: float
    efficiency: Mapping[CesForm, float]
    ces: Mapping[CesForm, float]


@dataclass(frozen=True, slots=True)
class Recounted:
    """A row under one convention: our P and F (2·MAC, attention counted) and the published PLCC."""

    published: Published
    system: str
    tokens: int | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Place:
    """A rank among the ranked rows; `best` and `worst` are what the rounding of their PLCC leaves open."""

    rank: int
    best: int
    worst: int


def published_rows() -> tuple[Published, ...]:
    """The ten rows of Table 1, in its order."""
    lines = (files("adgauge.quality") / "table1.csv").read_text(encoding="utf-8").splitlines()
    return tuple(_published(row) for row in csv.DictReader(lines))


def recomputed_rows(budget: Budget = REPORT_BUDGET) -> tuple[Recomputed, ...]:
    """Each row of Table 1 beside what its own figures give."""
    return tuple(_recomputed(row, budget) for row in published_rows())


def matching(rows: tuple[Recomputed, ...]) -> dict[str, int]:
    """How many cells match, by column: `cost`, and `efficiency` and `ces` in each form."""
    counts = {"cost": sum(row.cost.matches for row in rows)}
    counts |= {f"efficiency_{form}": sum(row.efficiency[form].matches for row in rows) for form in CesForm}
    counts |= {f"ces_{form}": sum(row.ces[form].matches for row in rows) for form in CesForm}
    return counts


def recounted_rows(
    counted: Mapping[str, Mapping[str, Any]], budget: Budget = REPORT_BUDGET
) -> tuple[Recounted, ...]:
    """Each row whose system `counted` holds; it maps names to `params` and `flops`, in ones, as `recount`."""
    rows = ((row, RECOUNTED_AS.get(row.team, "")) for row in published_rows())
    return tuple(_recounted(row, name, counted[name], budget) for row, name in rows if name in counted)


def recount() -> Mapping[str, Mapping[str, Any]]:
    """P and F of every system as `adgauge profile all` counts them; name → its figures.

    Raises ConfigurationError where the package was built without them.
    """
    path = files("adgauge.quality") / "recount.json"
    try:
        systems: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["systems"]
    except FileNotFoundError as exc:
        raise ConfigurationError(f"{path} does not exist; run python tools/recount.py") from exc
    return systems


def standing(plcc: float, params_m: float, flops_g: float, budget: Budget = REPORT_BUDGET) -> Standing:
    """What Eq. (2)–(4) make of a system."""
    cost = budget.cost(params_m, flops_g)
    return Standing(
        params_m=params_m,
        flops_g=flops_g,
        cost=cost,
        efficiency={form: budget.efficiency(cost, form) for form in CesForm},
        ces={form: budget.ces(plcc, cost, form) for form in CesForm},
    )


def place(ces: float, form: CesForm, budget: Budget = REPORT_BUDGET) -> Place:
    """The rank that a CES takes among the rows recomputed in the same form; the baseline is passed over.

    An equal row stays before it: it was there first.
    """
    ranked = [row for row in published_rows() if row.rank is not None]
    intervals = [_ces_interval(row, form, budget) for row in ranked]
    middles = [budget.ces(row.plcc, budget.cost(row.params_m, row.flops_g), form) for row in ranked]
    return Place(
        rank=1 + sum(middle >= ces for middle in middles),
        best=1 + sum(each.low >= ces for each in intervals),
        worst=1 + sum(each.high >= ces for each in intervals),
    )


def _published(row: Mapping[str, str]) -> Published:
    figures = {name: float(text) for name, text in row.items() if name not in ("rank", "team")}
    return Published(rank=int(row["rank"]) if row["rank"] else None, team=row["team"], **figures)


def _recomputed(row: Published, budget: Budget) -> Recomputed:
    cost = budget.cost(row.params_m, row.flops_g)
    costs = _cost_interval(row, budget)
    return Recomputed(
        published=row,
        cost=_cell(row.cost, cost, costs),
        efficiency=_by_form(
            lambda form: _cell(
                row.factor, budget.efficiency(cost, form), _efficiency_interval(costs, form, budget)
            )
        ),
        ces=_by_form(
            lambda form: _cell(row.ces, budget.ces(row.plcc, cost, form), _ces_interval(row, form, budget))
        ),
    )


def _by_form(cell: Callable[[CesForm], Cell]) -> dict[CesForm, Cell]:
    return {form: cell(form) for form in CesForm}


def _recounted(row: Published, name: str, figures: Mapping[str, Any], budget: Budget) -> Recounted:
    counted = standing(row.plcc, figures["params"] / 1e6, figures["flops"] / 1e9, budget)
    return Recounted(row, name, figures.get("tokens"), counted)


def _cell(published: float, computed: float, possible: Interval) -> Cell:
    printed = _rounded_to(published)
    return Cell(published, computed, possible.low <= printed.high and printed.low <= possible.high)


def _rounded_to(printed: float) -> Interval:
    return Interval(printed - HALF_UNIT, printed + HALF_UNIT)


def _cost_interval(row: Published, budget: Budget) -> Interval:
    """C rises with P and with F."""
    params, flops = _rounded_to(row.params_m), _rounded_to(row.flops_g)
    return Interval(budget.cost(params.low, flops.low), budget.cost(params.high, flops.high))


def _efficiency_interval(costs: Interval, form: CesForm, budget: Budget) -> Interval:
    """E falls with C."""
    return Interval(budget.efficiency(costs.high, form), budget.efficiency(costs.low, form))


def _ces_interval(row: Published, form: CesForm, budget: Budget) -> Interval:
    plcc = _rounded_to(row.plcc)
    efficiency = _efficiency_interval(_cost_interval(row, budget), form, budget)
    return Interval(plcc.low * efficiency.low, plcc.high * efficiency.high)
