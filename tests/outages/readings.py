"""What workers say of themselves while something is away: their metrics and their readiness, over time."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from services.embedded.ports import HOST
from services.embedded.probes import http_ok
from services.embedded.scorer import scrape, total
from tests.chaos.workers import Worker

EVERY_S = 0.1


@dataclass(frozen=True, slots=True)
class Reading:
    """One worker at one time of `time.monotonic`."""

    at_s: float
    worker: str
    pid: int
    ready: bool
    records: float
    bytes: float
    rebalances: float
    circuit_open: bool
    failures: float
    heals: float

    def suspects_triton_since(self, before: "Reading") -> bool:
        """Whether anything of it shows that a model is dead: a failed request, a heal, no readiness."""
        changed = self.failures > before.failures or self.heals > before.heals
        return changed or self.circuit_open or not self.ready


@dataclass
class Readings:
    """Reads every worker on a thread of its own while it is entered."""

    workers: Callable[[], Sequence[Worker]]
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

    def latest(self) -> dict[str, Reading]:
        """The last reading of each worker."""
        return {each.worker: each for each in list(self.taken)}

    def between(self, began_s: float, ended_s: float) -> list[Reading]:
        """All that were taken in that time."""
        return [each for each in list(self.taken) if began_s <= each.at_s <= ended_s]

    def _read_all(self) -> None:
        while not self._closing.wait(EVERY_S):
            self.taken += [found for each in self.workers() if (found := read(each))]


def read(worker: Worker) -> Reading | None:
    """None while the worker does not answer."""
    at_s, pid = time.monotonic(), worker.process.pid
    ready = http_ok(worker.metrics_port, "/healthz/ready")
    page = scrape(f"http://{HOST}:{worker.metrics_port}/metrics")
    if not page:
        return None
    return Reading(
        at_s=at_s,
        worker=worker.name,
        pid=pid,
        ready=ready,
        records=total(page, "adgauge_in_flight_records"),
        bytes=total(page, "adgauge_in_flight_bytes"),
        rebalances=total(page, "adgauge_rebalances_total"),
        circuit_open=total(page, "adgauge_circuit_open", backend="triton") > 0,
        failures=total(page, "adgauge_scorer_failures_total"),
        heals=total(page, "adgauge_model_heals_total"),
    )
