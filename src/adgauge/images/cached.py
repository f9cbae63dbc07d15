"""Pictures over http, asked for again only where that may bring something new."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from adgauge.canonical.image import TRANSIENT, ImageError, ImageReason
from adgauge.images.fetched import Body, Fetched, Trace, untold
from adgauge.images.http import Answer, HttpSource
from adgauge.images.http_cache import HttpCache, url_key
from adgauge.records import Unchanged, Validators

NEGATIVE_S = 60.0
_NEGATIVE_URLS = 10_000
_DETAIL_CHARS = 200


def uncounted(event: str) -> None:
    """The counter of those who do not care."""


def unmeasured(received: int) -> None:
    """The same for bytes."""


class CachedHttp:
    """Implements `fetched.Source` over an HttpSource, with a cache on disk where one is given.

    `count` is called with what became of a reference: fresh, not_modified, same_bytes, downloaded,
    negative; `count_bytes` with the size of each body that came over the network. Failures that do not
    pass by themselves are answered from memory for a minute. Called from several threads at once; closes
    what it was given.
    """

    def __init__(
        self,
        http: HttpSource,
        cache: HttpCache | None = None,
        *,
        count: Callable[[str], None] = uncounted,
        count_bytes: Callable[[int], None] = unmeasured,
        clock: Callable[[], float] = time.monotonic,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._http = http
        self._cache = cache
        self._count = count
        self._count_bytes = count_bytes
        self._clock_ms = clock_ms
        self._failures = _Failures(clock)

    def fetch(self, reference: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """The bytes, or `Unchanged` where `known` was given and still holds; raises ImageError."""
        at_hand = self.at_hand(reference, known, trace)
        return self.ask(reference, known, trace) if at_hand is None else at_hand

    def at_hand(
        self, reference: str, known: Validators | None = None, trace: Trace = untold
    ) -> Fetched | None:
        """The answer that needs no network, else None. Raises the ImageError of a moment ago, or that of a
        URL which must not be asked for, whatever is known of it.
        """
        self._http.target(reference)
        if (failed := self._failures.of(reference)) is not None:
            self._count("negative")
            trace("memory", f"failed a moment ago: {failed}")
            raise failed
        return self._fresh(reference, known, trace)

    def ask(self, reference: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """The host's answer; raises ImageError."""
        try:
            return self._ask(reference, known, trace)
        except ImageError as exc:
            self._failures.remember(reference, exc)
            raise

    def forget(self, reference: str) -> None:
        """Keep no body of it on disk. Never raises."""
        if self._cache is not None:
            self._cache.remove(reference)

    def close(self) -> None:
        """Never raises."""
        self._http.close()
        if self._cache is not None:
            self._cache.close()

    def _fresh(self, url: str, known: Validators | None, trace: Trace) -> Fetched | None:
        for each in (known, self._stored(url)):
            if each is None or self._clock_ms() >= each.fresh_until_ms:
                continue
            if kept := self._kept(url, each, known):
                self._count("fresh")
                trace("cache", f"fresh for {(each.fresh_until_ms - self._clock_ms()) / 1000:.0f} s")
                return kept
        return None

    def _stored(self, url: str) -> Validators | None:
        return self._cache.validators(url) if self._cache is not None else None

    def _ask(self, url: str, known: Validators | None, trace: Trace) -> Fetched:
        asked = _more_telling(known, self._stored(url))
        answer = self._http.get(url, asked, trace)
        if answer.body is not None:
            return self._received(url, answer, answer.body, known)
        if kept := self._confirmed(url, answer, known):
            self._count("not_modified")
            return kept
        answer = self._http.get(url, None, trace)  # the body that was confirmed is gone from the disk
        return self._received(url, answer, answer.body or b"", known)

    def _confirmed(self, url: str, answer: Answer, known: Validators | None) -> Fetched | None:
        if self._cache is not None and answer.may_store:
            self._cache.refresh(url, answer.validators)
        return self._kept(url, answer.validators, known)

    def _kept(self, url: str, validators: Validators, known: Validators | None) -> Fetched | None:
        """The answer that needs no body from the network: none at all, or one from the disk."""
        if known is not None and known.sha256 == validators.sha256:
            return Unchanged(validators)
        entry = self._cache.get(url) if self._cache is not None else None
        if entry is None or entry.validators.sha256 != validators.sha256:
            return None
        return Body(entry.data, validators)

    def _received(self, url: str, answer: Answer, body: bytes, known: Validators | None) -> Fetched:
        self._count_bytes(len(body))
        if self._cache is not None:
            if answer.may_store:
                self._cache.put(url, body, answer.validators)
            else:
                self._cache.remove(url)
        if known is not None and known.sha256 == answer.validators.sha256:
            self._count("same_bytes")
            return Unchanged(answer.validators)
        self._count("downloaded")
        return Body(body, answer.validators)


def _more_telling(known: Validators | None, stored: Validators | None) -> Validators | None:
    """Which of two to ask with: the caller's may be newer than the disk's, but must say something."""
    if known is not None and (known.etag or known.last_modified or stored is None):
        return known
    return stored


class _Failures:
    """Failures that do not pass by themselves, by URL, each for a minute; the latest ones of too many."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._failed: OrderedDict[bytes, tuple[float, ImageReason, str]] = OrderedDict()

    def of(self, url: str) -> ImageError | None:
        key = url_key(url)
        with self._lock:
            found = self._failed.get(key)
            if found is None:
                return None
            if self._clock() < found[0]:
                self._failed.move_to_end(key)
                return ImageError(found[1], found[2])
            del self._failed[key]
            return None

    def remember(self, url: str, error: ImageError) -> None:
        if error.reason in TRANSIENT:
            return
        with self._lock:
            self._failed[url_key(url)] = (
                self._clock() + NEGATIVE_S,
                error.reason,
                error.detail[:_DETAIL_CHARS],
            )
            if len(self._failed) > _NEGATIVE_URLS:
                self._failed.popitem(last=False)
