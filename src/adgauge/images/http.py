"""Pictures over http and https, from hosts that nobody vouches for.

Every resolved address is checked and the checked one is connected to, again wherever a redirect leads;
time and bytes are bounded as a whole. No cookies, no credentials, and no proxy but the operator's own.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from urllib.parse import urljoin

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.connections import Connections, origin_of, proxy_address, tls_context
from adgauge.images.fetched import Body, Fetched, Trace, untold
from adgauge.images.freshness import conditions, fresh_until_ms, may_store, retry_after_s, validators_of
from adgauge.images.guard import HostLists, Network, Target, check_addresses, is_allowed, target_of
from adgauge.images.large_bodies import LargeBodies
from adgauge.images.messages import Head, read_body, read_head
from adgauge.images.resolving import Names, Resolver, resolve
from adgauge.images.wire import Deadline, NoAnswer, Wire
from adgauge.records import Unchanged, Validators

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STATUS_REASONS = {
    404: ImageReason.NOT_FOUND,
    410: ImageReason.NOT_FOUND,
    408: ImageReason.SERVER_ERROR,
    425: ImageReason.SERVER_ERROR,
    429: ImageReason.RATE_LIMITED,
}
_THAT_PASS = frozenset({ImageReason.RATE_LIMITED, ImageReason.SERVER_ERROR})
_STOOD_STILL_S = 1.0  # a time limit is noticed within milliseconds, unless the machine or container is frozen
_LARGE_AT_ONCE = 8
_LARGE_PER_HOST = 3
_DRAINED_BYTES = 1 << 14
_DRAINED_S = 0.25
_SHA256_DIGITS = 32


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """What one attempt may cost and where it may go.

    `timeout_s` bounds it, redirects included. `allowed_networks` are not public but may be fetched from,
    such as a picture server of one's own; `ca_file` verifies it. `ports` are those of URLs. Lists of hosts
    hold names and `*.domain`; an empty `allowed_hosts` allows all, `denied_hosts` wins. `proxy` is
    `http://host:port`; addresses are checked here and it is told to connect to a checked one.
    `idle_connections` are kept open.
    """

    timeout_s: float = 10.0
    max_redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    allowed_networks: tuple[Network, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    denied_hosts: tuple[str, ...] = ()
    ca_file: Path | None = None
    proxy: str | None = None
    idle_connections: int = 64
    user_agent: str = "adgauge (catalog picture fetcher)"


@dataclass(frozen=True, slots=True)
class Answer:
    """What an attempt brought: `body` is None where the server says that it is the known one."""

    body: bytes | None
    validators: Validators
    may_store: bool


class HttpSource:
    """Fetches http(s) URLs; implements `fetched.Source`. Called from several threads at once."""

    def __init__(
        self,
        policy: HttpPolicy,
        schemes: Collection[str],
        max_bytes: int,
        resolver: Resolver = resolve,
        clock: Callable[[], float] = time.monotonic,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        *,
        are_many: Callable[[], bool] = lambda: False,
    ) -> None:
        """While `are_many()` bodies wait elsewhere no large one is read."""
        self._policy = policy
        self._schemes = frozenset(schemes)
        self._max_bytes = max_bytes
        self._clock = clock
        self._clock_ms = clock_ms
        self._hosts = HostLists(policy.allowed_hosts, policy.denied_hosts)
        self._proxy = proxy_address(policy.proxy)
        self._names = Names(resolver, clock)
        self._connections = Connections(tls_context(policy.ca_file), policy.idle_connections, clock=clock)
        self._large = LargeBodies(_LARGE_AT_ONCE, _LARGE_PER_HOST, are_many)
        if not policy.user_agent.isascii() or not policy.user_agent.isprintable():
            raise ConfigurationError("the user agent must be printable ASCII")
        self._headers = (
            "Accept: image/jpeg, image/png, image/webp, image/gif, image/bmp, image/tiff\r\n"
            f"Accept-Encoding: identity\r\nUser-Agent: {policy.user_agent}\r\n"
        )

    def fetch(self, url: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """The body behind a URL, or `Unchanged` where it is the known one; raises ImageError."""
        answer = self.get(url, known, trace)
        if answer.body is None or (known is not None and known.sha256 == answer.validators.sha256):
            return Unchanged(answer.validators)
        return Body(answer.body, answer.validators)

    def get(self, url: str, known: Validators | None = None, trace: Trace = untold) -> Answer:
        """One attempt; raises ImageError."""
        deadline = Deadline(self._clock, self._policy.timeout_s)
        try:
            return self._follow(url, known, deadline, trace)
        except ImageError as exc:
            # Noticed so late, it was this process that stood still, and the host is not to blame.
            if exc.reason is not ImageReason.TIMEOUT or deadline.late_s() < _STOOD_STILL_S:
                raise
        return self._follow(url, known, Deadline(self._clock, self._policy.timeout_s), trace)

    def target(self, url: str) -> Target:
        """The request that a URL stands for; raises ImageError when it must not be made."""
        target = target_of(url, self._schemes, self._policy.ports)
        self._hosts.check(target.host)
        return target

    def close(self) -> None:
        """Stop resolving and close idle connections. Never raises."""
        self._names.close()
        self._connections.close()

    def _follow(self, url: str, known: Validators | None, deadline: Deadline, trace: Trace) -> Answer:
        """The answer at the end of redirects. Only the server that gave a validator is asked about it."""
        seen = [url]
        while True:
            hop = seen[-1]
            target = self.target(hop)
            trace("url", f"{target.scheme}://{target.authority}{target.path}")
            asked = known if known is not None and hop == (known.location or url) else None
            answer = self._ask(target, asked, deadline, trace)
            if not isinstance(answer, str):
                return answer if len(seen) == 1 else _redirected(answer, hop)
            seen.append(_joined(hop, answer))
            trace("redirect", seen[-1])
            if seen[-1] in seen[:-1]:
                raise ImageError(ImageReason.HTTP_ERROR, "redirects go in a circle")
            if len(seen) > self._policy.max_redirects + 1:
                raise ImageError(ImageReason.HTTP_ERROR, f"more than {self._policy.max_redirects} redirects")

    def _ask(
        self, target: Target, known: Validators | None, deadline: Deadline, trace: Trace
    ) -> Answer | str:
        """The answer, or where a redirect points to."""
        try:
            if wire := self._connections.take(origin_of(target)):
                trace("connect", "an open connection is used again")
                wire.deadline = deadline
                try:
                    return self._exchange(wire, target, known, trace)
                except NoAnswer:  # it was closed for having been idle (RFC 9112, 9.3.1)
                    trace("connect", "the server had closed it")
            return self._exchange(self._connect(target, deadline, trace), target, known, trace)
        except TimeoutError as exc:
            raise ImageError(ImageReason.TIMEOUT, f"{target.host}: {exc}") from exc
        except ssl.SSLError as exc:
            raise ImageError(ImageReason.TLS, f"{target.host}: {_words(exc)}") from exc
        except OSError as exc:
            raise ImageError(ImageReason.CONNECTION, f"{target.host}: {_words(exc)}") from exc

    def _connect(self, target: Target, deadline: Deadline, trace: Trace) -> Wire:
        addresses = self._names.addresses(target.host, target.port, deadline)
        allowed = self._policy.allowed_networks
        if trace is not untold:
            for address in addresses:
                trace(
                    "resolve", f"{address} {'may' if is_allowed(address, allowed) else 'must not'} be asked"
                )
        check_addresses(addresses, allowed)
        if self._proxy is None:
            return self._connections.open(target, addresses, deadline, trace)
        proxy = self._proxy_addresses(*self._proxy, deadline)
        return self._connections.open_through(proxy, target, addresses[0], deadline, trace)

    def _proxy_addresses(self, host: str, port: int, deadline: Deadline) -> Sequence[tuple[str, int]]:
        try:
            return [(address, port) for address in self._names.addresses(host, port, deadline)]
        except ImageError as exc:
            raise ImageError(ImageReason.CONNECTION, f"the proxy: {exc.detail}") from exc

    def _exchange(self, wire: Wire, target: Target, known: Validators | None, trace: Trace) -> Answer | str:
        """One request and its answer. The connection is kept only if the answer was read to its end."""
        whole = False
        try:
            asked_ms = self._clock_ms()
            request = self._request(target, known)
            trace("request", f"GET {target.path}{' with conditions' if known is not None else ''}")
            wire.send(request)
            head = read_head(wire)
            trace("status", str(head.status))
            if head.status == 200:
                answer = self._body(wire, head, asked_ms)
                whole = True
                trace("body", f"{len(answer.body or b'')} bytes, {head.headers.get('content-type', '')[:80]}")
                return answer
            whole = self._drained(wire, head)
            return self._without_body(head, known, asked_ms)
        finally:
            if whole and head.lasting:
                self._connections.keep(wire)
            else:
                wire.close()

    def _request(self, target: Target, known: Validators | None) -> bytes:
        lines = [f"GET {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n", self._headers]
        if known is not None:
            lines += [f"{name}: {value}\r\n" for name, value in conditions(known)]
        return ("".join(lines) + "\r\n").encode("latin-1")

    def _body(self, wire: Wire, head: Head, asked_ms: int) -> Answer:
        encoding = head.headers.get("content-encoding", "identity")
        if encoding.lower() not in ("", "identity"):
            detail = f"content encoding {encoding[:40]!r} was not asked for"
            raise ImageError(ImageReason.HTTP_ERROR, detail)
        room = partial(self._large.room, wire.origin.host, wire.deadline)
        body = read_body(wire, head, self._max_bytes, room)
        digest = sha256(body).hexdigest()[:_SHA256_DIGITS]
        validators = validators_of(head.headers, digest, fresh_until_ms(head.headers, asked_ms), "")
        return Answer(body, validators, may_store(head.headers))

    def _without_body(self, head: Head, known: Validators | None, asked_ms: int) -> Answer | str:
        if head.status in _REDIRECTS and (location := head.headers.get("location")):
            return location
        if head.status == 304 and known is not None and conditions(known):
            return Answer(None, _refreshed(known, head, asked_ms), may_store(head.headers))
        reason = ImageReason.SERVER_ERROR if head.status >= 500 else ImageReason.HTTP_ERROR
        reason = _STATUS_REASONS.get(head.status, reason)
        wait = retry_after_s(head.headers, self._clock_ms())
        raise ImageError(reason, f"HTTP {head.status}", wait if reason in _THAT_PASS else 0.0)

    def _drained(self, wire: Wire, head: Head) -> bool:
        """Whether the rest of an answer that nobody wants was short, and quick enough to come."""
        if not head.lasting:
            return False
        try:
            wire.deadline = wire.deadline.within(_DRAINED_S)
            read_body(wire, head, _DRAINED_BYTES, nullcontext)
        except (OSError, ImageError):
            return False
        return True


def _refreshed(known: Validators, head: Head, asked_ms: int) -> Validators:
    """What a 304 says anew replaces what was known (RFC 9111, 4.3.4)."""
    latest = validators_of(head.headers, known.sha256, fresh_until_ms(head.headers, asked_ms), "")
    return replace(
        latest,
        etag=latest.etag or known.etag,
        last_modified=latest.last_modified or known.last_modified,
    )


def _redirected(answer: Answer, location: str) -> Answer:
    """Where it led to says nothing about where the redirect leads the next time: always ask."""
    return replace(answer, validators=replace(answer.validators, location=location, fresh_until_ms=0))


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, _as_utf8(location))
    except ValueError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"redirected to no URL: {exc}") from exc


def _as_utf8(location: str) -> str:
    """Servers send UTF-8 in this header, and headers are read as Latin-1."""
    try:
        return location.encode("latin-1").decode()
    except UnicodeDecodeError:
        return location


def _words(exc: OSError) -> str:
    return str(exc)[:200] or type(exc).__name__
