"""The picture server as measurements see it: started, ordered about, and asked what it has seen."""

import json
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.embedded.ports import free_port
from services.embedded.processes import ServerFailed
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tests.pictures import server
from tests.pictures.server import State

HOSTS = ("127.0.0.11", "127.0.0.12", "127.0.0.13")
START_S, ANSWER_S = 15.0, 10.0


@dataclass(frozen=True)
class Seen:
    """What one host has seen since `count_anew`. `statuses` has the answers, hanging requests none."""

    requests: int
    bodies: int
    not_modified: int
    bytes: int
    connections: int
    most_open: int
    open: int
    statuses: Mapping[int, int]

    def __add__(self, other: "Seen") -> "Seen":
        names = ("requests", "bodies", "not_modified", "bytes", "connections", "most_open", "open")
        sums = {name: getattr(self, name) + getattr(other, name) for name in names}
        return Seen(**sums, statuses=Counter(self.statuses) + Counter(other.statuses))


NOTHING = Seen(0, 0, 0, 0, 0, 0, 0, {})


class PictureHosts:
    """Orders over one connection; each returns when it has been carried out. Raises ServerFailed."""

    def __init__(self, control: socket.socket, port: int, addresses: Sequence[str]) -> None:
        self.port = port
        self.addresses = tuple(addresses)
        self._control = control
        self._lines = control.makefile("rwb")

    def url(self, address: str, path: str) -> str:
        """Of a path on one host."""
        return f"http://{address}:{self.port}{path}"

    def enter(self, address: str, state: State, *, late_s: float = 0.0, retry_after_s: int = 2) -> None:
        """Connections of the state before are cut."""
        self._order("enter", host=address, state=state, late_s=late_s, retry_after_s=retry_after_s)

    def change(self, address: str, path: str, grey: int) -> None:
        """From now on the picture behind this path is another, with another ETag where it has one."""
        self._order("change", host=address, path=path, grey=grey)

    def count_anew(self) -> None:
        """All counts are zero again."""
        self._order("count anew")

    def seen(self) -> dict[str, Seen]:
        """By host."""
        told = self._order("counts")
        return {address: _seen(counts) for address, counts in told.items()}

    def seen_by_all(self) -> Seen:
        """The sum of all hosts."""
        return sum(self.seen().values(), NOTHING)

    def close(self) -> None:
        """Of the orders; the server is its workspace's."""
        self._lines.close()
        self._control.close()

    def _order(self, what: str, **details: Any) -> dict[str, Any]:
        self._lines.write(json.dumps({"do": what, **details}).encode() + b"\n")
        self._lines.flush()
        told: dict[str, Any] = json.loads(self._lines.readline() or b'{"error": "it is gone"}')
        if "error" in told:
            raise ServerFailed(f"picture server, {what}: {told['error']}")
        return told


@contextmanager
def running_hosts(workspace: Workspace, addresses: Sequence[str] = HOSTS) -> Iterator[PictureHosts]:
    """Start the server and wait until it listens; raises ServerFailed."""
    port, control_port = free_port(), free_port()
    argv: list[str | Path] = [sys.executable, "-m", server.__name__, str(control_port), str(port), *addresses]
    process = workspace.start(f"pictures-{port}", argv, child_environment())
    process.wait_until(lambda: _listens(control_port), timeout_s=START_S)
    control = socket.create_connection((server.CONTROL, control_port), ANSWER_S)
    hosts = PictureHosts(control, port, addresses)
    try:
        yield hosts
    finally:
        hosts.close()
        process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((server.CONTROL, port)) == 0


def _seen(counts: dict[str, Any]) -> Seen:
    statuses = {int(status): count for status, count in counts.pop("statuses").items()}
    return Seen(**counts, statuses=statuses)
