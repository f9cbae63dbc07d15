"""The leaderboard as text for people and as CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from adgauge.cli.ces import protocol_in_words
from adgauge.contract import ModelContract
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.leaderboard import Cell, Place, Recomputed, Recounted, Standing, matching, standing
from adgauge.quality.metrics import Interval
from adgauge.quality.submission import Placed

WORDS = ("rank", "team")
COMPARED = ("C", *(f"{name} {form}" for name in ("E", "CES") for form in CesForm))
TITLE = "Table 1 of the LoViF 2026 report, and what its own PLCC, P and F give"
LEGEND = """\
published ≠ recomputed: no figures that round to the row's PLCC, P and F give the published cell
published ≈ recomputed: some do, though the printed figures themselves give the second number
C is from P and F, CES from PLCC and E; E printed is Eq. (3), E leaderboard has ln C in the place of C − 1
* is the organizers' baseline, which has no rank"""
RECOUNT_TITLE = "Recounted: our P and F of what the report describes, with the published PLCC"
RECOUNT_LEGEND = """\
F is 2·MAC with attention counted, one forward pass of one item at that many text tokens; published → ours
! is over the budget, C > 1; of teams that are not listed there are figures only"""


@dataclass(frozen=True, slots=True)
class Board:
    """What is shown: Table 1 and whatever was asked for beside it."""

    rows: tuple[Recomputed, ...]
    recounted: tuple[Recounted, ...]
    placed: Placed | None
    contract: ModelContract | None
    warnings: tuple[str, ...]


def as_text(board: Board) -> str:
    """Tables and lines for a terminal."""
    parts = [f"{TITLE}\n\n{_aligned([*_table(board.rows)], {*WORDS, *COMPARED})}\n\n{LEGEND}"]
    if board.recounted:
        table = _aligned([*_recount_table(board.recounted)], {*WORDS})
        parts.append(f"{RECOUNT_TITLE}\n\n{table}\n\n{RECOUNT_LEGEND}")
    if board.placed is not None:
        parts.append("\n".join([*_placed_lines(board.placed), *(f"! {each}" for each in board.warnings)]))
    if board.contract is not None:
        parts.append("\n".join(_model_lines(board.contract)))
    return "\n\n".join(parts)


