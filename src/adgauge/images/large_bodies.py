"""Who may read a large body now, so that memory is bounded however many are sent at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Condition

from adgauge.images.wire import Deadline

_LOOK_S = 0.1


class LargeBodies:
    """Room for some large bodies at once, of which one host takes a part: those that drip theirs must not
    hold up everybody else's. Used by several threads at once.
    """

    def __init__(self, in_all: int, per_host: int, are_many: Callable[[], bool]) -> None:
        """While `are_many()` bodies wait to be decoded no large one is read."""
        self._in_all = in_all
        self._per_host = per_host
        self._are_many = are_many
        self._reading: Counter[str] = Counter()
        self._changed = Condition()

    @contextmanager
    def room(self, host: str, deadline: Deadline) -> Iterator[None]:
        """Wait for room and keep it; raises TimeoutError."""
        with self._changed:
            while not self._has_room(host):
                self._changed.wait(min(deadline.left(), _LOOK_S))
            self._reading[host] += 1
        try:
            yield
        finally:
            with self._changed:
                self._reading[host] -= 1
                self._reading += Counter()  # without the hosts at 0
                self._changed.notify_all()

    def _has_room(self, host: str) -> bool:
        return (
            not self._are_many()
            and self._reading.total() < self._in_all
            and self._reading[host] < self._per_host
        )
