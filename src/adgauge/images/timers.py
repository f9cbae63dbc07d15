"""Calls at a time to come, from one thread: thousands of pictures may wait for their next attempt."""

from __future__ import annotations

import heapq
import logging
import threading
import time
from collections.abc import Callable
from itertools import count

log = logging.getLogger(__name__)

Call = Callable[[], None]


class Timers:
    """Runs calls when they are due, one after the other; they must not block. One that raises is a bug, which
    is logged and must not keep the others waiting for ever.
    """

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Call]] = []
        self._changed = threading.Condition()
        self._numbers = count()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="picture-timers", daemon=True)
        self._thread.start()

    def after(self, seconds: float, call: Call) -> None:
        """Run `call` in so many seconds, unless the timers are closed before."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), call))
            self._changed.notify()

    def close(self) -> None:
        """Run nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:
                log.exception("a timed call failed")

    def _next(self) -> Call | None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                if self._due and self._due[0][0] <= now:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(self._due[0][0] - now if self._due else None)
            return None
