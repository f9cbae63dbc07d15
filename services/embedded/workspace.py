"""The folder in which servers run, and the promise that nothing of them stays behind."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from services.embedded import guard
from services.embedded.processes import ServerFailed, ServerProcess

NEEDED_BYTES = 256 * 2**20


class Workspace:
    """A temporary folder, the servers started in it, and a prefix for their shared memory.

    Leaving the context stops the servers, latest first, and removes folder and shared memory. A guard
    process does it when this process ends without leaving the context.
    """

    def __init__(self) -> None:
        """Raises ServerFailed when there is no room for logs."""
        require_space(Path(tempfile.gettempdir()), NEEDED_BYTES, "free some or set TMPDIR")
        self.folder = Path(tempfile.mkdtemp(prefix="adgauge-")).resolve()
        self.shm_prefix = f"{self.folder.name.replace('-', '_')}_"
        self._servers: list[ServerProcess] = []
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), self.folder, self.shm_prefix],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self, name: str, argv: Sequence[str | Path], env: Mapping[str, str]) -> ServerProcess:
        """Start a server that logs to `<name>.log`; raises ServerFailed when it cannot be executed."""
        server = ServerProcess(name, argv, env=env, log=self.folder / f"{name}.log")
        self._servers.append(server)
        return server

    @property
    def servers(self) -> tuple[ServerProcess, ...]:
        """The servers started here, in order, stopped ones included."""
        return tuple(self._servers)

    def subfolder(self, name: str) -> Path:
        """An empty folder for one server's files."""
        folder = self.folder / name
        folder.mkdir()
        return folder

    def check(self) -> None:
        """Raise ServerFailed when a server started here, and not stopped by us, is gone."""
        for server in self._servers:
            if not server.stopped:
                server.check()

    def close(self) -> None:
        """Stop every server, latest first, and remove what they left. Idempotent."""
        for server in reversed(self._servers):
            server.stop()
        guard.sweep(self.folder, self.shm_prefix)
        self._guard.kill()
        self._guard.wait()


def require_space(folder: Path, needed_bytes: int, remedy: str) -> None:
    """Raise ServerFailed, saying `remedy`, unless `folder`'s file system has `needed_bytes` free."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise ServerFailed(
            f"only {free >> 20} MiB free in {folder}, {needed_bytes >> 20} MiB are needed: {remedy}"
        )
