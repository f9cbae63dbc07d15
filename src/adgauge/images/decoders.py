"""A pool of decoding processes. One that dies costs the picture it was decoding and is replaced."""

from __future__ import annotations

import queue
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import numpy as np
from pydantic import TypeAdapter

from adgauge.canonical.image import ImageReason
from adgauge.errors import BackendUnavailable
from adgauge.images import decoder as child
from adgauge.images.decoder import Orders
from adgauge.records import ImageMissing, ImageResult

_START_SECONDS = 60.0
_GRACE_SECONDS = 5.0  # the child ends itself in time; this is for one that was stopped from outside
_SLICES = 20


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

        Raises BackendUnavailable when no process can be started.
        """
        decoder = self._idle.get()
        try:
            answer = decoder.ask(data)
        finally:
            self._idle.put(decoder)
        if isinstance(answer, ImageMissing):
            return answer
        if answer[:1] == child.PICTURE:
            return np.frombuffer(answer, dtype=np.uint8, offset=1).reshape(self._shape)
        reason, _, detail = answer[1:].decode().partition("\0")
        return ImageMissing(reason, detail)

    def process_ids(self) -> list[int]:
        """The processes that run now."""
        return [pid for decoder in self._decoders if (pid := decoder.process_id) is not None]

    def close(self) -> None:
        """End the processes after what they are doing. Never raises."""
        for _ in self._decoders:
            self._idle.get().stop()


class _Decoder:
    """One process, started again when it is gone. Used by one thread at a time."""

    def __init__(self, orders: Orders) -> None:
        self._patience = orders.seconds + _GRACE_SECONDS
        self._arguments = TypeAdapter(Orders).dump_json(orders).decode()
        self._ready = False
        self._running: tuple[subprocess.Popen[bytes], Connection] | None = None
        self._start()

    @property
    def process_id(self) -> int | None:
        return self._running[0].pid if self._running else None

    def ask(self, data: bytes) -> bytes | ImageMissing:
        """The process's answer, or what became of it."""
        connection = self._connection()
        try:
            connection.send_bytes(data)
            if self._answers(connection):
                return connection.recv_bytes()
        except (EOFError, OSError):
            return _post_mortem(self.stop())
        self.stop(patience_s=0.0)
        return ImageMissing(ImageReason.DECODER_TIMEOUT, "the decoder did not answer")

    def _answers(self, connection: Connection) -> bool:
        """Whether an answer comes in time. While this process was frozen, with its container or its machine,
        the decoder was as well: however long that took, it costs one slice of patience and no picture.
        """
        return any(connection.poll(self._patience / _SLICES) for _ in range(_SLICES))

    def stop(self, patience_s: float = 1.0) -> int | None:
        """End the process, by force when patience is over; returns how it ended, negative for a signal."""
        if self._running is None:
            return None
        process, connection = self._running
        self._running, self._ready = None, False
        connection.close()
        try:
            return process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _connection(self) -> Connection:
        """To a process that runs and is ready."""
        if self._running and self._running[0].poll() is not None:
            self.stop()
        _, connection = self._running or self._start()
        if not self._ready:
            self._await_ready(connection)
        return connection

    def _await_ready(self, connection: Connection) -> None:
        try:
            self._ready = connection.poll(_START_SECONDS) and connection.recv_bytes() == child.READY
        except (EOFError, OSError):
            self._ready = False
        if not self._ready:
            status = self.stop()
            raise BackendUnavailable("images", f"a decoder ended with {status} before it was ready")

    def _start(self) -> tuple[subprocess.Popen[bytes], Connection]:
        ours, theirs = Pipe()
        handle = theirs.fileno()
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", child.__name__, str(handle), self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[handle],
                process_group=0,  # a Ctrl-C at the terminal is for the parent
            )
        except OSError as exc:
            ours.close()
            raise BackendUnavailable("images", f"a decoder cannot be started: {exc}") from exc
        finally:
            theirs.close()
        self._running = (process, ours)
        return self._running


def _post_mortem(status: int | None) -> ImageMissing:
    if status == -signal.SIGPROF:
        return ImageMissing(ImageReason.DECODER_TIMEOUT, "decoding took too long")
    return ImageMissing(ImageReason.DECODER_CRASHED, f"the decoder ended with {status}")
