"""Cleans up after the owner of a workspace, however it went: SIGKILL and a second Ctrl-C included.

Run as a script with the standard library alone. It reads `+PID` and `-PID` lines (a server's process
group was started, is gone) until its owner closes the pipe or dies.
"""

import os
import select
import shutil
import signal
import sys
import time
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108  # the kernel's folder of shared-memory regions, not a temporary file
GRACE_S = 5.0


def sweep(folder: Path, shm_prefix: str) -> None:
    """Remove the shared-memory regions whose names start with `shm_prefix`, and `folder`."""
    for region in SHARED_MEMORY.glob(f"{shm_prefix}*"):
        region.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def follow(owner: int) -> list[int]:
    """Block while the owner lives; return the groups that it left running, oldest first."""
    groups: list[int] = []
    unfinished = b""
    while os.getppid() == owner:
        # A forked child of the owner can hold the pipe open after it: so look at the parent, too.
        if not select.select([0], [], [], 0.5)[0]:
            continue
        received = os.read(0, 4096)
        if not received:
            break
        *lines, unfinished = (unfinished + received).split(b"\n")
        for line in lines:
            (groups.append if line[:1] == b"+" else groups.remove)(int(line[1:]))
    return groups


def end(group: int) -> None:
    """SIGTERM to a process group, SIGKILL to what is left of it after the grace period."""
    deadline = time.monotonic() + GRACE_S
    try:
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def main() -> None:
    """Guard the workspace named by the arguments: owner's pid, folder, shared-memory prefix."""
    owner, folder, shm_prefix = sys.argv[1:]
    for group in reversed(follow(int(owner))):
        end(group)
    sweep(Path(folder), shm_prefix)


if __name__ == "__main__":
    main()
