import pytest
from prometheus_client import CollectorRegistry

from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.pipeline.retry import Retry
from adgauge.telemetry.metrics import Metrics


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

    def __init__(self, times: int, error: Exception) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "answer"


AWAY = BackendUnavailable("redis", "away")


def retry(waits: Waits, random: float = 1.0) -> tuple[Retry, Metrics]:
    metrics = Metrics(CollectorRegistry())
    return Retry(waits, lambda: random, metrics, first_s=0.1, longest_s=1.0), metrics


def test_an_operation_is_repeated_until_it_succeeds() -> None:
    waits = Waits()
    again, metrics = retry(waits)

    assert again(Failing(3, AWAY)) == "answer"
    assert metrics.registry.get_sample_value("adgauge_retries_total", {"backend": "redis"}) == 3.0


def test_waits_double_up_to_the_longest() -> None:
    waits = Waits()
    retry(waits)[0](Failing(6, AWAY))

    assert pytest.approx(waits.seconds) == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_jitter_is_full() -> None:
    waits = Waits()
    retry(waits, random=0.0)[0](Failing(2, AWAY))

    assert waits.seconds == [0.0, 0.0]


def test_after_thousands_of_failures_the_wait_is_still_bounded() -> None:
    waits = Waits()
    retry(waits)[0](Failing(2000, AWAY))

    assert max(waits.seconds) == 1.0


def test_a_stop_ends_the_waiting_with_the_last_error() -> None:
    failing = Failing(5, AWAY)
    with pytest.raises(BackendUnavailable, match="away"):
        retry(Waits(stop_at=2))[0](failing)

    assert failing.calls == 2


def test_another_error_is_not_repeated() -> None:
    failing = Failing(1, ContractMismatch("wrong model"))
    with pytest.raises(ContractMismatch):
        retry(Waits())[0](failing)

    assert failing.calls == 1
