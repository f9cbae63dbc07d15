"""Pictures over http and https, from hosts that nobody vouches for.

Every resolved address is checked and the checked one is connected to, again on each redirect; time and
bytes are bounded as a whole. No proxy, no cookies, no credentials, one request a connection.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urljoin

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.guard import Network, Target, check_addresses, target_of

Resolver = Callable[[str, int], Sequence[str]]

_CHUNK = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_RESOLVERS = 4
_UNRESOLVED_S = 30.0
_STOOD_STILL_S = 1.0  # a time limit is noticed within milliseconds, unless the machine or container is frozen
_UNRESOLVED_HOSTS = 1000


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """What a fetch may cost and where it may go.

    `timeout_s` bounds one picture, redirects included. `allowed_networks` are not public but may be fetched
    from, such as a picture server of one's own; `ca_file` verifies it. `ports` are those of URLs.
    """

    timeout_s: float = 10.0
    max_redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    allowed_networks: tuple[Network, ...] = ()
    ca_file: Path | None = None
    user_agent: str = "adgauge (catalog picture fetcher)"


def resolve(host: str, port: int) -> Sequence[str]:
    """All addresses of a host, as the system resolves it."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class HttpSource:
    """Fetches http(s) URLs. Called from several threads at once."""

    def __init__(
        self,
        policy: HttpPolicy,
        schemes: Collection[str],
        max_bytes: int,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._schemes = frozenset(schemes)
        self._max_bytes = max_bytes
        self._resolve = resolver
        self._clock = clock
        self._tls = _tls_context(policy)
        # The system's resolver takes no time limit, so it waits where it can be left behind.
        self._resolving = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="resolve")
        self._unresolved: dict[str, float] = {}

    def fetch(self, url: str) -> bytes:
        """The body behind a URL; raises ImageError."""
        deadline = self._clock() + self._policy.timeout_s
        try:
            return self._fetch(url, deadline)
        except ImageError as exc:
            # Noticed so late, it was this process that stood still, and the host is not to blame.
            if exc.reason is not ImageReason.TIMEOUT or self._clock() - deadline < _STOOD_STILL_S:
                raise
        return self._fetch(url, self._clock() + self._policy.timeout_s)

    def _fetch(self, url: str, deadline: float) -> bytes:
        for _ in range(self._policy.max_redirects + 1):
            target = target_of(url, self._schemes, self._policy.ports)
            answer = self._ask(target, deadline)
            if isinstance(answer, bytes):
                return answer
            url = _redirected(url, answer)
        raise ImageError(ImageReason.HTTP_ERROR, f"more than {self._policy.max_redirects} redirects")

    def close(self) -> None:
        """Stop resolving. Never raises."""
        self._resolving.shutdown(wait=False, cancel_futures=True)

    def _ask(self, target: Target, deadline: float) -> bytes | str:
        """The body, or where a redirect points to."""
        addresses = self._addresses(target, deadline)
        check_addresses(addresses, self._policy.allowed_networks)
        try:
            with _Cutoff(self._connect(target, addresses, deadline), self._left(deadline)) as cutoff:
                if target.scheme == "https":
                    cutoff.sock.settimeout(self._left(deadline))  # bounds the handshake as a whole
                    cutoff.sock = self._tls.wrap_socket(cutoff.sock, server_hostname=target.host)
                answer = self._exchange(target, cutoff.sock)
        except (OSError, HTTPException) as exc:
            self._left(deadline)
            reason = ImageReason.TIMEOUT if isinstance(exc, TimeoutError) else ImageReason.CONNECTION
            raise ImageError(reason, f"{target.host}: {exc or type(exc).__name__}") from exc
        self._left(deadline)  # what was cut off may look complete
        return answer

    def _left(self, deadline: float) -> float:
        left = deadline - self._clock()
        if left <= 0:
            raise ImageError(ImageReason.TIMEOUT, f"not done within {self._policy.timeout_s:g} s")
        return left

    def _addresses(self, target: Target, deadline: float) -> Sequence[str]:
        # A resolver may need seconds to find nothing, and a catalog names one dead host again and again.
        if self._clock() < self._unresolved.get(target.host, 0.0):
            raise ImageError(ImageReason.UNRESOLVED, f"{target.host} had no address a moment ago")
        try:
            return self._resolved(target, deadline)
        except ImageError as exc:
            if exc.reason is ImageReason.UNRESOLVED:
                self._remember_unresolved(target.host)
            raise

    def _remember_unresolved(self, host: str) -> None:
        if len(self._unresolved) >= _UNRESOLVED_HOSTS:
            self._unresolved.clear()
        self._unresolved[host] = self._clock() + _UNRESOLVED_S

    def _resolved(self, target: Target, deadline: float) -> Sequence[str]:
        future = self._resolving.submit(self._resolve, target.host, target.port)
        try:
            addresses = future.result(timeout=self._left(deadline))
        except TimeoutError as exc:
            future.cancel()
            raise ImageError(ImageReason.TIMEOUT, f"{target.host} took too long to resolve") from exc
        except (OSError, UnicodeError) as exc:
            raise ImageError(ImageReason.UNRESOLVED, f"{target.host}: {exc}") from exc
        if not addresses:
            raise ImageError(ImageReason.UNRESOLVED, f"{target.host} has no address")
        return addresses

    def _connect(self, target: Target, addresses: Sequence[str], deadline: float) -> socket.socket:
        """Connected to the first address that answers."""
        for address in addresses[:-1]:
            try:
                return socket.create_connection((address, target.port), self._left(deadline) / 2)
            except OSError:
                continue
        return socket.create_connection((addresses[-1], target.port), self._left(deadline))

    def _exchange(self, target: Target, sock: socket.socket) -> bytes | str:
        connection = HTTPConnection(target.host, target.port)
        connection.auto_open = 0  # it must never resolve and connect by itself
        connection.sock = sock
        headers = {
            "Accept": "image/jpeg, image/png, image/webp, image/gif, image/bmp, image/tiff",
            "Accept-Encoding": "identity",
            "Connection": "close",
            "User-Agent": self._policy.user_agent,
        }
        connection.request("GET", target.path, headers=headers)
        with connection.getresponse() as response:
            if response.status in _REDIRECTS and (location := response.getheader("Location")):
                return location
            _check_head(response, self._max_bytes)
            return _body(response, self._max_bytes)


