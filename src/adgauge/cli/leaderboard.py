"""`adgauge leaderboard`: Table 1 published, recomputed and recounted, and a submission's place in it."""

from __future__ import annotations

import json
import math
import sys
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from adgauge.cli.board import Board, as_csv, as_text
from adgauge.cli.ces import model_as_json
from adgauge.cli.rows import replacing, writing
from adgauge.cli.terminal import printable
from adgauge.contract import ModelContract, load_contract
from adgauge.errors import ConfigurationError
from adgauge.quality.ces import REPORT_BUDGET
from adgauge.quality.leaderboard import matching, recomputed_rows, recount, recounted_rows
from adgauge.quality.metrics import MetricWarning
from adgauge.quality.plot import FORMATS, draw
from adgauge.quality.submission import Placed, place_submission, read_labels, read_submission

SEED = 0
"""Of the bootstrap: the same files give the same interval."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What shall stand beside Table 1."""

    recount: bool
    submission: Path | None
    labels: Path | None
    name: str | None
    by_rating_number: bool
    model: Path | None


def show_leaderboard(wanted: Wanted, *, plot: Path | None, form: Literal["text", "csv", "json"]) -> int:
    """Print it, and draw it to `plot`; raises ConfigurationError for what is wrong with a file."""
    if plot is not None and plot.suffix.lower() not in FORMATS:
        raise ConfigurationError(f"cannot draw {plot}: its name must end in {', '.join(FORMATS)}")
    board = _board(wanted)
    if plot is not None:
        with replacing(plot) as temporary, writing(plot):
            draw(temporary, plot.suffix.lower(), board.rows, board.recounted, board.placed)
    if form == "json":
        print(json.dumps(_without_nan(_as_json(board)), ensure_ascii=False))
    elif form == "csv":
        as_csv(board, sys.stdout)
    else:
        print(as_text(board))
    for warning in board.warnings if form != "text" else ():
        print(f"adgauge: {warning}", file=sys.stderr)
    return 0


def _board(wanted: Wanted) -> Board:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", MetricWarning)
        placed = _placed(wanted)
    return Board(
        rows=recomputed_rows(),
        recounted=recounted_rows(recount()) if wanted.recount else (),
        placed=placed,
        contract=load_contract(wanted.model) if wanted.model is not None else None,
        # Every metric says the same of the same pairs.
        warnings=tuple(dict.fromkeys(str(each.message) for each in caught)),
    )


def _placed(wanted: Wanted) -> Placed | None:
    if wanted.submission is None or wanted.labels is None:
        return None
    return place_submission(
        read_submission(wanted.submission),
        read_labels(wanted.labels),
        np.random.default_rng(SEED),
        name=printable(wanted.name or wanted.submission.stem),
        by_rating_number=wanted.by_rating_number,
    )


def _as_json(board: Board) -> dict[str, Any]:
    return {
        "budget": asdict(REPORT_BUDGET),
        "rows": [asdict(row) for row in board.rows],
        "matching": {**matching(board.rows), "of": len(board.rows)},
        "recounted": [_recounted_as_json(asdict(row)) for row in board.recounted],
        "submission": asdict(board.placed) if board.placed is not None else None,
        "model": None if board.contract is None else _model_as_json(board.contract),
        "warnings": list(board.warnings),
    }


def _recounted_as_json(row: dict[str, Any]) -> dict[str, Any]:
    published, stands = row.pop("published"), row.pop("standing")
    return {"rank": published["rank"], "team": published["team"], **row, "plcc": published["plcc"], **stands}


def _model_as_json(contract: ModelContract) -> dict[str, Any]:
    cost = REPORT_BUDGET.cost(contract.cost.params / 1e6, contract.cost.flops / 1e9)
    costs = {"params_m": contract.cost.params / 1e6, "flops_g": contract.cost.flops / 1e9, "cost": cost}
    return model_as_json(contract) | costs


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: what is unknown is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _without_nan(each) for key, each in value.items()}
    return [_without_nan(each) for each in value] if isinstance(value, (list, tuple)) else value
