from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.resolving import Names
from adgauge.images.wire import Deadline


class Hanging:
    """A resolver that answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.release = threading.Event()

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        self.release.wait(60)
        return ["127.0.0.1"]


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    resolver = Hanging()
    yield resolver
    resolver.release.set()


def reason(names: Names, host: str, seconds: float) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        names.addresses(host, 80, Deadline(time.monotonic, seconds))
    return caught.value.reason


def test_a_name_that_hung_is_not_waited_for_again(hanging: Hanging) -> None:
    names = Names(hanging)

    assert reason(names, "a.example", 1.1) == ImageReason.TIMEOUT
    assert reason(names, "a.example", 30.0) == ImageReason.TIMEOUT
    assert hanging.asked == ["a.example"]
    names.close()


def test_a_name_that_had_little_time_is_asked_for_again(hanging: Hanging) -> None:
    names = Names(hanging)
    assert reason(names, "a.example", 0.1) == ImageReason.TIMEOUT
    hanging.release.set()

    assert names.addresses("a.example", 80, Deadline(time.monotonic, 30.0)) == ["127.0.0.1"]
    names.close()


def test_a_name_that_waited_for_busy_resolvers_is_not_blamed(hanging: Hanging) -> None:
    names = Names(hanging, threads=1)
    assert reason(names, "slow.example", 1.1) == ImageReason.TIMEOUT

    assert reason(names, "a.example", 1.1) == ImageReason.TIMEOUT
    assert hanging.asked == ["slow.example"]
    hanging.release.set()
    assert names.addresses("a.example", 80, Deadline(time.monotonic, 30.0)) == ["127.0.0.1"]
    names.close()


def test_once_closed_nothing_is_asked(hanging: Hanging) -> None:
    names = Names(hanging)
    names.close()

    assert reason(names, "a.example", 30.0) == ImageReason.CONNECTION
    assert hanging.asked == []
