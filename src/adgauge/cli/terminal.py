"""Text for people: progress as one line on a terminal that rewrites itself, lists that stay short."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TextIO

INTERVAL_S = 0.1
NAMED = 5


class Progress:
    """Shows the latest text on `stream` if that is a terminal; `clock` counts seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        # A dumb terminal cannot rewrite a line.
        self._stream = stream if stream.isatty() and os.environ.get("TERM") != "dumb" else None
        self._clock = clock
        self._shown_at = float("-inf")

    def show(self, text: str) -> None:
        """Replace the line, at most every tenth of a second."""
        if self._stream is not None and self._clock() - self._shown_at >= INTERVAL_S:
            self._shown_at = self._clock()
            self._stream.write(f"\r\x1b[K{text}")
            self._stream.flush()

    def clear(self) -> None:
        """Leave an empty line for what is printed next."""
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()


def named(things: Sequence[object]) -> str:
    """The first few, and how many more."""
    more = f" and {len(things) - NAMED} more" if len(things) > NAMED else ""
    return f"{', '.join(map(str, things[:NAMED]))}{more}"


def named_lines(lines: Sequence[int]) -> str:
    """The numbers of lines of a file."""
    return f"line{'s' if len(lines) > 1 else ''} {named(lines)}"


def printable(text: str) -> str:
    """Text of others for a terminal: what could move its cursor or change its colours is escaped."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
