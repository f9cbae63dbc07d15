"""Keeps a scorer's memory flat: what Python and glibc do by themselves lets it double within minutes."""

import ctypes
import gc
from collections.abc import Callable

EVERY_S = 10.0
"""It takes some 20 ms of the loop, as most of what a scorer holds is left out of it."""
_MMAP_THRESHOLD, _ARENA_MAX = -3, -8  # malloc.h
_LARGE = 2**20
_ARENAS = 2
_LIBC = ctypes.CDLL(None)


def give_large_blocks_back() -> None:
    """Have glibc return arrays of a batch to the system when they are freed, and keep few arenas.

    By itself it learns from the first 10 MB array that such blocks come and go, and keeps them, in an arena
    for each of a dozen threads (mallopt(3)). Elsewhere than on glibc nothing happens.
    """
    if hasattr(_LIBC, "mallopt"):
        _LIBC.mallopt(_MMAP_THRESHOLD, _LARGE)
        _LIBC.mallopt(_ARENA_MAX, _ARENAS)


class Garbage:
    """Collects cycles every EVERY_S and returns what glibc kept of a burst. `clock` counts seconds.

    kafka-python leaves an exception in a cycle at each poll that brings nothing. They outlive the young
    generations, and Python looks through the old one only when it has grown by a quarter: minutes of cycles.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = clock() + EVERY_S

    def leave_out_what_stays(self) -> None:
        """What was loaded until now stays to the end: nobody need look at it again."""
        gc.collect()
        gc.freeze()

    def collect_when_due(self) -> None:
        """Call it as often as you like."""
        if self._clock() >= self._due:
            gc.collect()
            if hasattr(_LIBC, "malloc_trim"):
                _LIBC.malloc_trim(0)
            self._due = self._clock() + EVERY_S
