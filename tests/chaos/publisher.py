"""Publishes versions of products, and writes down each one that the broker acknowledged.

It shares no code with the product, and talks to the broker itself, not through what the workers suffer from.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TextIO

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.chaos.drafts import Draft, body, drafts, extra_headers
from tests.chaos.ledger import Entry, record_digest

log = logging.getLogger(__name__)

IN_FLIGHT = 200
"""Records sent and not acknowledged, at most, and never two of one product."""
BEHIND_S = 1.0
"""Further behind its rate, it does not catch up: after an outage there is no burst."""
LAST_ACKNOWLEDGEMENT_S = 60.0

Headers = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class Record:
    """A draft with its event time, as bytes."""

    draft: Draft
    event_ms: int
    key: bytes
    value: bytes | None
    headers: Headers

    def acknowledged(self, partition: int, offset: int) -> Entry:
        """Its line in the ledger."""
        return Entry(
            id=self.draft.id,
            version=self.draft.version,
            kind=self.draft.kind,
            level=self.draft.level,
            event_ms=self.event_ms,
            partition=partition,
            offset=offset,
            picture=self.draft.picture,
            digest=record_digest(self.key, self.value, self.headers),
        )


def make_record(draft: Draft, event_ms: int, slow_image_url: str | None) -> Record:
    """The draft's key, value and headers at an event time."""
    key, value = body(draft, slow_image_url)
    headers = [("adgauge-event-ms", str(event_ms).encode()), *extra_headers(draft)]
    return Record(draft, event_ms, key, value, headers)


