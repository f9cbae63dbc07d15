"""What scorers say of themselves while something is away: how much they hold, and whether they take more."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.pictures.world import Scorers

EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Reading:
    """All workers together at one time of day. `paused`: one of them takes no more."""

    at_s: float
    in_flight: float
    paused: bool
    pictures: Mapping[str, int]


@dataclass
class Readings:
    """Reads on a thread of its own while it is entered."""

    scorers: Scorers
    taken: list[Reading] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._read_all, name="readings", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _read_all(self) -> None:
        while not self._closing.wait(EVERY_S):
            self.taken.append(read(self.scorers))


def read(scorers: Scorers) -> Reading:
    """Now."""
    return Reading(
        at_s=time.time(),
        in_flight=scorers.sum("adgauge_in_flight_records"),
        paused=scorers.sum("adgauge_paused") > 0,
        pictures=scorers.pictures_by_result(),
    )
