"""Waiting for a server that is away. Nothing is ever rejected because a backend failed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import count
from typing import TypeVar

from adgauge.errors import BackendUnavailable
from adgauge.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")


class Retry:
    """Calls an operation until it succeeds or the worker stops: exponential backoff with full jitter.

    `wait(seconds)` returns True when the worker stops (an Event's `wait`); `random()` is uniform in [0, 1).
    Called from many threads at once.
    """

    def __init__(
        self,
        wait: Callable[[float], bool],
        random: Callable[[], float],
        metrics: Metrics,
        *,
        first_s: float,
        longest_s: float,
    ) -> None:
        self._wait = wait
        self._random = random
        self._metrics = metrics
        self._first_s = first_s
        self._longest_s = longest_s

    def __call__(self, operation: Callable[[], T]) -> T:
        """The operation's result; raises its last BackendUnavailable once the worker stops."""
        for attempt in count():
            try:
                return operation()
            except BackendUnavailable as error:
                delay_s = self._random() * min(self._first_s * 2.0 ** min(attempt, 30), self._longest_s)
                log.warning("%s; trying again in %.2f s", error, delay_s)
                if self._wait(delay_s):
                    raise
                self._metrics.retries.labels(error.backend).inc()
        raise AssertionError("count() does not end")
