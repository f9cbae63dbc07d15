"""Waiting for a server that is away. Nothing is ever rejected because a backend failed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import TypeVar

from adgauge.errors import BackendUnavailable
from adgauge.telemetry.metrics import BACKENDS, Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")

FUSE = "fuse"
TURN_S = 0.05
"""How late a caller may notice that a circuit closed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait between attempts, and how many a backend may cost before it is taken to be away.

    Waits are uniform in [0, bound), the bound doubling from `first_s` to `longest_s` ("full jitter"). A retry
    costs one of `budget` tokens and a success brings back `refund`: a backend may for ever fail once
    for every 1/refund successes, and one that is away is asked `budget` times before its circuit opens.
    """

    first_s: float = 0.2
    longest_s: float = 2.0
    budget: float = 10.0
    refund: float = 0.1


class Circuits:
    """Calls backends, each behind a circuit of its own. Called from many threads at once.

    `wait(seconds)` returns True when the worker stops (an Event's `wait`); `random()` is uniform in [0, 1);
    `clock` counts seconds. `probes` say for some backends whether they are good again: without one the first
    caller in the line tries its own operation.
    """

    def __init__(
        self,
        wait: Callable[[float], bool],
        random: Callable[[], float],
        clock: Callable[[], float],
        metrics: Metrics,
        *,
        probes: Mapping[str, Callable[[], None]],
        patience: Patience,
    ) -> None:
        self._wait = wait
        self._probes = probes
        self._fatal: Exception | None = None
        self._circuits = {
            name: _Circuit(name, wait, random, clock, metrics, probes.get(name), patience)
            for name in BACKENDS
        }

    def call(self, backend: str, operation: Callable[[], T]) -> T:
        """The operation's result, however often it has to be tried.

        Raises the last BackendUnavailable once the worker stops, and whatever else the operation or the
        backend's probe raises.
        """
        return self._circuits[backend].call(operation)

    def why_open(self) -> str | None:
        """Which backends are away, since when and why; None when none is.

        Raises what a watch found that must end the worker: ContractMismatch, or a bug.
        """
        if self._fatal is not None:
            raise self._fatal
        reasons = [why for circuit in self._circuits.values() if (why := circuit.why_open())]
        return " · ".join(reasons) or None

    def watch(self, backend: str, every_s: float) -> None:
        """Probe a backend from a thread of its own, so that its end is noticed without any load."""
        threading.Thread(
            target=self._watch, args=(backend, every_s), name=f"watch-{backend}", daemon=True
        ).start()

    def _watch(self, backend: str, every_s: float) -> None:
        circuit = self._circuits[backend]
        while not self._wait(every_s):
            try:
                circuit.examine(self._probes[backend])
            except BackendUnavailable:
                return  # the worker stops
            except Exception as error:  # a thread has nobody to raise to
                self._fatal = error
                return


class _Circuit:
    """Closed: calls go through and failures are retried. Open: all wait while one asks, now and then."""

    def __init__(
        self,
        backend: str,
        wait: Callable[[float], bool],
        random: Callable[[], float],
        clock: Callable[[], float],
        metrics: Metrics,
        probe: Callable[[], None] | None,
        patience: Patience,
    ) -> None:
        self._backend = backend
        self._wait = wait
        self._random = random
        self._clock = clock
        self._metrics = metrics
        self._probe = probe
        self._patience = patience
        self._budget = 0.0 if backend == FUSE else patience.budget  # a blown fuse is no accident
        self._end = "this worker is started again" if backend == FUSE else "it is back"
        self._lock = threading.Lock()  # of the four below, and of the gauge, which must tell of the last turn
        self._tokens = self._budget
        self._error: BackendUnavailable | None = None
        self._opened_at = 0.0
        self._asked = 0
        self._turn = threading.Lock()  # who holds it may probe

    def call(self, operation: Callable[[], T]) -> T:
        """See `Circuits.call`."""
        answers: list[T] = []

        def ask() -> None:
            answers.append(operation())

        for attempt in count():
            self._pass(self._probe or ask)
            if answers:  # it was our operation that found the backend good again
                return answers[0]
            try:
                result = operation()
            except BackendUnavailable as error:
                self._failed(error, attempt)
                continue
            self._refund()
            return result
        raise AssertionError("count() does not end")

    def examine(self, probe: Callable[[], None]) -> None:
        """Run the probe and open at once when it fails; returns when the circuit is closed."""
        with self._turn:
            try:
                if self._error is None:
                    probe()
            except BackendUnavailable as error:
                self._open(error)
        self._pass(probe)

    def why_open(self) -> str | None:
        """The backend, since when it is away and why; None while the circuit is closed."""
        with self._lock:
            if self._error is None:
                return None
            return f"{self._backend} away for {self._clock() - self._opened_at:.0f} s: {self._error.detail}"

    def _pass(self, trial: Callable[[], object]) -> None:
        """Return when the circuit is closed; raises its error when the worker stops."""
        while (error := self._error) is not None:
            if not self._turn.acquire(blocking=False):
                if self._wait(TURN_S):
                    raise error
                continue
            try:
                self._ask(error, trial)
            finally:
                self._turn.release()

    def _ask(self, error: BackendUnavailable, trial: Callable[[], object]) -> None:
        if self._error is None:  # closed while we took the turn
            return
        if self._wait(self._delay_s(self._asked)):
            raise error
        self._asked += 1
        self._metrics.retries.labels(self._backend).inc()
        try:
            trial()
        except BackendUnavailable as again:
            self._open(again)
        else:
            self._close()

    def _failed(self, error: BackendUnavailable, attempt: int) -> None:
        with self._lock:
            self._tokens -= 1.0
            spent = self._tokens < 0.0
        if spent:
            self._open(error)
            return
        delay_s = self._delay_s(attempt)
        log.warning("%s; trying again in %.2f s", error, delay_s)
        if self._wait(delay_s):
            raise error
        self._metrics.retries.labels(self._backend).inc()

    def _delay_s(self, attempt: int) -> float:
        return self._random() * min(
            self._patience.first_s * 2.0 ** min(attempt, 30), self._patience.longest_s
        )

    def _refund(self) -> None:
        with self._lock:
            self._tokens = min(self._tokens + self._patience.refund, self._budget)

    def _open(self, error: BackendUnavailable) -> None:
        with self._lock:
            was_closed, self._error = self._error is None, error
            if was_closed:
                self._opened_at, self._asked = self._clock(), 0
                self._metrics.circuit_open.labels(self._backend).set(1)
                self._metrics.circuit_openings.labels(self._backend).inc()
        if was_closed:
            log.error("%s; nothing is consumed until %s", error, self._end)

    def _close(self) -> None:
        with self._lock:
            away_s = self._clock() - self._opened_at
            self._error, self._tokens = None, self._budget
            self._metrics.circuit_open.labels(self._backend).set(0)
        log.info("%s is back after %.1f s", self._backend, away_s)
