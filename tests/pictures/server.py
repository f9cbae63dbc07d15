"""The picture server, a process of its own: several hosts on one port, each on a loopback address of its own.

    python -m tests.pictures.server CONTROL_PORT PORT HOST...

Paths spell what is answered (`answers.py`). The control port of 127.0.0.1 takes one order a line, as JSON,
and answers each with a line: see `hosts.py`. It is the CDN of measurements, so it answers thousands of
requests a second on one core.
"""

import asyncio
import json
import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from tests.pictures.answers import BAD_REQUEST, Answer, Then, answer_to, hostile, not_modified, picture
from tests.pictures.answers import unavailable as unavailable_answer

CONTROL = "127.0.0.1"
REQUEST_BYTES = 16_384
DRIP_S = 0.5
FLOOD = bytes(65_536)
BACKLOG = 1024

known_answer = lru_cache(100_000)(answer_to)


class State(StrEnum):
    """How a host is. HANGING takes requests and never answers; LATE answers each after a while."""

    UP = "up"
    REFUSING = "refusing"
    HANGING = "hanging"
    UNAVAILABLE = "unavailable"
    RESETTING = "resetting"
    LATE = "late"


@dataclass
class Counts:
    """What one host has seen since it was asked to count anew; `open` and its peak are of now."""

    requests: int = 0
    bodies: int = 0
    not_modified: int = 0
    bytes: int = 0
    connections: int = 0
    most_open: int = 0
    statuses: Counter[int] = field(default_factory=Counter)


@dataclass
class Host:
    """One address. `late_s` and `retry_after_s` are of LATE and UNAVAILABLE."""

    address: str
    port: int
    state: State = State.UP
    late_s: float = 0.0
    retry_after_s: int = 0
    changed: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    open: set["Connection"] = field(default_factory=set)
    listener: asyncio.Server | None = None

    async def listen(self) -> None:
        """Accept connections. Idempotent."""
        if self.listener is None:
            loop = asyncio.get_running_loop()
            self.listener = await loop.create_server(
                lambda: Connection(self), self.address, self.port, backlog=BACKLOG
            )

    async def enter(self, state: State) -> None:
        """Nothing outlives a change of state: what hung before hangs no more, and is told nothing either."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        self.state = state
        for connection in list(self.open):
            connection.abort()
        if state is not State.REFUSING:
            await self.listen()

    def answer(self, path: str, known: bytes | None) -> Answer:
        """What to say to a client that has the picture with the ETag `known`."""
        if self.state is State.UNAVAILABLE:
            return unavailable_answer(self.retry_after_s)
        answer = known_answer(path)
        if path in self.changed:
            kind = path.split("/")[1]
            answer = picture(kind, self.changed[path])
        if known is not None and known == answer.etag:
            return not_modified(path.split("/")[1], known)
        return answer


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection: a request, its answer, the next request."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._unread = b""
        self._flowing = True
        self._endless = False
        self._later: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        host = self._host
        host.open.add(self)
        host.counts.connections += 1
        host.counts.most_open = max(host.counts.most_open, len(host.open))

    def connection_lost(self, exc: Exception | None) -> None:
        self._host.open.discard(self)
        self._flowing = False
        if self._later is not None:
            self._later.cancel()

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\r\n\r\n")) >= 0 and self._later is None:
            head, self._unread = self._unread[:end], self._unread[end + 4 :]
            self._take(head)
        if len(self._unread) > REQUEST_BYTES:
            self._say(BAD_REQUEST)

    def pause_writing(self) -> None:
        self._flowing = False

    def resume_writing(self) -> None:
        self._flowing = True
        self._flood()

    def abort(self) -> None:
        """A reset, whatever is being said."""
        sock = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def _take(self, head: bytes) -> None:
        host = self._host
        host.counts.requests += 1
        match host.state:
            case State.HANGING:
                return
            case State.RESETTING:
                self.abort()
                return
        method, _, rest = head.partition(b" ")
        path, _, version = rest.partition(b"\r\n")[0].partition(b" ")
        if method != b"GET" or not version.startswith(b"HTTP/1."):
            self._say(BAD_REQUEST)
            return
        answer = host.answer(path.decode("latin-1"), _header(head, b"\r\nif-none-match:"))
        if host.state is State.LATE:
            self._later = asyncio.get_running_loop().call_later(host.late_s, self._say_late, answer)
        else:
            self._say(answer)

    def _say_late(self, answer: Answer) -> None:
        self._later = None
        self._say(answer)
        self.data_received(b"")

    def _say(self, answer: Answer) -> None:
        counts = self._host.counts
        counts.statuses[answer.status] += 1
        counts.bodies += answer.status == 200
        counts.not_modified += answer.status == 304
        self._write(answer.data)
        match answer.then:
            case Then.CLOSED:
                self._transport.close()
            case Then.DRIP:
                self._drip()
            case Then.ENDLESS:
                self._endless = True
                self._flood()

    def _drip(self) -> None:
        self._write(b"x")
        self._later = asyncio.get_running_loop().call_later(DRIP_S, self._drip)

    def _flood(self) -> None:
        """As fast as the other side reads, a piece a turn, so that others are answered between."""
        if self._endless and self._flowing and self._later is None:
            self._write(FLOOD)
            self._later = asyncio.get_running_loop().call_later(0, self._flood_on)

    def _flood_on(self) -> None:
        self._later = None
        self._flood()

    def _write(self, data: bytes) -> None:
        self._host.counts.bytes += len(data)
        self._transport.write(data)


def _header(head: bytes, name: bytes) -> bytes | None:
    """Its value; `name` is lower-case, with the line break before it."""
    at = head.lower().find(name)
    if at < 0:
        return None
    return head[at + len(name) :].partition(b"\r\n")[0].strip()


class Control:
    """Orders from the measurement, one JSON object a line."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self._hosts = hosts

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Until the other side hangs up."""
        while line := await reader.readline():
            try:
                told = await self._obey(json.loads(line))
            except Exception as error:  # whatever an order breaks is for whoever gave it
                told = {"error": repr(error)}
            writer.write(json.dumps(told).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        match order:
            case {"do": "enter", "host": address, "state": state}:
                host = self._hosts[address]
                host.late_s, host.retry_after_s = order.get("late_s", 0.0), order.get("retry_after_s", 0)
                await host.enter(State(state))
            case {"do": "change", "host": address, "path": path, "grey": int(grey)}:
                self._hosts[address].changed[path] = grey
            case {"do": "counts"}:
                return {address: _told(host) for address, host in self._hosts.items()}
            case {"do": "count anew"}:
                for host in self._hosts.values():
                    host.counts = Counts(most_open=len(host.open))
            case _:
                raise ValueError(f"no such order: {order}")
        return {}


def _told(host: Host) -> dict[str, Any]:
    return {**vars(host.counts), "open": len(host.open)}


async def main(control_port: int, port: int, *addresses: str) -> None:
    """Serve until SIGTERM."""
    hostile()  # some take a while to make
    hosts = {address: Host(address, port) for address in addresses}
    for host in hosts.values():
        await host.listen()
    control = await asyncio.start_server(Control(hosts).serve, CONTROL, control_port)
    await control.serve_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]))
