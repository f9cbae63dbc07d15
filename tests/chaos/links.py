"""toxiproxy between the workers and one server: a connection that can be cut, hang or drag."""

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.request import Request, urlopen

from services.embedded.ports import HOST, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import ServerProcess
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tools.install import BIN

TIMEOUT_S = 5.0
SLOW_MS, JITTER_MS = 300, 100
SLOW_KB_S = 1024
"""A full request of pictures to Triton takes 5 s, half of its deadline; Redis and Kafka merely drag."""

Toxics = Mapping[str, tuple[str, Mapping[str, int]]]
_CUT: Toxics = {"cut": ("reset_peer", {"timeout": 0})}
_HUNG: Toxics = {"hung": ("timeout", {"timeout": 0})}
_SLOW: Toxics = {
    "latency": ("latency", {"latency": SLOW_MS, "jitter": JITTER_MS}),
    "bandwidth": ("bandwidth", {"rate": SLOW_KB_S}),
}


class Toxiproxy:
    """The server; its proxies end with it."""

    def __init__(self, workspace: Workspace) -> None:
        """Start it; raises ServerFailed when it is not installed or does not answer."""
        self._port = free_port()
        argv: list[str | Path] = [BIN / "toxiproxy-server", "-host", HOST, "-port", str(self._port)]
        # It would write a line for every connection that a fault ends.
        environment = child_environment() | {"LOG_LEVEL": "error"}
        self.process: ServerProcess = workspace.start("toxiproxy", argv, environment)
        self.process.wait_until(lambda: http_ok(self._port, "/version"), timeout_s=15.0)

    def link(self, name: str, upstream_port: int, *, port: int | None = None) -> "Link":
        """A new connection to a local server, through `port` (None: a free one)."""
        port = free_port() if port is None else port
        proxy = {"name": name, "listen": f"{HOST}:{port}", "upstream": f"{HOST}:{upstream_port}"}
        self.ask("POST", "/proxies", proxy | {"enabled": True})
        return Link(self, name, port)

    def ask(self, method: str, path: str, body: Mapping[str, object] | None = None) -> None:
        """One call of toxiproxy's API; raises OSError when it refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://{HOST}:{self._port}{path}", data, method=method)
        with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310 - an address of our own making
            answer.read()


class Link:
    """A proxy on `port` of loopback. One trouble at a time."""

    def __init__(self, server: Toxiproxy, name: str, port: int) -> None:
        self.name = name
        self.port = port
        self._server = server
        self._toxics: list[str] = []

    @property
    def address(self) -> str:
        """`host:port` for clients."""
        return f"{HOST}:{self.port}"

    def cut(self) -> None:
        """Reset every connection, new ones as well."""
        self._poison(_CUT)

    def hang(self) -> None:
        """Let nothing through, either way, and close nothing."""
        self._poison(_HUNG)

    def slow(self) -> None:
        """Add SLOW_MS to every answer and let SLOW_KB_S through, each way."""
        self._poison(_SLOW)

    def restore(self) -> None:
        """Whole again; connections that hung are closed now."""
        for toxic in self._toxics:
            self._server.ask("DELETE", f"/proxies/{self.name}/toxics/{toxic}")
        self._toxics.clear()

    def _poison(self, toxics: Toxics) -> None:
        for name, (kind, attributes) in toxics.items():
            for stream in ("upstream", "downstream"):
                toxic = f"{name}-{stream}"
                body = {"name": toxic, "type": kind, "stream": stream, "attributes": attributes}
                self._server.ask("POST", f"/proxies/{self.name}/toxics", body)
                self._toxics.append(toxic)
