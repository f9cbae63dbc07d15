"""What a run does besides publishing and striking: waiting, and `adgauge reconcile`."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from services.embedded.processes import ServerFailed
from services.embedded.settings import child_environment

RECONCILE_S = 600.0
POLL_S = 0.1


def until(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    """Return when it holds; raises ServerFailed."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"{otherwise} after {timeout_s:g} s")
        time.sleep(POLL_S)


def reconcile(settings: Mapping[str, str], folder: Path) -> str:
    """The last line of `adgauge reconcile`; all of them are in the folder. Raises ServerFailed with it."""
    argv: Sequence[str] = [sys.executable, "-m", "adgauge.cli", "reconcile"]
    done = subprocess.run(
        argv,
        env=child_environment() | dict(settings),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RECONCILE_S,
        check=False,
    )
    (folder / "reconcile.log").write_text(done.stdout)
    last = (done.stdout.strip().splitlines() or ["(nothing)"])[-1]
    if done.returncode:
        raise ServerFailed(f"adgauge reconcile ended with {done.returncode}: {last}")
    return last
