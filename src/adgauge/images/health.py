"""Whether a host, or the network as a whole, is away: judged by how its last attempts ended."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from adgauge.canonical.image import ImageError

FIRST_ASK_S, LONGEST_ASK_S = 0.5, 5.0
LOST_ASK_S = 30.0
ASKED_LATER_AT_MOST_S = 60.0
"""A host may ask for patience (`Retry-After`), but not for ever."""


class Window:
    """How the first attempts of the last `size` pictures ended, in the order in which they began.

    In the order of their ends, the slow failures of a minute would look like a run of them once the quick
    answers are through. Attempts that are still running say nothing and take no room.
    """

    def __init__(self, size: int, judged_from: int, limit: float) -> None:
        self._size = size
        self._judged_from = judged_from
        self._limit = limit
        self._failed: OrderedDict[int, bool | None] = OrderedDict()
        self._tickets = 0
        self.ended = 0
        self.failures = 0

    def begin(self) -> int:
        """An attempt begins; the ticket is for `end`."""
        self._tickets += 1
        self._failed[self._tickets] = None
        return self._tickets

    def end(self, ticket: int, failed: bool) -> None:
        """It ended; what began before the last `size` of those that ended counts no more."""
        if ticket not in self._failed:
            return
        self._failed[ticket] = failed
        self._count(failed, 1)
        while self.ended > self._size:
            oldest = next(each for each, ended in self._failed.items() if ended is not None)
            self._count(self._failed.pop(oldest), -1)

    def drop(self, ticket: int) -> None:
        """It ended and says nothing."""
        self._failed.pop(ticket, None)

    def failing(self) -> bool:
        """Whether more than the limit failed, of enough to judge by."""
        return self.ended >= self._judged_from and self.failures > self._limit * self.ended

    def clear(self) -> None:
        """Forget what was before, attempts that are still running included."""
        self._failed.clear()
        self.ended = self.failures = 0

    def _count(self, failed: bool | None, sign: int) -> None:
        if failed is not None:
            self.ended += sign
            self.failures += sign * failed


@dataclass(slots=True)
class Health:
    """Good until its window fails; then away until an attempt gets an answer. Times are in seconds.

    While it is away one attempt at a time is made, at `asks_at` at the earliest. Away for longer than
    `patience_s` it is `lost`: nobody waits for it, and it is asked now and then.
    """

    window: Window
    patience_s: float
    away_since: float | None = None
    asks_at: float = 0.0
    error: ImageError | None = None  # the last failure
    answered_at: float = field(default=float("-inf"))
    _asked: int = 0

    @property
    def away(self) -> bool:
        """Whether what needs it has to wait."""
        return self.away_since is not None

    def lost(self, now: float) -> bool:
        """Whether nobody waits for it any more."""
        return self.away_since is not None and now - self.away_since > self.patience_s

    def answered(self, now: float) -> bool:
        """It gave an answer, good or bad news; True when it is back by that."""
        was_away, self.answered_at = self.away, now
        if was_away:
            self.away_since, self._asked = None, 0
            self.window.clear()
        return was_away

    def failed(self, now: float, error: ImageError, asked_later_s: float = 0.0) -> bool:
        """An attempt failed, perhaps with the plea to ask later; True when it is away by that."""
        self.error = error
        newly = not self.away and (self.window.failing() or asked_later_s > 0)
        if newly:
            self.away_since, self._asked = now, 0
        if self.away:
            longest = LOST_ASK_S if self.lost(now) else LONGEST_ASK_S
            pause = min(FIRST_ASK_S * 2.0**self._asked, longest)
            self._asked = min(self._asked + 1, 30)
            self.asks_at = now + max(pause, min(asked_later_s, ASKED_LATER_AT_MOST_S))
        return newly
