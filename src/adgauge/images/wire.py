"""A socket whose every read and write has the time that is left, and no more."""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

_RECEIVED = 1 << 16
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")


class Origin(NamedTuple):
    """Who is at the other end: connections to one origin may stand in for each other."""

    scheme: str
    host: str
    port: int


class NoAnswer(ConnectionError):
    """The peer ended the connection before the first byte of an answer."""


class Deadline:
    """A point in time by which all of a piece of work is done."""

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self._clock = clock
        self._at = clock() + seconds
        self._seconds = seconds

    def left(self) -> float:
        """Seconds, more than 0; raises TimeoutError when there are none."""
        left = self._at - self._clock()
        if left <= 0:
            raise TimeoutError(f"not done within {self._seconds:g} s")
        return left

    def late_s(self) -> float:
        """How long ago it was; negative before."""
        return self._clock() - self._at

    def within(self, seconds: float) -> Deadline:
        """The sooner of this one and `seconds` from now."""
        return Deadline(self._clock, min(seconds, self.left()))


class Wire:
    """A connection and what was received on it beyond what was asked for. Used by one thread at a time.

    A time limit for each read is none against a peer that drips, so reads and writes are given what is
    left until `deadline`, which every exchange sets anew. They raise OSError.
    """

    def __init__(self, sock: socket.socket, origin: Origin, deadline: Deadline) -> None:
        self.sock = sock
        self.origin = origin
        self.deadline = deadline
        self.idle_since = 0.0
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Begin an exchange."""
        try:
            while data:
                self.sock.settimeout(self.deadline.left())
                data = data[self.sock.send(data) :]
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise NoAnswer(str(exc)) from exc

    def head(self, limit: int) -> bytes:
        """Everything up to a blank line, without it."""
        searched = 0
        while (found := _BLANK_LINE.search(self._buffer, max(0, searched - 3))) is None:
            if (searched := len(self._buffer)) > limit:
                raise ConnectionError(f"more than {limit} bytes of headers")
            self._buffer += self._receive_first() if not self._buffer else self._receive(_RECEIVED)
        head, self._buffer = self._buffer[: found.start()], self._buffer[found.end() :]
        return head

    def line(self, limit: int) -> bytes:
        """A line without its end."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > limit:
                raise ConnectionError(f"a line of more than {limit} bytes")
            self._buffer += self._receive(_RECEIVED)
        line, self._buffer = self._buffer[:end], self._buffer[end + 1 :]
        return line.removesuffix(b"\r")

    def some(self, at_most: int) -> bytes:
        """At least one byte."""
        if not self._buffer:
            return self._receive(at_most)
        data, self._buffer = self._buffer[:at_most], self._buffer[at_most:]
        return data

    def some_or_end(self, at_most: int) -> bytes:
        """At least one byte, or none where the peer is done."""
        if self._buffer:
            return self.some(at_most)
        self.sock.settimeout(self.deadline.left())
        return self.sock.recv(at_most)

    def is_quiet(self) -> bool:
        """Nothing is left over and nothing has come since, not even an end."""
        if self._buffer or (isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()):
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        """Never raises."""
        self.sock.close()

    def _receive(self, at_most: int) -> bytes:
        self.sock.settimeout(self.deadline.left())
        data = self.sock.recv(at_most)
        if not data:
            raise ConnectionError("closed in the middle of an answer")
        return data

    def _receive_first(self) -> bytes:
        self.sock.settimeout(self.deadline.left())
        try:
            data = self.sock.recv(_RECEIVED)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            raise NoAnswer(str(exc)) from exc
        if not data:
            raise NoAnswer("closed without an answer")
        return data