class Publisher:
    """Publishes `records` versions of `products` products at `rate` a second, from a thread of its own.

    `slow_image_url`, without a slash at its end, answers `/slow/<level>.png` late and `/never/<level>.png`
    never; None: all pictures are in the records. A record is sent until it is acknowledged, and only then
    follows another of its product.
    """

    def __init__(
        self,
        bootstrap: str,
        topic: str,
        ledger: Path,
        *,
        seed: int,
        products: int,
        records: int,
        rate: float,
        distinct_titles: bool,
        slow_image_url: str | None,
    ) -> None:
        self._bootstrap = bootstrap
        self._topic = topic
        self._ledger = ledger
        self._rate = rate
        self._slow_image_url = slow_image_url
        self._drafts = drafts(
            seed=seed,
            products=products,
            records=records,
            distinct_titles=distinct_titles,
            slow_pictures=slow_image_url is not None,
        )
        self._answers: SimpleQueue[tuple[Record, KafkaProducer, Any]] = SimpleQueue()
        self._in_flight: set[str] = set()
        self._newest: dict[str, int] = {}  # event time of each product's newest acceptable version
        self._latest: dict[str, int] = {}  # and of any
        self._flowing = threading.Event()
        self._flowing.set()
        self._stopping = threading.Event()
        self._acknowledged = 0
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    @property
    def acknowledged(self) -> int:
        """Records that the broker has, each in the ledger."""
        return self._acknowledged

    def start(self) -> None:
        """Returns at once; raises KafkaError when no broker answers."""
        self._producer = self._new_producer()
        self._thread.start()

    def pause(self) -> None:
        """Send nothing new; what was sent is still acknowledged and written down."""
        self._flowing.clear()

    def resume(self) -> None:
        """Go on at the rate."""
        self._flowing.set()

    def wait(self, timeout_s: float) -> None:
        """Return when all records are acknowledged; raises TimeoutError, or what ended the thread."""
        self._thread.join(timeout_s)
        if self._error is not None:
            raise self._error
        if self._thread.is_alive():
            raise TimeoutError(f"{self._acknowledged} records were acknowledged within {timeout_s:g} s")

    def stop(self) -> None:
        """Send nothing new, wait until all that was sent is acknowledged, and close.

        Raises TimeoutError when the broker does not: the topic may then hold what the ledger lacks.
        """
        self._stopping.set()
        self._flowing.set()
        try:
            self.wait(LAST_ACKNOWLEDGEMENT_S)
        finally:
            self._close()

    def _run(self) -> None:
        try:
            with self._ledger.open("a") as ledger:
                self._publish(ledger)
        except BaseException as error:
            self._error = error
            log.exception("the publisher ends")

    def _publish(self, ledger: TextIO) -> None:
        for draft, due in zip(self._drafts, self._schedule(ledger), strict=False):
            while time.monotonic() < due or not self._may_send(draft):
                self._collect(ledger, wait_s=max(min(due - time.monotonic(), 0.01), 0.001))
            if self._stopping.is_set():
                break
            self._send(self._record(draft))
        while self._in_flight:
            self._collect(ledger, wait_s=0.05)

    def _schedule(self, ledger: TextIO) -> Iterator[float]:
        """When the next record is due, in seconds of the monotonic clock; not while it is paused."""
        due = time.monotonic()
        while True:
            while not self._flowing.is_set():
                self._collect(ledger, wait_s=0.05)
            due = max(due + 1 / self._rate, time.monotonic() - BEHIND_S)
            yield due

    def _may_send(self, draft: Draft) -> bool:
        return draft.id not in self._in_flight and len(self._in_flight) < IN_FLIGHT

    def _record(self, draft: Draft) -> Record:
        event_ms = self._event_ms(draft)
        self._latest[draft.id] = max(event_ms, self._latest.get(draft.id, 0))
        if draft.kind in ("grey", "deleted"):
            self._newest[draft.id] = max(event_ms, self._newest.get(draft.id, 0))
        return make_record(draft, event_ms, self._slow_image_url)

    def _event_ms(self, draft: Draft) -> int:
        newest = self._newest.get(draft.id)
        if newest is None or draft.timing == "newer":
            return max(_now_ms(), self._latest.get(draft.id, 0) + 1)
        return newest if draft.timing == "equal" else newest - 1 - draft.salt % 3_600_000

    def _send(self, record: Record) -> None:
        """Hand a record over; while no broker answers there may be no room or no metadata for it."""
        self._in_flight.add(record.draft.id)
        producer = self._producer
        while True:
            try:
                sent = producer.send(self._topic, record.value, record.key, list(record.headers))
            except KafkaError as error:
                log.warning("not sent, tried again: %s", error)
                time.sleep(0.1)
                continue
            sent.add_callback(lambda where: self._answers.put((record, producer, where)))
            sent.add_errback(lambda error: self._answers.put((record, producer, error)))
            return

    def _collect(self, ledger: TextIO, *, wait_s: float) -> None:
        """Write down what was acknowledged; wait so long for the first answer."""
        try:
            answer = self._answers.get(timeout=wait_s)
            while True:
                self._take(ledger, *answer)
                answer = self._answers.get_nowait()
        except Empty:
            ledger.flush()

    def _take(self, ledger: TextIO, record: Record, producer: KafkaProducer, answer: Any) -> None:
        if isinstance(answer, BaseException):
            log.warning("%s was not acknowledged, sent again: %s", record.draft.id, answer)
            if producer is self._producer:  # one that failed for good would fail for ever
                self._close()
                self._producer = self._new_producer()
            self._send(record)
            return
        ledger.write(record.acknowledged(answer.partition, answer.offset).to_json() + "\n")
        self._in_flight.discard(record.draft.id)
        self._acknowledged += 1

    def _new_producer(self) -> KafkaProducer:
        return KafkaProducer(
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            allow_auto_create_topics=False,
            linger_ms=2,
            request_timeout_ms=5000,
            reconnect_backoff_max_ms=500,
            # The client itself repeats a batch under its sequence number, so that the broker keeps one copy.
            delivery_timeout_ms=3_600_000,
            max_block_ms=5000,
        )

    def _close(self) -> None:
        self._producer._sender.force_close()  # without it a broker that is away is waited for
        with suppress(KafkaError):
            self._producer.close(timeout=2.0)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
