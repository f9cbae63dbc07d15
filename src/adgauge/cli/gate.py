"""The arguments of `adgauge gate`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of
from adgauge.cli.extras import needing

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

_WHAT = """\
Say whether a candidate's scores may replace the baseline's: promote, hold or reject, with reasons.

Both are compared on the same labelled items. The candidate is promoted where its PLCC is shown to be
no worse, within a margin, over all items and on every declared slice, and so is its CES; rejected
where it is worse on any of them; held where the labels do not say enough. The exit code is 0 for
promote and 1 for hold and reject."""


def add_gate(commands: Commands) -> None:
    """`adgauge gate --candidate GEN|FILE --baseline GEN|FILE --labels FILE`."""
    command = command_of(
        commands,
        "gate",
        "say whether a candidate's scores may replace the baseline's",
        "adgauge gate --candidate 2 --baseline 1 --labels labels.parquet --config monitor.toml \\\n"
        "    --candidate-model model_repository/ours/2 --baseline-model model_repository/ours/1 -o gate.json",
        "adgauge gate --candidate new.jsonl --baseline old.jsonl --labels labels.jsonl --json",
    )
    command.description = _WHAT
    for name in ("candidate", "baseline"):
        command.add_argument(
            f"--{name}",
            required=True,
            metavar="GEN|FILE",
            help="number of a generation, whose scores are read from ADGAUGE_SCORES_TOPIC, or a file of"
            " lines of that topic",
        )
        command.add_argument(
            f"--{name}-model",
            type=Path,
            metavar="DIR",
            help="folder of the version that scored: P and F of its contract, for CES",
        )
    command.add_argument(
        "--labels",
        required=True,
        metavar="FILE",
        help="parent_asin, average_rating, rating_number, observed_at and fields to slice by; .jsonl, .csv or"
        " .parquet",
    )
    command.add_argument(
        "--training",
        metavar="FILE",
        help="parent_asin of products that either model was trained on: their labels decide nothing",
    )
    command.add_argument("--config", type=Path, metavar="TOML", help="with the tables [slices] and [gate]")
    command.add_argument(
        "--parity", type=Path, metavar="FILE", help="what `adgauge parity --json` printed of the candidate"
    )
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="the result as JSON")
    add_json(command)
    command.set_defaults(run=_gate)


def _gate(arguments: argparse.Namespace) -> int:
    with needing("monitor"):
        from adgauge.cli.gate_run import run_gate
    return run_gate(
        candidate=arguments.candidate,
        baseline=arguments.baseline,
        candidate_model=arguments.candidate_model,
        baseline_model=arguments.baseline_model,
        labels=arguments.labels,
        training=arguments.training,
        config=arguments.config,
        parity=arguments.parity,
        output=arguments.output,
        as_json=arguments.json,
    )
