"""`/metrics` and the three health questions over HTTP, answered from a thread of its own."""

from __future__ import annotations

import logging
import socketserver
import sys
import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import generate_latest

from adgauge.errors import ConfigurationError

log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 5.0
CONNECTIONS = 16
"""More clients than this at once are turned away: probes and one or two Prometheus servers need fewer."""

Verdict = tuple[bool, str]
Page = tuple[HTTPStatus, str, bytes]


class Health:
    """What the probes ask. The runner's thread reports, HTTP threads ask.

    `clock` counts seconds and never goes back. Alive means the loop progresses, not that servers can be
    reached: restarting the worker would not bring a broker back.
    """

    def __init__(self, clock: Callable[[], float], stalled_after_s: float) -> None:
        self._clock = clock
        self._stalled_after_s = stalled_after_s
        self._progressed_at: float | None = None
        self._not_ready: str | None = "starting"

    def progressed(self) -> None:
        """The loop went round once more; the first time ends start-up."""
        self._progressed_at = self._clock()

    def ready(self, because_not: str | None = None) -> None:
        """Work is accepted, or not, and why not (`draining`, `triton unreachable`)."""
        self._not_ready = because_not

    def live(self) -> Verdict:
        """False when the loop has gone round before and does so no more."""
        if self._progressed_at is None:
            return True, "starting"
        idle_s = self._clock() - self._progressed_at
        return idle_s <= self._stalled_after_s, f"last progress {idle_s:.1f} s ago"

    def started(self) -> Verdict:
        """True after the first progress, for ever."""
        return self._progressed_at is not None, "started" if self._progressed_at is not None else "starting"

    def is_ready(self) -> Verdict:
        """True while the worker is started and takes records."""
        return self._not_ready is None, self._not_ready or "ready"


class TelemetryServer:
    """Serves until closed. Raises ConfigurationError when it cannot listen on `host`:`port` (0 = any)."""

    def __init__(self, registry: CollectorRegistry, health: Health, host: str, port: int) -> None:
        # One more series for every counter that nobody asks for.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # its author left it so
        pages: dict[str, Callable[[], Page]] = {
            "/metrics": lambda: (HTTPStatus.OK, CONTENT_TYPE_PLAIN_0_0_4, generate_latest(registry)),
            "/healthz/live": lambda: _answer(health.live()),
            "/healthz/ready": lambda: _answer(health.is_ready()),
            "/healthz/startup": lambda: _answer(health.started()),
        }
        try:
            self._server = _Server((host, port), pages)
        except (OSError, OverflowError) as exc:
            raise ConfigurationError(
                f"cannot serve metrics on {host}:{port}: {exc}; choose another address or port"
            ) from exc
        bound = self._server.socket.getsockname()[1]
        self.url = f"http://{host}:{bound}"
        serve = partial(self._server.serve_forever, poll_interval=0.05)  # how long `close` waits
        self._thread = threading.Thread(target=serve, name="telemetry", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening. Never raises."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    # Not http.server.HTTPServer: binding it looks its own name up, and a broken DNS then blocks the start.
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS
    block_on_close = False

    def __init__(self, address: tuple[str, int], pages: dict[str, Callable[[], Page]]) -> None:
        self.pages = pages
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        super().__init__(address, _Handler)

    def verify_request(self, request: object, client_address: object) -> bool:
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        # A client that goes away in the middle is no event.
        if not isinstance(sys.exception(), OSError):
            log.exception("telemetry request failed")


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_S
    server: _Server

    def do_GET(self) -> None:
        page = self.server.pages.get(self.path.partition("?")[0])
        status, content_type, body = page() if page else (HTTPStatus.NOT_FOUND, "text/plain", b"not found\n")
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "adgauge"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Every probe of every second would be a line."""


def _answer(verdict: Verdict) -> Page:
    good, text = verdict
    status = HTTPStatus.OK if good else HTTPStatus.SERVICE_UNAVAILABLE
    return status, "text/plain; charset=utf-8", f"{text}\n".encode()
