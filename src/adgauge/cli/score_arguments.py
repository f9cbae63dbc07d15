"""The arguments of `adgauge scores`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, count

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands


def add_scores(commands: Commands) -> None:
    """`adgauge scores get | generations | promote | rollback`."""
    scores = command_of(
        commands, "scores", "read stored scores, and say which are live", "adgauge scores get B07XJ8C8F5"
    )
    actions = scores.add_subparsers(metavar="ACTION", required=True)
    get = command_of(
        actions, "get", "print the scores of products", "adgauge scores get B07XJ8C8F5 B000FH8R9A --json"
    )
    get.add_argument("ids", metavar="ID", nargs="+", help="parent_asin of a product")
    add_json(get)
    get.set_defaults(run=_get)
    generations = command_of(
        actions,
        "generations",
        "print every generation, which one is live, and how that came",
        "adgauge scores generations",
    )
    add_json(generations)
    generations.set_defaults(run=_generations)
    _add_promote(actions)
    rollback = command_of(
        actions,
        "rollback",
        "make the generation live that was so before; again, the one before that",
        "adgauge scores rollback",
    )
    add_json(rollback)
    rollback.set_defaults(run=_rollback)


def _add_promote(actions: Commands) -> None:
    promote = command_of(
        actions,
        "promote",
        "make a generation live, as far as `adgauge gate` said so of it and of what is live now",
        "adgauge scores promote 2 --gate gate.json",
        "adgauge scores promote 2 --force",
    )
    promote.add_argument("generation", type=count, metavar="GENERATION", help="its number")
    promote.add_argument(
        "--gate", type=Path, metavar="FILE", help="what `adgauge gate -o FILE` wrote, in the last 24 hours"
    )
    promote.add_argument(
        "--force", action="store_true", help="also when that is missing; what is missing is said aloud"
    )
    add_json(promote)
    promote.set_defaults(run=_promote)


def _get(arguments: argparse.Namespace) -> int:
    from adgauge.cli.scores import print_scores

    return print_scores(arguments.ids, as_json=arguments.json)


def _generations(arguments: argparse.Namespace) -> int:
    from adgauge.cli.promotion import list_generations

    return list_generations(as_json=arguments.json)


def _promote(arguments: argparse.Namespace) -> int:
    from adgauge.cli.promotion import promote_generation

    return promote_generation(
        arguments.generation, gate=arguments.gate, force=arguments.force, as_json=arguments.json
    )


def _rollback(arguments: argparse.Namespace) -> int:
    from adgauge.cli.promotion import roll_back

    return roll_back(as_json=arguments.json)
