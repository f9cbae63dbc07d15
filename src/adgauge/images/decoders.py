"""A pool of decoding processes. One that dies costs the picture it was decoding and is replaced."""

from __future__ import annotations

import os
import queue
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from adgauge.canonical.image import TRANSIENT, ImageReason
from adgauge.errors import BackendUnavailable
from adgauge.images import decoder as child
from adgauge.images.decoder import Orders
from adgauge.records import ImageMissing, ImageResult

_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0  # the child ends itself in time; this is for one that was stopped from outside
_SLICES = 20
_TRIES = 3
_LONGEST_WORDS = 4096
_HEAD = struct.Struct("!i")  # as `multiprocessing.Connection`, which the child uses, sends a length
_REASONS = frozenset(ImageReason) - TRANSIENT
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_READY, _TAKEN = (_HEAD.pack(len(word)) + word for word in (child.READY, child.TAKEN))


class DecoderPool:
    """Decodes pictures in `size` processes, as `orders` say. Called from several threads at once.

    Processes are started by exec, never by a bare fork: gRPC's threads live in this one.
    """

    def __init__(self, size: int, orders: Orders) -> None:
        self._shape = (3, orders.spec.height, orders.spec.width)
        self._decoders = [_Decoder(orders) for _ in range(size)]
        self._idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        for decoder in self._decoders:
            self._idle.put(decoder)

    def decode(self, data: bytes) -> ImageResult:
        """Pixels, uint8 [3, height, width], or why there are none. Waits for an idle process.

        Raises BackendUnavailable when no process can be started, or none lives to take the picture.
        """
        decoder = self._idle.get()
        try:
            answer = decoder.ask(data)
        finally:
            self._idle.put(decoder)
        return answer if isinstance(answer, ImageMissing) else _result(answer, self._shape)

    def process_ids(self) -> list[int]:
        """The processes that run now."""
        return [pid for decoder in self._decoders if (pid := decoder.process_id) is not None]

    def close(self) -> None:
        """End the processes after what they are doing. Never raises."""
        for _ in self._decoders:
            self._idle.get().stop()


def _result(answer: bytes, shape: tuple[int, int, int]) -> ImageResult:
    """What an answer says. A picture may have taken the decoder over: nothing in it is believed."""
    with suppress(ValueError):  # UnicodeDecodeError is one
        if answer[:1] == child.PICTURE:
            return np.frombuffer(answer, dtype=np.uint8, offset=1).reshape(shape)
        reason, _, detail = answer[1:].decode().partition("\0")
        if answer[:1] == child.MISSING and reason in _REASONS:
            return ImageMissing(reason, detail)
    return ImageMissing(ImageReason.DECODER_CRASHED, "the decoder's answer makes no sense")


