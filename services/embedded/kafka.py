"""Apache Kafka itself, one KRaft node from its jars: what delivery is tested on."""

import base64
import subprocess
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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


@dataclass(frozen=True)
class Listener:
    """One more way in, beside the plain one: where clients are sent need not be where it listens."""

    name: str
    protocol: Literal["PLAINTEXT", "SASL_SSL"]
    port: int
    advertised_port: int


class Kafka:
    """A broker that can be stopped and started again on the same ports and data."""

    def __init__(
        self,
        workspace: Workspace,
        *,
        jars: Path,
        name: str = "kafka",
        properties: Mapping[str, str] | None = None,
        listener: Listener | None = None,
        passwords: Mapping[str, str] | None = None,
        cluster: str | None = None,
        controller_port: int | None = None,
    ) -> None:
        """Format a data folder; `properties` are added to, or replace, those of `server.properties`.

        `passwords` are of users for SCRAM-SHA-512; `cluster` names the cluster where it has other nodes.
        Raises ServerFailed when the jars or Java are missing or the folder cannot be formatted.
        """
        if not any(jars.glob("kafka_*.jar")):
            raise ServerFailed(f"Apache Kafka's jars are not in {jars}: run `make tools`")
        self.name = name
        self.port = free_port()
        self.start_s = self._began = 0.0
        self._workspace = workspace
        self._jars = jars.absolute()
        self._folder = workspace.subfolder(name)
        self._properties = self._folder / "server.properties"
        self._process: ServerProcess | None = None
        chosen = _properties(self.port, controller_port or free_port(), self.data, listener)
        chosen |= dict(properties or {})
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in chosen.items()))
        self._format(cluster or cluster_id(), passwords or {})

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
        self.begin()
        self.wait_until_ready(timeout_s=timeout_s)

    def begin(self) -> None:
        """Start it, and wait for nothing: a node may need another to get ready."""
        self._began = time.monotonic()
        argv = [*self._java("kafka.Kafka"), self._properties]
        self._process = self._workspace.start(self.name, argv, child_environment())

    def wait_until_ready(self, *, timeout_s: float = 60.0) -> None:
        """Return when the broker answers."""
        self.process.wait_until(lambda: kafka_answers(self.port), timeout_s=timeout_s)
        self.start_s = time.monotonic() - self._began

    def stop(self) -> None:
        """Shut down in order; the data stays for the next `start`."""
        self.process.stop(grace_s=30.0)

    def kill(self) -> None:
        """SIGKILL; the data stays for the next `start`."""
        self.process.kill()

    def _java(self, main_class: str) -> list[str | Path]:
        return [*JVM, "-cp", f"{self._jars}/*", main_class]

    def _format(self, cluster: str, passwords: Mapping[str, str]) -> None:
        # One id in 64 starts with a dash and is no argument of its own.
        argv = [*self._java("kafka.tools.StorageTool"), "format", f"--cluster-id={cluster}"]
        argv += ["--config", self._properties]
        for user, password in passwords.items():
            argv += ["--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]"]
        try:
            subprocess.run(argv, env=child_environment(), capture_output=True, text=True, check=True)
        except FileNotFoundError as exc:
            raise ServerFailed("Apache Kafka needs Java 17 or later: install it and put it on PATH") from exc
        except subprocess.CalledProcessError as exc:
            raise ServerFailed(f"Kafka's storage cannot be formatted: {complaints(exc.stderr)[0]}") from exc


class KafkaCluster:
    """Brokers that are controllers as well; every topic is on all of them and needs all but one to write."""

    def __init__(
        self, workspace: Workspace, *, jars: Path, name: str = "kafka-cluster", brokers: int = 3
    ) -> None:
        """Format the nodes; raises ServerFailed."""
        cluster, controllers = cluster_id(), [free_port() for _ in range(brokers)]
        voters = ",".join(f"{node}@{HOST}:{port}" for node, port in enumerate(controllers, 1))
        self.brokers = [
            Kafka(
                workspace,
                jars=jars,
                name=f"{name}-{node}",
                properties=_of_cluster(node, voters, brokers),
                cluster=cluster,
                controller_port=controller,
            )
            for node, controller in enumerate(controllers, 1)
        ]

    @property
    def bootstrap(self) -> str:
        """All brokers, for Kafka clients."""
        return ",".join(broker.bootstrap for broker in self.brokers)

    def start(self) -> None:
        """Start all nodes and return when all answer."""
        for broker in self.brokers:
            broker.begin()
        for broker in self.brokers:
            broker.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL all that run."""
        for broker in self.brokers:
            broker.kill()


def scram_over_tls(key_and_certificate: Path, ca_file: Path) -> dict[str, str]:
    """Properties of a listener with protocol SASL_SSL: SCRAM-SHA-512 over TLS, with one PEM file of both."""
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    return {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(key_and_certificate),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(ca_file),
    }


def cluster_id() -> str:
    """A new one."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def _of_cluster(node: int, voters: str, brokers: int) -> dict[str, str]:
    everywhere = str(brokers)
    return {
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "default.replication.factor": everywhere,
        "min.insync.replicas": str(brokers - 1),
        "offsets.topic.replication.factor": everywhere,
        "transaction.state.log.replication.factor": everywhere,
        "transaction.state.log.min.isr": str(brokers - 1),
        # A dead broker's partitions get another leader after three seconds, not nine.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


def _properties(port: int, controller_port: int, data: Path, listener: Listener | None) -> dict[str, str]:
    listeners, protocols = [f"PLAINTEXT://{HOST}:{port}"], ["PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT"]
    advertised = list(listeners)
    if listener is not None:
        listeners.append(f"{listener.name}://{HOST}:{listener.port}")
        advertised.append(f"{listener.name}://{HOST}:{listener.advertised_port}")
        protocols.append(f"{listener.name}:{listener.protocol}")
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": ",".join([*listeners, f"CONTROLLER://{HOST}:{controller_port}"]),
        "advertised.listeners": ",".join(advertised),
        "listener.security.protocol.map": ",".join(protocols),
        "inter.broker.listener.name": "PLAINTEXT",
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
