"""A picture host on loopback that takes its time, and one address of it that never answers.

`GET /slow/<level>.png` sends a grey picture after SLOW_S; `GET /never/<level>.png` holds the connection and
sends nothing, so that its picture is missing. A query string makes URLs of equal pictures different.
"""

import io
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from PIL import Image

HOST = "127.0.0.1"
SLOW_S = 1.5
"""Well within the scorer's ten seconds for a picture, and an age compared with a `data:` URL."""


def grey_png(level: int) -> bytes:
    """A picture of one grey."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), level).save(buffer, "PNG")
    return buffer.getvalue()


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    def do_GET(self) -> None:
        kind, level = urlsplit(self.path).path.strip("/").split("/")
        if kind == "never":
            self.server.closing.wait()
            return
        if self.server.closing.wait(SLOW_S):
            return
        body = grey_png(int(level.removesuffix(".png")))
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        return


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.closing = threading.Event()
        super().__init__((HOST, 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or is killed, is what this host is for."""


class SlowImageHost:
    """Serves while it is entered."""

    def __init__(self) -> None:
        self._server = _Server()
        self._thread = threading.Thread(target=self._server.serve_forever, name="slow-images", daemon=True)

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
