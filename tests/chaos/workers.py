"""Scorers as production runs them: child processes that somebody starts again when they are gone."""

import os
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from services.embedded.ports import free_port
from services.embedded.processes import ServerFailed, ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace

BACK_AFTER_S = 1.0
POLL_S = 0.1
GRACE_S = 30.0
"""More than a scorer takes to drain."""


@dataclass(frozen=True)
class Departure:
    """A process that ended by itself, with the last line it wrote."""

    name: str
    at_s: float
    words: str


class Worker:
    """One place in the group; its process is replaced BACK_AFTER_S after it ended. `close` ends that."""

    def __init__(self, workspace: Workspace, name: str, settings: Mapping[str, str]) -> None:
        self.name = name
        self.departures: list[Departure] = []
        self._workspace = workspace
        self._environment = child_environment() | dict(settings)
        self.metrics_port = free_port()
        self._environment["ADGAUGE_METRICS_PORT"] = str(self.metrics_port)
        self._closing = threading.Event()
        self._killed = False
        self._process = self._start()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}", daemon=True)
        self._keeper.start()

    @property
    def process(self) -> ServerProcess:
        """The process that has this place now; it may be gone already."""
        return self._process

    def kill(self) -> None:
        """SIGKILL."""
        self._killed = True
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)

    def stop(self) -> list[int]:
        """SIGSTOP the process with its decoders, as freezing a container does; returns who was stopped."""
        pids = family(self._process.pid)
        _signal_all(pids, signal.SIGSTOP)
        return pids

    def let_go(self) -> None:
        """From now on nobody takes the place. Idempotent."""
        self._closing.set()
        self._keeper.join()

    def close(self) -> None:
        """SIGTERM, and nobody takes the place. Raises ServerFailed when it does not end by itself."""
        self.let_go()
        process = self._process
        if not process.is_running():
            process.kill()
            return
        os.kill(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while process.is_running() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        late = process.is_running()
        process.kill()
        if late:
            raise ServerFailed(f"{self.name} did not end within {GRACE_S:g} s of SIGTERM")

    def _keep(self) -> None:
        while not self._closing.wait(POLL_S):
            if self._process.is_running():
                continue
            if not self._killed:
                self._note_departure()
            self._process.kill()  # reaps it
            if self._closing.wait(BACK_AFTER_S):
                return
            self._killed = False
            self._process = self._start()

    def _note_departure(self) -> None:
        self.departures.append(Departure(self.name, time.monotonic(), last_line(self._process.log)))

    def _start(self) -> ServerProcess:
        argv: Sequence[str | Path] = [sys.executable, "-m", "services.scorer"]
        return self._workspace.start(self.name, argv, self._environment)


def last_line(log: Path) -> str:
    """Of what a process wrote, cut to a readable length."""
    lines = log.read_text(errors="replace").split("\n")
    return next((line[:300] for line in reversed(lines) if line.strip()), "(nothing)")


def go_on(pids: Sequence[int]) -> None:
    """SIGCONT those that are still there."""
    _signal_all(pids, signal.SIGCONT)


def family(pid: int) -> list[int]:
    """A process and all that descend from it, parents first."""
    parents = dict(_parents())
    found = [pid]
    for known in found:
        found += [child for child, parent in parents.items() if parent == known]
    return found


def resident_bytes(pid: int) -> int:
    """Memory of a process and its descendants, as the kernel counts it; 0 when it is gone."""
    total = 0
    for member in family(pid):
        with suppress(OSError):
            pages = Path(f"/proc/{member}/statm").read_text().split()[1]
            total += int(pages) * os.sysconf("SC_PAGE_SIZE")
    return total


def _parents() -> list[tuple[int, int]]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while we look
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            found.append((int(process.name), int(fields[1])))
    return found


def _signal_all(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