class _Cutoff:
    """Shuts its socket down when time is up, wherever the peer is dripping: a limit for each read is none."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self.sock = sock
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self.sock.close()

    def _cut(self) -> None:
        try:
            socket.socket.shutdown(self.sock, socket.SHUT_RDWR)  # SSLSocket's own would drop its TLS state
        except OSError:  # closed already
            return


def _check_head(response: HTTPResponse, max_bytes: int) -> None:
    status = response.status
    if status in (404, 410):
        raise ImageError(ImageReason.NOT_FOUND, f"HTTP {status}")
    if status != 200:
        raise ImageError(ImageReason.HTTP_ERROR, f"HTTP {status}")
    encoding = response.getheader("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ImageError(ImageReason.HTTP_ERROR, f"content encoding {encoding[:40]} was not asked for")
    if response.length is not None and response.length > max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"{response.length} bytes; at most {max_bytes}")


def _body(response: HTTPResponse, max_bytes: int) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        body += chunk
        if len(body) > max_bytes:
            raise ImageError(ImageReason.TOO_LARGE, f"more than {max_bytes} bytes")
    if response.length:
        raise IncompleteRead(bytes(body[:1]), response.length)
    return bytes(body)


def _redirected(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"redirected to no URL: {exc}") from exc


def _tls_context(policy: HttpPolicy) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=policy.ca_file)
    except OSError as exc:
        raise ConfigurationError(f"CA file {policy.ca_file}: {exc.strerror or exc}") from exc
