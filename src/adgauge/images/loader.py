"""References → canonical pictures: fetched by threads, decoded by processes."""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Lock

from adgauge.canonical.image import DecodeLimits, ImageError
from adgauge.contract import ImageSpec
from adgauge.errors import BackendUnavailable
from adgauge.images.cached import CachedHttp
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.fetched import Body, Fetched
from adgauge.images.hosts import Hosts, Manners
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.http_cache import HttpCache
from adgauge.images.objects import ObjectStores
from adgauge.images.sources import Sources, host_of
from adgauge.records import ImageMissing, Loaded, Picture, Wanted
from adgauge.telemetry.metrics import Metrics

CLOSED = ImageMissing("timeout", "the loader was closed")


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
        self._sources = sources_of(places, max_bytes, metrics, disk)
        orders = Orders(spec, decoding.limits, decoding.seconds, decoding.memory_bytes)
        self._decoders = DecoderPool(decoding.processes, orders)
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
        self._decoders.close()

    def _begin(self, wanted: Wanted) -> Future[Loaded]:
        with self._lock:
            if (running := self._in_flight.get(wanted)) is not None:
                return running
            loaded = self._in_flight[wanted] = Future()
        loaded.add_done_callback(partial(self._done, wanted))
        try:
            at_hand = self._sources.at_hand(wanted.reference, wanted.known)
        except ImageError as exc:
            loaded.set_result(ImageMissing(exc.reason, exc.detail))
            return loaded
        if at_hand is not None and not isinstance(at_hand, Body):
            loaded.set_result(at_hand)
            return loaded
        if at_hand is not None:
            fetched = self._hosts.submit(None, lambda: at_hand)
        else:
            attempt = partial(self._sources.fetch, wanted.reference, wanted.known)
            fetched = self._hosts.submit(host_of(wanted.reference), attempt)
        fetched.add_done_callback(partial(self._finish, loaded))
        return loaded

    def _done(self, wanted: Wanted, _: Future[Loaded]) -> None:
        with self._lock:
            del self._in_flight[wanted]

    def _finish(self, loaded: Future[Loaded], fetched: Future[Fetched]) -> None:
        """On the thread that fetched: it decodes as well, so that bodies wait where there is a thread."""
        try:
            answer = fetched.result()
            loaded.set_result(self._decoded(answer) if isinstance(answer, Body) else answer)
        except ImageError as exc:
            loaded.set_result(ImageMissing(exc.reason, exc.detail))
        except CancelledError:
            loaded.set_result(CLOSED)
        except BaseException as exc:  # handed to whoever waits for the result
            loaded.set_exception(exc)

    def _decoded(self, body: Body) -> Loaded:
        result = self._decoders.decode(body.data)
        return result if isinstance(result, ImageMissing) else Picture(result, body.validators)


def sources_of(places: Places, max_bytes: int, metrics: Metrics, disk: Disk | None) -> Sources:
    """The sources of all schemes; raises ConfigurationError."""
    http = CachedHttp(
        HttpSource(places.http, places.schemes, max_bytes),
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
