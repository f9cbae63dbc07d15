"""Connections to addresses that were checked, kept alive and used again."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from adgauge.errors import ConfigurationError
from adgauge.images.fetched import Trace, untold
from adgauge.images.guard import Target
from adgauge.images.messages import read_head
from adgauge.images.wire import Deadline, Origin, Wire

_IDLE_S = 15.0


def origin_of(target: Target) -> Origin:
    """Whom a request goes to."""
    return Origin(target.scheme, target.host, target.port)


def proxy_address(url: str | None) -> tuple[str, int] | None:
    """Host and port of the operator's proxy; raises ConfigurationError."""
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        plain = parts.scheme == "http" and "@" not in parts.netloc and parts.path in ("", "/")
        if plain and parts.hostname and parts.port:
            return parts.hostname, parts.port
    except ValueError:
        pass
    raise ConfigurationError("the proxy for pictures must be http://host:port, without credentials")


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Verifies by the system's authorities, or by those in a file; raises ConfigurationError."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except OSError as exc:
        raise ConfigurationError(f"CA file {ca_file}: {exc.strerror or exc}") from exc
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connections:
    """Opens connections and keeps idle ones: at most `idle` in all and `idle_per_host` for one origin, a
    quarter of a minute each. Called from several threads at once.
    """

    def __init__(
        self,
        tls: ssl.SSLContext,
        idle: int = 64,
        idle_per_host: int = 8,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tls = tls
        self._limit = idle
        self._limit_per_host = idle_per_host
        self._clock = clock
        self._lock = Lock()
        self._idle: list[Wire] | None = []  # the one idle longest first; None: closed

    def take(self, origin: Origin) -> Wire | None:
        """An idle connection to the origin, if there is one that still seems good."""
        while wire := self._taken(origin):
            if wire.is_quiet():
                return wire
            wire.close()
        return None

    def keep(self, wire: Wire) -> None:
        """Take a connection whose last answer was read to its end."""
        wire.idle_since = self._clock()
        with self._lock:
            if self._idle is None:
                dropped = [wire]
            else:
                self._idle.append(wire)
                dropped = self._too_many(wire.origin)
        for each in dropped:
            each.close()

    def close(self) -> None:
        """Close what is idle; what is in use is closed by its user. Never raises."""
        with self._lock:
            idle, self._idle = self._idle or [], None
        for wire in idle:
            wire.close()

    def open(self, target: Target, addresses: Sequence[str], deadline: Deadline, trace: Trace) -> Wire:
        """A new connection to the first address that answers; raises OSError."""
        sock = _first_that_answers([(address, target.port) for address in addresses], deadline)
        trace("connect", f"{sock.getpeername()[0]} port {target.port}")
        return self._secured(Wire(sock, origin_of(target), deadline), target, trace)

    def open_through(
        self, proxy: Sequence[tuple[str, int]], target: Target, address: str, deadline: Deadline, trace: Trace
    ) -> Wire:
        """A new connection to the address through a proxy's tunnel; raises OSError and ImageError."""
        wire = Wire(_first_that_answers(proxy, deadline), origin_of(target), deadline)
        try:
            _tunnel(wire, address, target.port)
        except BaseException:
            wire.close()
            raise
        trace("connect", f"{address} port {target.port} through the proxy")
        return self._secured(wire, target, trace)

    def _secured(self, wire: Wire, target: Target, trace: Trace) -> Wire:
        if target.scheme != "https":
            return wire
        try:
            wire.sock.settimeout(wire.deadline.left())  # bounds the handshake as a whole
            secured = self._tls.wrap_socket(wire.sock, server_hostname=target.host)
        except BaseException:
            wire.close()
            raise
        if trace is not untold:
            trace("tls", _described(secured))
        wire.sock = secured
        return wire

    def _taken(self, origin: Origin) -> Wire | None:
        with self._lock:
            idle = self._idle or []
            for at in range(len(idle) - 1, -1, -1):
                if idle[at].origin == origin:
                    wire = idle.pop(at)
                    if self._clock() - wire.idle_since < _IDLE_S:
                        return wire
                    wire.close()
        return None

    def _too_many(self, origin: Origin) -> list[Wire]:
        """Taken out of the idle ones, of which the last has just been added."""
        idle = self._idle or []
        same = [wire for wire in idle if wire.origin == origin]
        dropped = same[: max(0, len(same) - self._limit_per_host)]
        oldest = self._clock() - _IDLE_S
        dropped += [wire for wire in idle if wire.idle_since < oldest and wire not in dropped]
        if not dropped and len(idle) > self._limit:
            dropped = idle[:1]
        for wire in dropped:
            idle.remove(wire)
        return dropped


def _first_that_answers(addresses: Sequence[tuple[str, int]], deadline: Deadline) -> socket.socket:
    for address in addresses[:-1]:
        try:
            return socket.create_connection(address, deadline.left() / 2)
        except OSError:
            continue
    return socket.create_connection(addresses[-1], deadline.left())


def _tunnel(wire: Wire, address: str, port: int) -> None:
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    wire.send(f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n\r\n".encode())
    status = read_head(wire).status
    if status // 100 != 2 or not wire.is_quiet():
        raise ConnectionError(f"the proxy answered {status}")


def _described(sock: ssl.SSLSocket) -> str:
    certificate: dict[str, Any] = sock.getpeercert() or {}
    names = [str(value) for part in certificate.get("subject", ()) for _, value in part]
    return f"{sock.version()}, certificate of {', '.join(names) or '?'} until {certificate.get('notAfter')}"
