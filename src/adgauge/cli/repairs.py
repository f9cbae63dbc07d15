"""The arguments of what repairs: `adgauge dlq`, `adgauge reconcile` and `adgauge rescore`."""

from __future__ import annotations

import argparse
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, count, moment, positive
from adgauge.errors import RejectReason

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands
    from adgauge.cli.dlq import Selection
    from adgauge.pipeline.rescore import Where


def add_dlq(commands: Commands) -> None:
    """`adgauge dlq list | show | replay`."""
    dlq = command_of(commands, "dlq", "read and replay dead letters", "adgauge dlq list --since 2h")
    actions = dlq.add_subparsers(metavar="ACTION", required=True)
    listing = command_of(
        actions,
        "list",
        "print a line for each dead letter, and how many there are by reason",
        "adgauge dlq list --since 2h --reason not_json",
        "adgauge dlq list --since 2026-11-24T10:00 --until 2026-11-24T11:00 --json",
    )
    _add_selection(listing)
    listing.set_defaults(run=_list)
    show = command_of(
        actions,
        "show",
        "print everything of one rejected record: reason, headers, key and value",
        "adgauge dlq show catalog.products/2/4711",
    )
    show.add_argument(
        "position", metavar="TOPIC/PARTITION/OFFSET", help="of the rejected record, or of its letter"
    )
    add_json(show)
    show.set_defaults(run=_show)
    _add_replay(actions)


def _add_replay(actions: Commands) -> None:
    replay = command_of(
        actions,
        "replay",
        "send rejected records to the input topic again, as they were and at their event time",
        "adgauge dlq replay --reason model_error --since 1d --dry-run",
        "adgauge dlq replay --reason model_error --since 1d --rate 100",
    )
    _add_selection(replay)
    replay.add_argument("--dry-run", action="store_true", help="print what would be sent, and send nothing")
    replay.add_argument("--rate", type=positive, metavar="N", help="at most N records a second")
    replay.add_argument(
        "--max-replays",
        type=count,
        default=1,
        metavar="N",
        help="a record that was rejected after N replays is refused (default: 1)",
    )
    replay.set_defaults(run=_replay)


def _add_selection(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--reason", action="append", choices=[*RejectReason], help="of these reasons only; may be repeated"
    )
    command.add_argument(
        "--stage", action="append", metavar="STAGE", help="of these stages only; may be repeated"
    )
    command.add_argument(
        "--since", type=moment, metavar="TIME", help="written since: 2h, or 2026-11-24T10:00 (UTC)"
    )
    command.add_argument("--until", type=moment, metavar="TIME", help="written before")
    add_json(command)


def add_reconcile(commands: Commands) -> None:
    """`adgauge reconcile`."""
    command = command_of(
        commands,
        "reconcile",
        "score again, from the input topic, what Redis does not hold",
        "adgauge reconcile --dry-run",
        "adgauge reconcile --since 2h --rate 200",
    )
    command.add_argument("--dry-run", action="store_true", help="count what is missing, and repair nothing")
    command.add_argument(
        "--since", type=moment, metavar="TIME", help="records since: 2h, or 2026-11-24T10:00 (UTC)"
    )
    command.add_argument("--rate", type=positive, metavar="N", help="at most N products a second")
    add_json(command)
    command.set_defaults(run=_reconcile)


def add_rescore(commands: Commands) -> None:
    """`adgauge rescore`."""
    command = command_of(
        commands,
        "rescore",
        "score again, from the input topic, what the score log says something of",
        "adgauge rescore --where reason=passing --dry-run",
        "adgauge rescore --where reason=server_error --where reason=timeout --since 2h --rate 200",
        "adgauge rescore --where flag=no_image",
    )
    command.add_argument(
        "--where",
        action="append",
        required=True,
        type=_condition,
        metavar="KEY=VALUE",
        help="reason=REASON of a missing picture (`passing` and `lasting` stand for many) or flag=FLAG of a"
        " score; of one key repeated any may hold, of different keys all must",
    )
    command.add_argument(
        "--since", type=moment, metavar="TIME", help="scored since: 2h, or 2026-11-24T10:00 (UTC)"
    )
    command.add_argument("--dry-run", action="store_true", help="count what is meant, and score nothing")
    command.add_argument("--rate", type=positive, metavar="N", help="at most N products a second")
    add_json(command)
    command.set_defaults(run=_rescore)


def _condition(text: str) -> Where:
    from adgauge.pipeline.rescore import parse_where

    try:
        return parse_where(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _selection(arguments: argparse.Namespace) -> Selection:
    from adgauge.cli.dlq import Selection

    return Selection(
        reasons=frozenset(arguments.reason or ()),
        stages=frozenset(arguments.stage or ()),
        since_ms=arguments.since,
        until_ms=arguments.until,
    )


def _list(arguments: argparse.Namespace) -> int:
    from adgauge.cli.dlq import list_letters

    return list_letters(_selection(arguments), as_json=arguments.json)


def _show(arguments: argparse.Namespace) -> int:
    from adgauge.cli.dlq import show_letter

    return show_letter(arguments.position, as_json=arguments.json)


def _replay(arguments: argparse.Namespace) -> int:
    from adgauge.cli.replay import replay_letters

    return replay_letters(
        _selection(arguments),
        dry_run=arguments.dry_run,
        rate=arguments.rate,
        max_replays=arguments.max_replays,
        as_json=arguments.json,
    )


def _reconcile(arguments: argparse.Namespace) -> int:
    from adgauge.cli.reconcile import reconcile

    return reconcile(
        dry_run=arguments.dry_run, since_ms=arguments.since, rate=arguments.rate, as_json=arguments.json
    )


def _rescore(arguments: argparse.Namespace) -> int:
    from adgauge.cli.rescore import rescore

    return rescore(
        reduce(or_, arguments.where),
        dry_run=arguments.dry_run,
        since_ms=arguments.since,
        rate=arguments.rate,
        as_json=arguments.json,
    )
