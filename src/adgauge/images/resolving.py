"""Names → addresses, within the time that is left."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.wire import Deadline

Resolver = Callable[[str, int], Sequence[str]]

_THREADS = 16
_REMEMBERED_S = 30.0
_REMEMBERED_HOSTS = 1000
_FAIR_S = 1.0
_STOOD_STILL_S = 1.0


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, as the system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Names:
    """Resolves host names. Called from several threads at once.

    A name that has no address, or is not resolved in time, is answered from memory for half a minute: a
    resolver may need seconds to find nothing, and a catalog names one dead host again and again.
    """

    def __init__(
        self,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
        threads: int = 32,
    ) -> None:
        self._resolve = resolver
        self._clock = clock
        # The system's resolver takes no time limit, so it waits where it can be left behind.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="resolve")
        self._failed: dict[str, tuple[float, ImageReason]] = {}

    def addresses(self, host: str, port: int, deadline: Deadline) -> Sequence[str]:
        """At least one address, not checked; raises ImageError."""
        until, reason = self._failed.get(host, (0.0, ImageReason.UNRESOLVED))
        if self._clock() < until:
            raise ImageError(reason, f"{host} did not resolve a moment ago")
        try:
            future = self._threads.submit(self._resolve, host, port)
        except RuntimeError as exc:
            raise ImageError(ImageReason.CONNECTION, "closed meanwhile") from exc
        return self._awaited(future, host, deadline)

    def close(self) -> None:
        """Stop resolving. Never raises."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _awaited(self, future: Future[Sequence[str]], host: str, deadline: Deadline) -> Sequence[str]:
        left = deadline.left()
        try:
            addresses = future.result(timeout=left)
        except TimeoutError as exc:
            # Busy resolvers, little time and a process that stood still say nothing about the name.
            asked = not future.cancel()
            if asked and left > _FAIR_S and deadline.late_s() < _STOOD_STILL_S:
                self._remember(host, ImageReason.TIMEOUT)
            raise ImageError(ImageReason.TIMEOUT, f"{host} took too long to resolve") from exc
        except (OSError, UnicodeError) as exc:
            self._remember(host, ImageReason.UNRESOLVED)
            raise ImageError(ImageReason.UNRESOLVED, f"{host}: {exc}") from exc
        if not addresses:
            self._remember(host, ImageReason.UNRESOLVED)
            raise ImageError(ImageReason.UNRESOLVED, f"{host} has no address")
        return addresses

    def _remember(self, host: str, reason: ImageReason) -> None:
        if len(self._failed) >= _REMEMBERED_HOSTS:
            self._failed.clear()
        self._failed[host] = (self._clock() + _REMEMBERED_S, reason)
