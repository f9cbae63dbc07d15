"""References → canonical pictures: fetched by threads, decoded by processes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Condition, Lock

from adgauge.canonical.image import DecodeLimits, ImageError
from adgauge.contract import ImageSpec
from adgauge.errors import BackendUnavailable
from adgauge.images.cached import CachedHttp
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.fetched import Body, Fetched
from adgauge.images.hosts import CLOSED, Hosts, Manners
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.http_cache import HttpCache
from adgauge.images.objects import ObjectStores
from adgauge.images.sources import Sources, host_of
from adgauge.records import ImageMissing, Loaded, Picture, Wanted
from adgauge.telemetry.metrics import Metrics

WAITING_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Places:
    """Where pictures may come from: `schemes` of https, http, file, data, s3, gs; `roots` are the folders
    that `file:` URLs and bare paths may lead to, `buckets` the object stores' part that may be read.
    """

    schemes: Collection[str]
    roots: Sequence[Path] = ()
    buckets: Sequence[str] = ()
    http: HttpPolicy = field(default_factory=HttpPolicy)


@dataclass(frozen=True, slots=True)
class Disk:
    """Where bodies are kept for a next time, and how many bytes of them."""

    folder: Path
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Decoding:
    """How many pictures are decoded at once, and what one may take."""

    processes: int = 2
    seconds: float = 5.0
    memory_bytes: int = 448 * 2**20
    limits: DecodeLimits = field(default_factory=DecodeLimits)


class ImageLoader:
    """Implements `ports.Images`: hosts are asked by `Hosts`, bodies are kept on `disk` where one is given, a
    pool of processes decodes. Raises ConfigurationError for places that cannot be used.
    """

    def __init__(
        self,
        spec: ImageSpec,
        places: Places,
        metrics: Metrics,
        *,
        manners: Manners | None = None,
        disk: Disk | None = None,
        decoding: Decoding | None = None,
    ) -> None:
        decoding = decoding or Decoding()
        max_bytes = decoding.limits.max_bytes
        self._metrics = metrics
        self._bodies = Bodies(WAITING_BYTES)
        self._sources = sources_of(places, max_bytes, metrics, disk, self._bodies.are_many)
        orders = Orders(spec, decoding.limits, decoding.seconds, decoding.memory_bytes)
        self._decoders = DecoderPool(decoding.processes, orders)
        # In the order in which they came: a record must not wait for those behind it.
        self._decoding = ThreadPoolExecutor(decoding.processes, thread_name_prefix="decode")
        self._hosts: Hosts[Fetched] = Hosts(manners or Manners(), metrics, random.random)
        self._lock = Lock()
        self._in_flight: dict[Wanted, Future[Loaded]] = {}

    def begin(self, wanted: Sequence[Wanted]) -> Sequence[Future[Loaded]]:
        """See `ports.Images`. What is wanted twice at a time is fetched once."""
        if (why := self._hosts.why_away()) is not None:
            raise BackendUnavailable("images", why)
        return [self._begin(each) for each in wanted]

    def held(self) -> int:
        """See `ports.Images`."""
        return self._hosts.held()

    def close(self) -> None:
        """Stop the pools. Never raises."""
        self._hosts.close()
        self._sources.close()
        self._decoding.shutdown(wait=True)
        self._decoders.close()

    def _begin(self, wanted: Wanted) -> Future[Loaded]:
        with self._lock:
            if (running := self._in_flight.get(wanted)) is not None:
                return running
            loaded = self._in_flight[wanted] = Future()
        loaded.add_done_callback(partial(self._done, wanted))
        try:
            at_hand = self._sources.at_hand(wanted.reference, wanted.known)
            if at_hand is not None and not isinstance(at_hand, Body):
                loaded.set_result(at_hand)
                return loaded
            fetched = self._fetched(wanted, at_hand)
        except ImageError as exc:
            loaded.set_result(ImageMissing(exc.reason, exc.detail))
            return loaded
        except BaseException as exc:
            loaded.set_exception(exc)
            raise
        fetched.add_done_callback(partial(self._finish, wanted.reference, loaded))
        return loaded

    def _fetched(self, wanted: Wanted, at_hand: Fetched | None) -> Future[Fetched]:
        if at_hand is not None:
            return self._hosts.submit(None, lambda: at_hand)
        attempt = partial(self._sources.fetch, wanted.reference, wanted.known)
        return self._hosts.submit(host_of(wanted.reference), attempt)

    def _done(self, wanted: Wanted, _: Future[Loaded]) -> None:
        with self._lock:
            del self._in_flight[wanted]

    def _finish(self, reference: str, loaded: Future[Loaded], fetched: Future[Fetched]) -> None:
        """On the thread that fetched, which waits here while too many bodies wait to be decoded."""
        try:
            answer = fetched.result()
            if isinstance(answer, Body):
                self._bodies.add(len(answer.data))
                self._decoding.submit(self._decode, reference, loaded, answer)
            else:
                loaded.set_result(answer)
        except ImageError as exc:
            loaded.set_result(ImageMissing(exc.reason, exc.detail))
        except CancelledError:
            loaded.set_exception(CLOSED)
        except BaseException as exc:  # handed to whoever waits for the result
            loaded.set_exception(exc)

    def _decode(self, reference: str, loaded: Future[Loaded], body: Body) -> None:
        try:
            result = self._decoders.decode(body.data)
            if isinstance(result, ImageMissing):
                self._sources.forget(reference)  # an error page must not be believed for as long as it says
            loaded.set_result(
                result if isinstance(result, ImageMissing) else Picture(result, body.validators)
            )
        except BaseException as exc:  # handed to whoever waits for the result
            loaded.set_exception(exc)
        finally:
            self._bodies.remove(len(body.data))


class Bodies:
    """The bodies that wait to be decoded: at most so many bytes, and one more of each thread that adds."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._changed = Condition()

    def are_many(self) -> bool:
        """Whether no large one should be read now."""
        return self._bytes > self._max_bytes

    def add(self, size: int) -> None:
        """Returns when there is room."""
        with self._changed:
            self._changed.wait_for(lambda: self._bytes <= self._max_bytes)
            self._bytes += size

    def remove(self, size: int) -> None:
        """One was decoded."""
        with self._changed:
            self._bytes -= size
            self._changed.notify_all()


def sources_of(
    places: Places,
    max_bytes: int,
    metrics: Metrics,
    disk: Disk | None,
    are_many: Callable[[], bool] = lambda: False,
) -> Sources:
    """The sources of all schemes; raises ConfigurationError. `are_many()`: no large body should come now."""
    http = CachedHttp(
        HttpSource(places.http, places.schemes, max_bytes, are_many=are_many),
        HttpCache(disk.folder, disk.max_bytes, _now_ms) if disk is not None else None,
        count=lambda how: metrics.image_answers.labels(how).inc(),
        count_bytes=metrics.image_bytes.inc,
    )
    objects: ObjectStores | None = None
    if {"s3", "gs"} & set(places.schemes):
        objects = ObjectStores(places.buckets, max_bytes, places.http.timeout_s)
    return Sources(places.schemes, places.roots, http, objects, max_bytes)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
