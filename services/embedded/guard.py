"""Cleans up after the owner of a workspace, however it went: SIGKILL and a second Ctrl-C included.

Run as a script, with the standard library alone, as a child of the owner. Servers are found by their
working directory, so none can be missed between its start and somebody's taking note of it.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # the kernel's folder of shared-memory regions, not a temporary file
POLL_S = 0.1
PATIENCE_S = 10.0


def servers_in(folder: Path) -> list[int]:
    """Pids of the processes that work in `folder` without a terminal: somebody's shell is not a server.

    The folder's own name, which is random, tells: it may have been moved or removed in the meantime.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # It may end while we look; a zombie has no working directory any more.
        with contextlib.suppress(OSError):
            terminal = (process / "stat").read_text().rpartition(")")[2].split()[4]
            cwd = str((process / "cwd").readlink()).removesuffix(" (deleted)")
            if terminal == "0" and folder.name in Path(cwd).parts:
                found.append(int(process.name))
    return found


def sweep(folder: Path, shm_prefix: str) -> None:
    """Kill what still runs in `folder`, remove it, and the shared-memory regions named `shm_prefix…`."""
    deadline = time.monotonic() + PATIENCE_S
    while (servers := servers_in(folder)) and time.monotonic() < deadline:
        for pid in servers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    for region in SHARED_MEMORY.glob(f"{shm_prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    """Wait for the end of the owner; arguments: its pid, the folder, the shared-memory prefix."""
    owner, folder, shm_prefix = sys.argv[1:]
    while os.getppid() == int(owner):
        time.sleep(POLL_S)
    sweep(Path(folder), shm_prefix)


if __name__ == "__main__":
    main()
