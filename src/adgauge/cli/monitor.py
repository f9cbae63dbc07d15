"""The arguments of `adgauge monitor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, moment, natural, positive
from adgauge.cli.extras import needing

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

_WHAT = """Compares scores with the ratings that came after them: PLCC, SRCC, MAE, bias and CES of all
products and of each declared slice, each with an interval, against the window and the generation before; and
says what changed in scores and pictures without labels. A LOCATION is a file, a folder or a pattern of
.jsonl, .csv (.gz, .zst too) or .parquet, s3://… and the like, or kafka:TOPIC. What is not given comes from
ADGAUGE_MONITOR_* variables."""


def add_monitor(commands: Commands) -> None:
    """`adgauge monitor --once`."""
    command = command_of(
        commands,
        "monitor",
        "say whether scores still foretell ratings, on labelled slices",
        "adgauge monitor --once --labels labels.parquet --json",
        "adgauge monitor --once --labels 'labels/*.jsonl' --scores scores.jsonl \\\n"
        "    --model model_repository/effimini_lite0/1 --config monitor.toml -o result.json",
    )
    command.description = _WHAT
    command.add_argument(
        "--once", action="store_true", required=True, help="one run; `services.monitor` runs on a schedule"
    )
    command.add_argument(
        "--labels",
        metavar="LOCATION",
        help="parent_asin, average_rating, rating_number, observed_at, and fields to slice by",
    )
    command.add_argument(
        "--scores", metavar="LOCATION", help="lines of the score log (default: kafka:ADGAUGE_SCORES_TOPIC)"
    )
    command.add_argument("--items", metavar="LOCATION", help="catalog lines: fields to slice by")
    command.add_argument(
        "--rejected", metavar="LOCATION", help="kafka:TOPIC of dead letters, or parent_asin of them"
    )
    command.add_argument(
        "--training", metavar="LOCATION", help="parent_asin of what the model was trained on"
    )
    command.add_argument(
        "--config", type=Path, metavar="TOML", help="slices in its table [slices], rules in [rules]"
    )
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of the version that scored: P and F, for CES"
    )
    command.add_argument(
        "--generation", type=natural, metavar="N", help="judged (default: the newest in the scores)"
    )
    command.add_argument(
        "--previous", type=natural, metavar="N", help="compared with (default: the one before)"
    )
    command.add_argument("--window-days", type=positive, metavar="DAYS", help="of labels (default: 28)")
    command.add_argument("--until", type=moment, metavar="TIME", help="labels observed before (default: now)")
    command.add_argument("--observed-at", type=moment, metavar="TIME", help="of labels that do not say")
    command.add_argument("-o", "--output", type=Path, metavar="FILE", help="the whole result as JSON")
    add_json(command)
    command.set_defaults(run=_monitor)


def _monitor(arguments: argparse.Namespace) -> int:
    with needing("monitor"):
        from adgauge.cli.monitor_run import Wanted, monitor_once
    return monitor_once(
        Wanted(
            labels=arguments.labels,
            scores=arguments.scores,
            items=arguments.items,
            rejected=arguments.rejected,
            training=arguments.training,
            config=arguments.config,
            model=arguments.model,
            generation=arguments.generation,
            previous=arguments.previous,
            window_days=arguments.window_days,
            until_ms=arguments.until,
            observed_ms=arguments.observed_at,
        ),
        output=arguments.output,
        as_json=arguments.json,
    )
