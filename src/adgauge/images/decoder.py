"""The decoding process: `python -m adgauge.images.decoder FD ORDERS`, started and spoken to by `decoders.py`.

It decodes one picture after the other under limits of memory and time that the kernel holds: a picture that
takes too long or breaks the decoder ends this process and nothing else. It ends when its parent does.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from PIL import Image
from pydantic import TypeAdapter

from adgauge.canonical.image import DecodeLimits, ImageError, decode
from adgauge.contract import ImageSpec

READY = b"ready"
TAKEN = b"taken"
"""Said of each picture before it is touched: what happens afterwards is the picture's doing."""
PICTURE, MISSING = b"\0", b"\1"
"""First byte of an answer: pixels follow, or "reason NUL detail" in UTF-8."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a decoding process is to make of pictures, and what one may cost: `seconds` on the CPU."""

    spec: ImageSpec
    limits: DecodeLimits
    seconds: float
    memory_bytes: int


def main(handle: int, orders: Orders) -> None:
    """Serve the connection until the parent closes it."""
    Image.init()
    _confine(orders.memory_bytes)
    with Connection(handle) as parent:
        try:
            parent.send_bytes(READY)
            while parent.poll(None):
                parent.send_bytes(TAKEN)
                data = parent.recv_bytes()
                # Time on the CPU, so that nobody pays for a frozen container; SIGPROF's default ends us.
                signal.setitimer(signal.ITIMER_PROF, orders.seconds)
                answer = _answer(data, orders)
                signal.setitimer(signal.ITIMER_PROF, 0)
                parent.send_bytes(answer)
        except (EOFError, ConnectionError):
            return


def _answer(data: bytes, orders: Orders) -> bytes:
    try:
        return PICTURE + decode(data, orders.spec, orders.limits).tobytes()
    except ImageError as exc:
        return MISSING + f"{exc.reason}\0{exc.detail}".encode(errors="replace")


def _confine(memory_bytes: int) -> None:
    """From here on: so much memory more, no core dump, and silence from the C libraries."""
    taken = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_DATA, (taken + memory_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


if __name__ == "__main__":
    main(int(sys.argv[1]), TypeAdapter(Orders).validate_json(sys.argv[2]))
