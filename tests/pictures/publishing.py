"""Publishes listings, all at once or at a steady rate, and remembers where the broker put each."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from kafka import KafkaProducer

from tests.pictures.catalog import Listing

ACKNOWLEDGED_S = 60.0
EVENT_MS = "adgauge-event-ms"


@dataclass(frozen=True, slots=True)
class Published:
    """A listing that the broker has."""

    listing: Listing
    event_ms: int
    partition: int
    offset: int

    @property
    def order(self) -> tuple[int, int]:
        """The larger one of two versions of a product counts."""
        return self.event_ms, self.offset


def publish(bootstrap: str, topic: str, listings: Iterable[Listing]) -> list[Published]:
    """All of them, acknowledged, with event times of now; raises KafkaError."""
    with _producing(bootstrap) as producer:
        sent = [_send(producer, topic, listing) for listing in listings]
        return [_acknowledged(*each) for each in sent]


class SteadyLoad:
    """Publishes `listing(number)` for number 0, 1, 2 … at `rate` a second while it is entered."""

    def __init__(self, bootstrap: str, topic: str, listing: Callable[[int], Listing], *, rate: float) -> None:
        self.published: list[Published] = []
        self._bootstrap = bootstrap
        self._topic = topic
        self._listing = listing
        self._rate = rate
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="steady load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Return when all that was sent is acknowledged. Idempotent."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        began_s, number = time.monotonic(), 0
        with _producing(self._bootstrap) as producer:
            while not self._stopping.wait(max(began_s + number / self._rate - time.monotonic(), 0.0)):
                sent = _send(producer, self._topic, self._listing(number))
                self.published.append(_acknowledged(*sent))
                number += 1


@contextmanager
def _producing(bootstrap: str) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5, batch_size=2**18
    )
    try:
        yield producer
    finally:
        producer.close()


def _send(producer: KafkaProducer, topic: str, listing: Listing) -> tuple[Listing, int, Any]:
    event_ms = time.time_ns() // 1_000_000
    headers = [(EVENT_MS, str(event_ms).encode())]
    return listing, event_ms, producer.send(topic, listing.value, listing.id.encode(), headers)


def _acknowledged(listing: Listing, event_ms: int, sent: Any) -> Published:
    where = sent.get(timeout=ACKNOWLEDGED_S)
    return Published(listing, event_ms, where.partition, where.offset)
