"""What a source of picture bytes answers, and how it tells on the way what it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from adgauge.records import Unchanged, Validators

Trace = Callable[[str, str], None]
"""Called with a step ("resolve", "connect", …) and what came of it, for people."""


@dataclass(frozen=True, slots=True)
class Body:
    """The bytes behind a reference, and how to ask later whether they changed."""

    data: bytes
    validators: Validators


Fetched = Body | Unchanged


def untold(step: str, detail: str) -> None:
    """The trace of those who do not care."""


class Source(Protocol):
    """Bytes of one kind of references. Called from several threads at once."""

    def fetch(self, reference: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """The bytes, or `Unchanged` where `known` was given and still holds. One attempt, bounded in time.

        Raises ImageError, whose reason says whether another attempt may help.
        """