class _Decoder:
    """One process, started again when it is gone. Used by one thread at a time."""

    def __init__(self, orders: Orders) -> None:
        self._patience = orders.seconds + _GRACE_SECONDS
        self._longest = max(1 + 3 * orders.spec.height * orders.spec.width, _LONGEST_WORDS)
        self._arguments = TypeAdapter(Orders).dump_json(orders).decode()
        self._ready = False
        self._running: tuple[subprocess.Popen[bytes], socket.socket] | None = None
        self._start()

    @property
    def process_id(self) -> int | None:
        return self._running[0].pid if self._running else None

    def ask(self, data: bytes) -> bytes | ImageMissing:
        """The process's answer, or what became of it. One that ends, or stands still, before it took the
        picture says nothing about the picture, which goes to a new process.
        """
        for _ in range(_TRIES):
            process, end = self._ready_process()
            with suppress(OSError):  # whether it took the picture is seen from what it said
                _send(end, data)
            # In one piece with the head of the answer: each wait costs a turn among all threads.
            said, is_over = self._hear(process, end, len(_TAKEN) + _HEAD.size, self._patience)
            if said.startswith(_TAKEN):
                return self._outcome(process, end, said[len(_TAKEN) :], is_over)
            self.stop(patience_s=0.0)
        raise BackendUnavailable("images", f"{_TRIES} decoders in a row ended before they took a picture")

    def _outcome(
        self, process: subprocess.Popen[bytes], end: socket.socket, head: bytes, is_over: bool
    ) -> bytes | ImageMissing:
        length = _HEAD.unpack(head)[0] if len(head) == _HEAD.size else -1
        if not is_over and 0 < length <= self._longest:
            answer, is_over = self._hear(process, end, length, self._patience)
            if len(answer) == length:
                return answer
        if is_over:
            self.stop(patience_s=0.0)
            return ImageMissing(ImageReason.DECODER_TIMEOUT, "the decoder did not answer")
        return _post_mortem(self.stop())

    def _hear(
        self, process: subprocess.Popen[bytes], end: socket.socket, size: int, patience_s: float
    ) -> tuple[bytes, bool]:
        """So many bytes, fewer when the process ends or patience with it is over, and whether it is."""
        said, spent_s, worked_s = bytearray(), 0.0, 0.0
        slice_s = self._patience / _SLICES  # of any patience: the socket's time-out
        while len(said) < size and spent_s < patience_s:
            try:
                piece = end.recv(size - len(said), socket.MSG_WAITALL)
            except BlockingIOError:  # nothing in a slice of time
                before_s, worked_s = worked_s, _seconds_worked(process.pid)
                # Time counts in which it works or sleeps, but not in which it waits for a processor. A slice
                # in which this process was frozen, with its container or its machine, is as any other.
                wants = _wants_to_run(process.pid)
                spent_s += min(worked_s - before_s, slice_s) if wants else slice_s
                continue
            except OSError:
                break
            if not piece:
                break
            said += piece
        return bytes(said), spent_s >= patience_s

    def stop(self, patience_s: float = 1.0) -> int | None:
        """End the process, by force when patience is over; returns how it ended, negative for a signal."""
        if self._running is None:
            return None
        process, end = self._running
        self._running, self._ready = None, False
        end.close()
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _ready_process(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        process, end = self._running or self._start()
        self._ready = self._ready or self._hear(process, end, len(_READY), _START_SECONDS)[0] == _READY
        if not self._ready:
            status = self.stop()
            raise BackendUnavailable("images", f"a decoder ended with {status} before it was ready")
        return process, end

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        _bound(ours, self._patience)
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", child.__name__, str(theirs.fileno()), self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                process_group=0,  # a Ctrl-C at the terminal is for the parent
            )
        except OSError as exc:
            ours.close()
            raise BackendUnavailable("images", f"a decoder cannot be started: {exc}") from exc
        finally:
            theirs.close()
        self._running = (process, ours)
        return self._running


def _send(end: socket.socket, message: bytes) -> None:
    head = _HEAD.pack(len(message))
    sent = end.sendmsg((head, message))
    if sent < len(head) + len(message):
        end.sendall(memoryview(message)[max(sent - len(head), 0) :])


def _bound(end: socket.socket, patience_s: float) -> None:
    """A message larger than the kernel's buffer must not wait for ever for a process that stands still, and
    a reader must look up once a slice.
    """
    for option, seconds in ((socket.SO_SNDTIMEO, patience_s), (socket.SO_RCVTIMEO, patience_s / _SLICES)):
        whole, rest = divmod(seconds, 1.0)
        end.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", int(whole), int(rest * 1e6)))


def _wants_to_run(process_id: int) -> bool:
    return _stat(process_id)[:1] == ["R"]


def _seconds_worked(process_id: int) -> float:
    """On the CPU so far, in user and system mode; 0 for a process that is gone."""
    return sum(map(int, _stat(process_id)[11:13])) / _TICKS_PER_SECOND


def _stat(process_id: int) -> list[str]:
    """Fields of /proc/PID/stat behind the name (proc(5)), which may hold anything."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _post_mortem(status: int | None) -> ImageMissing:
    if status == -signal.SIGPROF:
        return ImageMissing(ImageReason.DECODER_TIMEOUT, "decoding took too long")
    return ImageMissing(ImageReason.DECODER_CRASHED, f"the decoder ended with {status}")
