"""References → canonical pictures: fetched by threads, decoded by processes."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Lock

from adgauge.canonical.image import DecodeLimits, ImageError
from adgauge.contract import ImageSpec
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.sources import Sources, host_of
from adgauge.records import ImageMissing, ImageResult


@dataclass(frozen=True, slots=True)
class Pools:
    """How much is done at once, and what decoding one picture may take."""

    fetch_threads: int = 16
    per_host: int = 4
    decoders: int = 2
    decode_seconds: float = 5.0
    decode_memory_bytes: int = 448 * 2**20


class ImageLoader:
    """Implements `ports.Images`: a bounded pool of fetching threads in front of a pool of decoders.

    `roots` are the folders that `file:` URLs and bare paths may lead to; `schemes` are the allowed ones
    of https, http, file and data.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        schemes: Collection[str],
        roots: Sequence[Path] = (),
        limits: DecodeLimits | None = None,
        http: HttpPolicy | None = None,
        pools: Pools | None = None,
    ) -> None:
        limits, pools = limits or DecodeLimits(), pools or Pools()
        self._http = HttpSource(http or HttpPolicy(), schemes, limits.max_bytes)
        self._sources = Sources(schemes, roots, self._http, limits.max_bytes)
        orders = Orders(spec, limits, pools.decode_seconds, pools.decode_memory_bytes)
        self._decoders = DecoderPool(pools.decoders, orders)
        self._fetchers = HostPool(pools.fetch_threads, pools.per_host)

    def load(self, references: Sequence[Sequence[str]]) -> Sequence[Sequence[ImageResult]]:
        """For each product, for each of its references, the picture or why there is none.

        A reference that several products share is fetched once. Raises BackendUnavailable when no
        decoder can be started, never for a picture.
        """
        distinct = dict.fromkeys(chain.from_iterable(references))
        pending = {
            reference: self._fetchers.submit(host_of(reference), partial(self._picture, reference))
            for reference in distinct
        }
        return [[pending[reference].result() for reference in product] for product in references]

    def close(self) -> None:
        """Stop the pools. Never raises."""
        self._fetchers.close()
        self._http.close()
        self._decoders.close()

    def _picture(self, reference: str) -> ImageResult:
        try:
            return self._decoders.decode(self._sources.fetch(reference))
        except ImageError as exc:
            return ImageMissing(exc.reason, exc.detail)


Call = Callable[[], ImageResult]


class HostPool:
    """Threads that work for many hosts, at most `per_host` at once for one: calls that wait for a slow host
    wait in its own queue and occupy no thread.
    """

    def __init__(self, threads: int, per_host: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="fetch")
        self._per_host = per_host
        self._lock = Lock()
        self._running: Counter[str] = Counter()
        self._waiting: dict[str, deque[tuple[Future[ImageResult], Call]]] = {}

    def submit(self, host: str | None, call: Call) -> Future[ImageResult]:
        """Run `call` when the host has a free slot; `None` is no host and has no limit of its own."""
        if host is None:
            return self._executor.submit(call)
        future: Future[ImageResult] = Future()
        with self._lock:
            if self._running[host] >= self._per_host:
                self._waiting.setdefault(host, deque()).append((future, call))
                return future
            self._running[host] += 1
        self._executor.submit(self._run, host, future, call)
        return future

    def close(self) -> None:
        """Finish what runs and cancel what waits."""
        with self._lock:
            for future, _ in chain.from_iterable(self._waiting.values()):
                future.cancel()
            self._waiting.clear()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, host: str, future: Future[ImageResult], call: Call) -> None:
        try:
            future.set_result(call())
        except BaseException as exc:  # handed to whoever waits for the result
            future.set_exception(exc)
        with self._lock:
            if following := self._following(host):
                self._executor.submit(self._run, host, *following)

    def _following(self, host: str) -> tuple[Future[ImageResult], Call] | None:
        """The host's next call, which takes over the slot; without one the slot is free."""
        if waiting := self._waiting.get(host):
            following = waiting.popleft()
            if not waiting:
                del self._waiting[host]
            return following
        self._running[host] -= 1
        if not self._running[host]:
            del self._running[host]
        return None