def as_csv(board: Board, stream: TextIO) -> None:
    """One row a team, then the submission's; the columns are the same whatever was asked for."""
    recounted = {row.published.team: row for row in board.recounted}
    rows = [_csv_row(row, recounted.get(row.published.team)) for row in board.rows]
    table = csv.DictWriter(stream, list(rows[0]), restval="", lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    if board.placed is not None:
        stands = _flat(board.placed.standing)
        known = "" if math.isnan(board.placed.plcc) else board.placed.plcc
        plcc = {"team": board.placed.name, "plcc": known, "source": "submission"}
        table.writerow(plcc | stands)


def _csv_row(row: Recomputed, recounted: Recounted | None) -> dict[str, Any]:
    printed = row.published
    stands = standing(printed.plcc, printed.params_m, printed.flops_g)
    ours = recounted.standing if recounted is not None else None
    return {
        "rank": printed.rank if printed.rank is not None else "*",
        "team": printed.team,
        "source": "published",
        "plcc": printed.plcc,
        **_flat(stands),
        "runtime_s": printed.runtime_s,
        "published_cost": printed.cost,
        "published_efficiency": printed.factor,
        "published_ces": printed.ces,
        "cost_matches": row.cost.matches,
        **{f"efficiency_{form}_matches": row.efficiency[form].matches for form in CesForm},
        **{f"ces_{form}_matches": row.ces[form].matches for form in CesForm},
        "recounted_system": recounted.system if recounted is not None else "",
        "recounted_tokens": recounted.tokens if recounted is not None else "",
        **{f"recounted_{name}": value if ours else "" for name, value in _flat(ours or stands).items()},
    }


def _flat(stands: Standing) -> dict[str, float]:
    return {
        "params_m": stands.params_m,
        "flops_g": stands.flops_g,
        "cost": stands.cost,
        **{f"efficiency_{form}": stands.efficiency[form] for form in CesForm},
        **{f"ces_{form}": stands.ces[form] for form in CesForm},
    }


def _table(rows: tuple[Recomputed, ...]) -> Iterator[Sequence[str]]:
    yield ["rank", "team", "PLCC⁺", "P (M)", "F (G)", "s/item", *COMPARED]
    for row in rows:
        printed = row.published
        figures = (printed.plcc, printed.params_m, printed.flops_g, printed.runtime_s)
        computed = [row.cost, *row.efficiency.values(), *row.ces.values()]
        yield [_rank(printed.rank), printed.team, *(f"{each:.2f}" for each in figures), *map(_cell, computed)]
    counts = matching(rows)
    yield ["", "cells that match", *[""] * 4, *(f"{count}/{len(rows)}" for count in counts.values())]


def _cell(cell: Cell) -> str:
    """The published figure, and the computed one where it is another."""
    published, computed = f"{cell.published:.2f}", f"{cell.computed:.2f}"
    if cell.matches and published == computed:
        return published
    return f"{published} {'≈' if cell.matches else '≠'} {computed}"


def _recount_table(rows: tuple[Recounted, ...]) -> Iterator[Sequence[str]]:
    yield ["rank", "team", "tokens", "P (M)", "F (G)", *COMPARED]
    for row in rows:
        printed, ours = row.published, row.standing
        yield [
            _rank(printed.rank),
            f"{printed.team} ({row.system})",
            str(row.tokens or "–"),
            f"{printed.params_m:.2f} → {ours.params_m:.2f}",
            f"{printed.flops_g:.2f} → {ours.flops_g:.2f}",
            f"{'! ' if ours.cost > 1 else ''}{printed.cost:.2f} → {ours.cost:.2f}",
            *(f"{ours.efficiency[form]:.2f}" for form in CesForm),
            *(f"{ours.ces[form]:.2f}" for form in CesForm),
        ]


def _placed_lines(placed: Placed) -> Iterator[str]:
    stands = placed.standing
    as_many = f", which tell as much as {placed.effective_n:.0f} that count alike"
    weighted = f", weighted by rating_number{as_many}" if placed.weighted else ""
    yield f"{placed.name}: {placed.n} labelled items{weighted}"
    intervals = f"{_interval(placed.fisher)} (Fisher z), {_interval(placed.bootstrap)} (bootstrap)"
    yield f"PLCC {placed.plcc:.4f}  95 % {intervals}"
    yield f"SRCC {placed.srcc:.4f}  MAE {placed.mae:.4f}  RMSE {placed.rmse:.4f}"
    yield f"C    {stands.cost:.4f}  P {stands.params_m:g} M, F {stands.flops_g:g} G, as declared"
    for form in CesForm:
        figures = f"CES  {stands.ces[form]:.4f}  E {stands.efficiency[form]:.4f}"
        yield f"{figures}, {form}: {_place(placed.places[form])}"
    yield "the published rows were measured on the challenge's hidden test set, this one on your labels"


def _place(place: Place) -> str:
    if place.best == place.worst:
        return f"rank {place.rank}"
    return f"rank {place.rank} ({place.best} to {place.worst}, as published PLCC are rounded)"


def _model_lines(contract: ModelContract) -> Iterator[str]:
    stands = standing(1.0, contract.cost.params / 1e6, contract.cost.flops / 1e9, REPORT_BUDGET)
    factors = ", ".join(f"E {form} {stands.efficiency[form]:.4f}" for form in CesForm)
    costs = f"P {stands.params_m:.2f} M, F {stands.flops_g:.2f} G, C {stands.cost:.4f}, {factors}"
    yield f"{contract.name} version {contract.version}: {costs}"
    yield protocol_in_words(contract)


def _interval(interval: Interval) -> str:
    return f"[{interval.low:.4f}, {interval.high:.4f}]"


def _rank(rank: int | None) -> str:
    return "*" if rank is None else str(rank)


def _aligned(rows: Sequence[Sequence[str]], to_the_left: Collection[str]) -> str:
    """Columns of one width each, figures to the right; the first row holds their names."""
    columns = [
        [cell.ljust(width) if column[0] in to_the_left else cell.rjust(width) for cell in column]
        for column in zip(*rows, strict=True)
        for width in [max(map(len, column))]
    ]
    return "\n".join("  ".join(cells).rstrip() for cells in zip(*columns, strict=True))
