import threading
import time
from collections.abc import Callable, Mapping

import pytest
from prometheus_client import CollectorRegistry

from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.pipeline.circuit import TURN_S, Circuits, Patience
from adgauge.telemetry.metrics import Metrics

AWAY = BackendUnavailable("redis", "away")
PATIENCE = Patience(first_s=0.1, longest_s=1.0, budget=3.0, refund=0.5)
BOUNDLESS = Patience(first_s=0.1, longest_s=1.0, budget=1e9)
DEADLINE_S = 10.0


class Waits:
    """Remembers how long it was asked to wait; the worker stops at the `stop_at`th wait."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seconds: list[float] = []
        self._stop_at = stop_at

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return len(self.seconds) == self._stop_at


class Failing:
    """Fails `times` times, then answers."""

    def __init__(self, times: int, error: Exception = AWAY) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "answer"


class Probe(Failing):
    """Takes note of every question and answers nothing."""

    def __call__(self) -> None:  # type: ignore[override]  # a probe has no result
        super().__call__()


def circuits(
    wait: Callable[[float], bool],
    *,
    patience: Patience = PATIENCE,
    random: float = 1.0,
    clock: Callable[[], float] = lambda: 0.0,
    probes: Mapping[str, Callable[[], None]] | None = None,
) -> tuple[Circuits, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return Circuits(wait, lambda: random, clock, metrics, probes=probes or {}, patience=patience), metrics


def value(metrics: Metrics, name: str, backend: str = "redis") -> float | None:
    return metrics.registry.get_sample_value(name, {"backend": backend})


def test_an_operation_is_repeated_until_it_succeeds() -> None:
    ours, metrics = circuits(Waits())

    assert ours.call("redis", Failing(3)) == "answer"
    assert value(metrics, "adgauge_retries_total") == 3.0


def test_waits_double_up_to_the_longest() -> None:
    waits = Waits()
    circuits(waits, patience=BOUNDLESS)[0].call("redis", Failing(6))

    assert pytest.approx(waits.seconds) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_is_full() -> None:
    waits = Waits()
    circuits(waits, random=0.0)[0].call("redis", Failing(2))

    assert waits.seconds == [0.0, 0.0]


@pytest.mark.parametrize("patience", [PATIENCE, BOUNDLESS])
def test_after_thousands_of_failures_the_wait_is_still_bounded(patience: Patience) -> None:
    waits = Waits()
    circuits(waits, patience=patience)[0].call("redis", Failing(2000))

    assert max(waits.seconds) == 1.0


@pytest.mark.parametrize("stop_at", [1, 3, 5])  # while it retries, and while the circuit is open
def test_a_stop_ends_the_waiting_with_the_last_error(stop_at: int) -> None:
    failing = Failing(1000)
    with pytest.raises(BackendUnavailable, match="away"):
        circuits(Waits(stop_at))[0].call("redis", failing)

    assert failing.calls == stop_at


def test_another_error_is_not_repeated() -> None:
    failing = Failing(1, ContractMismatch("wrong model"))
    with pytest.raises(ContractMismatch):
        circuits(Waits())[0].call("redis", failing)

    assert failing.calls == 1


def test_a_spent_budget_opens_the_circuit_and_success_closes_it() -> None:
    said: list[str | None] = []
    failing = Failing(5)

    def wait(seconds: float) -> bool:
        said.append(ours.why_open())
        return False

    now = iter(range(100))
    ours, metrics = circuits(wait, clock=lambda: float(next(now)))
    assert ours.call("redis", failing) == "answer"

    # Three retries are free, the fourth failure opens, two more questions find it back.
    assert said[:3] == [None, None, None]
    assert said[3:] == ["redis away for 1 s: away", "redis away for 2 s: away"]
    assert ours.why_open() is None
    assert (value(metrics, "adgauge_circuit_open"), value(metrics, "adgauge_circuit_openings_total")) == (
        0,
        1,
    )


def test_an_open_circuit_says_so_in_the_metrics_and_leaves_other_backends_alone() -> None:
    waits = Waits(stop_at=5)
    ours, metrics = circuits(waits)
    with pytest.raises(BackendUnavailable):
        ours.call("redis", Failing(1000))

    assert value(metrics, "adgauge_circuit_open") == 1
    assert value(metrics, "adgauge_circuit_open", "triton") == 0
    assert ours.call("triton", lambda: "answer") == "answer"
    assert ours.why_open() == "redis away for 0 s: away"


def test_successes_bring_the_budget_back() -> None:
    ours, metrics = circuits(Waits())
    for _ in range(50):
        ours.call("redis", Failing(1))
        ours.call("redis", Failing(0))

    assert value(metrics, "adgauge_circuit_openings_total") == 0


def test_the_probe_is_asked_before_anything_else_is_sent() -> None:
    probe, failing = Probe(2), Failing(4)
    ours, _ = circuits(Waits(), probes={"redis": probe})

    assert ours.call("redis", failing) == "answer"
    assert (failing.calls, probe.calls) == (5, 3)


def test_without_a_probe_the_first_in_line_asks_and_keeps_its_answer() -> None:
    failing = Failing(7)

    assert circuits(Waits())[0].call("redis", failing) == "answer"
    assert failing.calls == 8


def test_what_a_probe_finds_wrong_for_good_reaches_the_caller() -> None:
    ours, _ = circuits(Waits(), probes={"redis": Probe(1, ContractMismatch("another model"))})
    with pytest.raises(ContractMismatch, match="another model"):
        ours.call("redis", Failing(1000))


def test_a_blown_fuse_opens_at_once_and_stays_open() -> None:
    waits = Waits(stop_at=4)
    ours, metrics = circuits(waits)
    with pytest.raises(BackendUnavailable, match="too many"):
        ours.call("fuse", Failing(1000, BackendUnavailable("fuse", "too many")))

    assert value(metrics, "adgauge_circuit_open", "fuse") == 1
    assert len(waits.seconds) == 4


def test_what_is_logged_of_a_blown_fuse_promises_no_return(caplog: pytest.LogCaptureFixture) -> None:
    ours, _ = circuits(Waits(stop_at=4))
    with pytest.raises(BackendUnavailable):
        ours.call("fuse", Failing(1000, BackendUnavailable("fuse", "too many")))

    (opened,) = [record.getMessage() for record in caplog.records]
    assert "too many" in opened
    assert opened.endswith("nothing is consumed until this worker is started again")


def test_while_a_circuit_is_open_one_asks_and_all_go_on_when_it_closes() -> None:
    stop, back, asking = threading.Event(), threading.Event(), threading.Lock()
    asked_together: list[bool] = []

    def probe() -> None:
        alone = asking.acquire(blocking=False)
        asked_together.append(not alone)
        time.sleep(0.002)
        asking.release()
        if not back.is_set():
            raise AWAY

    def operation() -> str:
        if not back.is_set():
            raise AWAY
        return "answer"

    patience = Patience(first_s=0.001, longest_s=0.002, budget=3.0)
    ours, _ = circuits(stop.wait, patience=patience, probes={"redis": probe})
    ours.watch("redis", 0.001)
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ours.call("redis", operation))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    _until(lambda: len(asked_together) >= 20)
    back.set()
    for thread in threads:
        thread.join(DEADLINE_S)
    stop.set()

    assert answers == ["answer"] * 8
    assert not any(asked_together)


def test_a_batch_waits_while_the_watch_is_in_the_middle_of_a_probe() -> None:
    stop, probing, release = threading.Event(), threading.Event(), threading.Event()
    waited: list[float] = []
    probes = 0

    def wait(seconds: float) -> bool:
        waited.append(seconds)
        return stop.wait(seconds)

    def probe() -> None:
        nonlocal probes
        probes += 1
        probing.set()
        assert release.wait(DEADLINE_S)

    ours, _ = circuits(wait, patience=Patience(first_s=0.001, budget=0.0), probes={"redis": probe})
    ours.watch("redis", 0.001)
    assert probing.wait(DEADLINE_S)
    batch = threading.Thread(target=ours.call, args=("redis", Failing(1)))
    batch.start()
    _until(lambda: TURN_S in waited)
    assert probes == 1
    release.set()
    batch.join(DEADLINE_S)
    stop.set()

    assert not batch.is_alive()


def test_a_watch_opens_the_circuit_without_any_load_and_closes_it() -> None:
    stop, good = threading.Event(), threading.Event()
    good.set()

    def probe() -> None:
        if not good.is_set():
            raise AWAY

    patience = Patience(first_s=0.001, longest_s=0.002)
    ours, _ = circuits(stop.wait, patience=patience, probes={"redis": probe})
    ours.watch("redis", 0.001)
    good.clear()
    _until(lambda: ours.why_open() is not None)
    good.set()
    _until(lambda: ours.why_open() is None)
    stop.set()


@pytest.mark.parametrize("error", [ContractMismatch("another model"), KeyError("a bug")])
def test_a_watch_that_finds_another_model_or_breaks_ends_the_worker(error: Exception) -> None:
    stop = threading.Event()
    ours, _ = circuits(stop.wait, probes={"triton": Probe(1, error)})
    ours.watch("triton", 0.001)

    def ended() -> bool:
        try:
            ours.why_open()
        except type(error):
            return True
        return False

    _until(ended)
    stop.set()


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
