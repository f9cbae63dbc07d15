"""The servers that faults strike: each can be killed, stopped and started again where it was."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from services.embedded import triton as embedded
from services.embedded.cache import Valkey
from services.embedded.guard import SHARED_MEMORY
from services.embedded.kafka import Kafka, Listener
from services.embedded.ports import free_port
from services.embedded.processes import ServerFailed
from services.embedded.settings import EmbeddedSettings
from services.embedded.workspace import Workspace
from tests.chaos.workers import BACK_AFTER_S, POLL_S, Departure, family, last_line

STUB = "triton_python_b"
"""What the kernel calls `triton_python_backend_stub`."""
STUB_SEEN_S = 30.0
RESTART_S = 60.0
LOST_S = 1.0


class Server(Protocol):
    """What a fault needs of a server."""

    def kill(self) -> None:
        """SIGKILL."""

    def stop(self) -> list[int]:
        """SIGSTOP; returns the processes that SIGCONT lets go on."""

    def start(self) -> None:
        """Start it again on the same address and return when it answers; raises ServerFailed."""


def freeze(pid: int) -> list[int]:
    """SIGSTOP one process."""
    os.kill(pid, signal.SIGSTOP)
    return [pid]


class Triton:
    """tritonserver with one model, always on the same gRPC port.

    One that ends by itself is replaced after BACK_AFTER_S, as an orchestrator does; `departures` says why.
    """

    def __init__(self, workspace: Workspace, model_dir: Path) -> None:
        """Start it; raises ServerFailed."""
        self.departures: list[Departure] = []
        self._workspace = workspace
        self._model_dir = model_dir
        self._port: int | None = None
        self._lock = threading.RLock()  # who holds it may start or end the process
        self._closing = threading.Event()
        self.start()
        self._keeper = threading.Thread(target=self._keep, name="keeper of triton", daemon=True)
        self._keeper.start()

    @property
    def port(self) -> int:
        """Of gRPC."""
        return self._running.grpc_port

    def start(self) -> None:
        """See `Server`."""
        with self._lock:
            self._running = embedded.start_triton(
                self._workspace,
                venv=EmbeddedSettings().triton_venv,
                repository=self._model_dir.parents[1],
                models=[self._model_dir.parent.name],
                port=self._port,
            )
            self._port = self._running.grpc_port
            self._running.wait_until_ready(timeout_s=RESTART_S)

    def kill(self) -> None:
        """See `Server`. Its shared memory, which nobody uses any more, is freed."""
        with self._lock:
            self._running.process.kill()
            for region in SHARED_MEMORY.glob(f"{self._workspace.shm_prefix}*"):
                region.unlink(missing_ok=True)

    def let_go(self) -> None:
        """A process that ends now is not replaced. Idempotent."""
        self._closing.set()
        self._keeper.join()

    def _keep(self) -> None:
        while not self._closing.wait(POLL_S):
            with self._lock:
                process = self._running.process
                if process.stopped or process.is_running():
                    continue
                self.departures.append(Departure("triton", time.monotonic(), last_line(process.log)))
                self.kill()
                if not self._closing.wait(BACK_AFTER_S):
                    self.start()

    def stop(self) -> list[int]:
        """See `Server`."""
        return freeze(self._running.process.pid)

    def kill_stub(self) -> None:
        """SIGKILL the process that runs the model."""
        os.kill(self._stub(), signal.SIGKILL)

    def stop_stub(self) -> list[int]:
        """SIGSTOP the process that runs the model."""
        return freeze(self._stub())

    def _stub(self) -> int:
        """Its pid; a fault may come while the one before is still being healed."""
        deadline = time.monotonic() + STUB_SEEN_S
        while time.monotonic() < deadline:
            for pid in family(self._running.process.pid):
                with suppress(OSError):
                    if Path(f"/proc/{pid}/comm").read_text().strip() == STUB and not _is_zombie(pid):
                        return pid
            time.sleep(0.1)
        raise ServerFailed(f"tritonserver has had no python stub for {STUB_SEEN_S:g} s: nothing healed it")


def _is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


class Redis:
    """Valkey with an append-only file, always on the same port."""

    def __init__(self, workspace: Workspace, appendfsync: Literal["always", "everysec"]) -> None:
        """Start it; raises ServerFailed."""
        # One append-only file for the whole run, so that its end is where the latest writes are.
        options = ["--auto-aof-rewrite-percentage", "0"]
        self._valkey = Valkey(workspace, appendfsync=appendfsync, options=options)
        self._log = workspace.folder / self._valkey.name / "appendonlydir"
        self.start()

    @property
    def port(self) -> int:
        """Of clients."""
        return self._valkey.port

    @property
    def url(self) -> str:
        """The server itself, not through a link."""
        return self._valkey.url

    def start(self) -> None:
        """See `Server`."""
        self._valkey.start(timeout_s=RESTART_S)

    def kill(self) -> None:
        """See `Server`."""
        self._valkey.kill()

    def kill_and_lose(self) -> int:
        """SIGKILL, and the writes of the last LOST_S are gone; returns how many bytes of them.

        A SIGKILL alone loses nothing that was written, whatever `appendfsync` says: the kernel still has it.
        `everysec` risks the loss of the machine, which is played by cutting the append-only file.
        """
        lengths = {file: file.stat().st_size for file in self._log.glob("*.incr.aof")}
        time.sleep(LOST_S)
        self.kill()
        lost = sum(file.stat().st_size - length for file, length in lengths.items())
        for file, length in lengths.items():
            os.truncate(file, length)
        return lost

    def stop(self) -> list[int]:
        """See `Server`."""
        return freeze(self._valkey.process.pid)


class Broker:
    """Apache Kafka, one node, with one listener for us and one that workers are sent to."""

    def __init__(self, workspace: Workspace, jars: Path) -> None:
        self.inner_port, self.advertised_port = free_port(), free_port()
        workers = Listener("WORKERS", "PLAINTEXT", self.inner_port, self.advertised_port)
        self._kafka = Kafka(workspace, jars=jars, listener=workers)
        self.start()

    @property
    def bootstrap(self) -> str:
        """For everybody but the workers."""
        return self._kafka.bootstrap

    def start(self) -> None:
        """See `Server`."""
        self._kafka.start()

    def kill(self) -> None:
        """See `Server`."""
        self._kafka.kill()

    def stop(self) -> list[int]:
        """See `Server`."""
        return freeze(self._kafka.process.pid)
