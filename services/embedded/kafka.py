"""Apache Kafka itself, one KRaft node from its jars: what delivery is tested on."""

import base64
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from services.embedded.ports import HOST, free_port
from services.embedded.probes import kafka_answers
from services.embedded.processes import ServerFailed, ServerProcess, complaints
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace

JVM = (
    "java",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",  # starts in half the time; tests do not run long enough to miss the rest
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)


class Kafka:
    """A broker that can be stopped and started again on the same ports and data."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        jars: Path,
        name: str = "kafka",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        """Format a data folder; `properties` are added to, or replace, those of `server.properties`.

        Raises ServerFailed when the jars or Java are missing or the folder cannot be formatted.
        """
        if not any(jars.glob("kafka_*.jar")):
            raise ServerFailed(f"Apache Kafka's jars are not in {jars}: run `make tools`")
        self.name = name
        self.port = free_port()
        self.start_s = 0.0
        self._workspace = workspace
        self._jars = jars.absolute()
        self._folder = workspace.subfolder(name)
        self._properties = self._folder / "server.properties"
        self._process: ServerProcess | None = None
        chosen = _properties(self.port, free_port(), self._folder / "data") | dict(properties or {})
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in chosen.items()))
        self._format()

    @property
    def bootstrap(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{HOST}:{self.port}"

    @property
    def data(self) -> Path:
        """Where it keeps its logs: a folder for each partition."""
        return self._folder / "data"

    @property
    def process(self) -> ServerProcess:
        """The running broker."""
        if self._process is None:
            raise ServerFailed(f"{self.name} has not been started")
        return self._process

    def start(self, *, timeout_s: float = 60.0) -> None:
        """Start and return when the broker answers; `start_s` says how long that took."""
        began = time.monotonic()
        argv = [*self._java("kafka.Kafka"), self._properties]
        self._process = self._workspace.start(self.name, argv, child_environment())
        self._process.wait_until(lambda: kafka_answers(self.port), timeout_s=timeout_s)
        self.start_s = time.monotonic() - began

    def stop(self) -> None:
        """Shut down in order; the data stays for the next `start`."""
        self.process.stop(grace_s=30.0)

    def kill(self) -> None:
        """SIGKILL; the data stays for the next `start`."""
        self.process.kill()

    def _java(self, main_class: str) -> list[str | Path]:
        return [*JVM, "-cp", f"{self._jars}/*", main_class]

    def _format(self) -> None:
        # One in 64 starts with a dash and is no argument of its own.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        argv = [*self._java("kafka.tools.StorageTool"), "format", f"--cluster-id={cluster}"]
        argv += ["--config", self._properties]
        try:
            subprocess.run(argv, env=child_environment(), capture_output=True, text=True, check=True)
        except FileNotFoundError as exc:
            raise ServerFailed("Apache Kafka needs Java 17 or later: install it and put it on PATH") from exc
        except subprocess.CalledProcessError as exc:
            raise ServerFailed(f"Kafka's storage cannot be formatted: {complaints(exc.stderr)[0]}") from exc


def _properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        # One node, and no three seconds of waiting for more consumers to join.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
    }
