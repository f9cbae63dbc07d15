"""What the arguments of all commands have in common."""

from __future__ import annotations

import argparse
import re
import time
from typing import TYPE_CHECKING

from adgauge.cli.times import parse_time

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]


def command_of(commands: Commands, name: str, summary: str, *examples: str) -> argparse.ArgumentParser:
    """A command whose help ends with examples of itself."""
    return commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog="\n  ".join([f"example{'s' if len(examples) > 1 else ''}:", *examples]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_json(command: argparse.ArgumentParser) -> None:
    """What a program may read comes as JSON."""
    command.add_argument("--json", action="store_true", help="print JSON for programs")


def positive(text: str) -> float:
    """A number above 0."""
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError("must be positive")
    return number


def count(text: str) -> int:
    """A whole number, at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def natural(text: str) -> int:
    """A whole number, at least 0."""
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("must be at least 0")
    return number


def model_name(text: str) -> str:
    """What a folder of a model repository may be called."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no model's name: letters, digits, _, - and . only")
    return text


def moment(text: str) -> int:
    """A time, as ms since 1970."""
    try:
        return parse_time(text, time.time_ns() // 1_000_000)
    except (ValueError, OverflowError) as exc:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: 2h (ago), or 2026-11-24T10:00 (UTC)") from exc
