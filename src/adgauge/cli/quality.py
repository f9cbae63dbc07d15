"""The arguments of `adgauge ces` and `adgauge leaderboard`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, positive

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

BOTH = "both"
_BUDGET: Mapping[str, tuple[Callable[[str], float], str, str]] = {
    "target_params_m": (positive, "MILLIONS", "P_tgt of Eq. (2)"),
    "target_flops_g": (positive, "GFLOPS", "F_tgt of Eq. (2)"),
    "weight": (float, "W", "w of Eq. (2), what parameters weigh, in [0, 1]"),
    "alpha": (positive, "A", "α of E, sensitivity of the bonus"),
    "beta": (positive, "B", "β of E, sensitivity of the penalty"),
    "gamma": (float, "G", "γ of E, the largest bonus"),
}


def add_ces(commands: Commands) -> None:
    """`adgauge ces`."""
    command = command_of(
        commands,
        "ces",
        "compute cost C, efficiency E and score CES of the LoViF 2026 report",
        "adgauge ces --plcc 0.36 --params-m 27.7 --flops-g 6.8",
        "adgauge ces --plcc 0.36 --model model_repository/effimini_lite0/1 --form printed --json",
    )
    command.add_argument("--plcc", type=_correlation, required=True, metavar="R", help="PLCC, in [-1, 1]")
    command.add_argument("--params-m", type=positive, metavar="P", help="parameters, in millions")
    command.add_argument("--flops-g", type=positive, metavar="F", help="GFLOPs for one item, 2·MAC")
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of a model: P and F of its contract"
    )
    command.add_argument(
        "--form",
        choices=["printed", "leaderboard", BOTH],
        default=BOTH,
        help="E as in Eq. (3), or as in Table 1 (default: both)",
    )
    metric = command.add_argument_group("parameters of the metric, the report's by default")
    for name, (kind, metavar, what) in _BUDGET.items():
        metric.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=what)
    add_json(command)
    command.set_defaults(run=partial(_ces, command))


def add_leaderboard(commands: Commands) -> None:
    """`adgauge leaderboard`."""
    command = command_of(
        commands,
        "leaderboard",
        "show Table 1 of the LoViF 2026 report beside what its own figures give, and a submission in it",
        "adgauge leaderboard",
        "adgauge leaderboard --recount --plot leaderboard.png",
        "adgauge leaderboard --submission submission.csv --labels labels.csv --name ours --json",
    )
    command.add_argument(
        "--recount", action="store_true", help="also with our count of P and F, in one convention"
    )
    command.add_argument(
        "--plot",
        type=Path,
        metavar="FILE",
        help="draw PLCC against cost, as .png, .svg or .pdf (extra `plot`)",
    )
    command.add_argument("--submission", type=Path, metavar="FILE", help="CSV item_id,score,params,flops")
    command.add_argument(
        "--labels", type=Path, metavar="FILE", help="its items' average_rating, .csv or .jsonl, .gz too"
    )
    command.add_argument("--name", help="of the submission (default: its file's name)")
    command.add_argument(
        "--by-rating-number", action="store_true", help="weigh each item by its rating_number"
    )
    command.add_argument(
        "--model", type=Path, metavar="DIR", help="folder of a model: its cost, and if it keeps the protocol"
    )
    formats = command.add_mutually_exclusive_group()
    formats.add_argument("--csv", action="store_true", help="print CSV")
    formats.add_argument("--json", action="store_true", help="print JSON for programs")
    command.set_defaults(run=partial(_leaderboard, command))


def _correlation(text: str) -> float:
    number = float(text)
    if not -1 <= number <= 1:
        raise argparse.ArgumentTypeError("must lie in [-1, 1]")
    return number


def _ces(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    given = (arguments.params_m is not None, arguments.flops_g is not None)
    if any(given) == (arguments.model is not None) or any(given) != all(given):
        command.error("either --params-m and --flops-g are needed, or --model")
    from adgauge.cli.ces import print_ces
    from adgauge.quality.ces import Budget, CesForm

    changed = {field.name: getattr(arguments, field.name) for field in fields(Budget)}
    return print_ces(
        arguments.plcc,
        params_m=arguments.params_m,
        flops_g=arguments.flops_g,
        model=arguments.model,
        forms=tuple(form for form in CesForm if arguments.form in (form, BOTH)),
        budget=Budget(**{name: value for name, value in changed.items() if value is not None}),
        as_json=arguments.json,
    )


def _leaderboard(command: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    if (arguments.submission is None) != (arguments.labels is None):
        command.error("--submission and --labels need each other")
    if arguments.submission is None and (arguments.name is not None or arguments.by_rating_number):
        command.error("--name and --by-rating-number are of a --submission")
    if arguments.csv and arguments.model is not None:
        command.error("--csv holds the table alone; --model goes with text and --json")
    from adgauge.cli.leaderboard import Wanted, show_leaderboard

    return show_leaderboard(
        Wanted(
            recount=arguments.recount,
            submission=arguments.submission,
            labels=arguments.labels,
            name=arguments.name,
            by_rating_number=arguments.by_rating_number,
            model=arguments.model,
        ),
        plot=arguments.plot,
        form="csv" if arguments.csv else "json" if arguments.json else "text",
    )
