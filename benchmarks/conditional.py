"""What a picture costs that is asked for again and has not changed: `python -m benchmarks.conditional`.

A server in a process of its own on loopback answers 304 to every request, with the headers a CDN sends.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from tempfile import TemporaryDirectory

from adgauge.images.cached import CachedHttp
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.http_cache import HttpCache
from adgauge.records import Unchanged, Validators

REQUESTS = 5000
KNOWN = Validators(etag='"5d8c72a5edda8d6a"', sha256="0" * 32)
ANSWER = (
    b"HTTP/1.1 304 Not Modified\r\nServer: nginx\r\nDate: Wed, 25 Nov 2026 08:00:00 GMT\r\n"
    b'ETag: "5d8c72a5edda8d6a"\r\nCache-Control: max-age=0\r\nX-Cache: HIT\r\nVia: 1.1 varnish\r\n\r\n'
)


def serve() -> None:
    """Print the port and answer until killed."""
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        print(listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=answer, args=(client,), daemon=True).start()


def answer(client: socket.socket) -> None:
    """Whatever is asked on one connection."""
    with client:
        while client.recv(65536):
            client.sendall(ANSWER)


@contextmanager
def server() -> Iterator[int]:
    """A server's port, until it is killed."""
    command = [sys.executable, "-m", "benchmarks.conditional", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None  # noqa: S101 (it was asked for)
            yield int(child.stdout.readline())
        finally:
            child.kill()


def measure(name: str, fetch: Callable[[int], object], threads: int) -> None:
    """Print requests a second and processor time of one."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(fetch, range(REQUESTS // 10)))
        wall, processor = time.perf_counter(), time.process_time()
        list(pool.map(fetch, range(REQUESTS)))
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{name}, {threads} threads: {REQUESTS / wall:.0f}/s, {processor / REQUESTS * 1e6:.0f} µs of CPU each"
    )


def main() -> None:
    """With and without a disk, from few and many threads."""
    with server() as port, TemporaryDirectory() as folder:
        policy = HttpPolicy(ports=frozenset({port}), allowed_networks=(ip_network("127.0.0.0/8"),))
        http = HttpSource(policy, {"http"}, 1 << 20, lambda host, port: ["127.0.0.1"])
        disk = HttpCache(Path(folder), 64 << 20, lambda: time.time_ns() // 1_000_000)
        sources = {"no disk": CachedHttp(http), "disk": CachedHttp(http, disk)}
        with closing(sources["disk"]):
            for name, source in sources.items():

                def fetch(at: int, source: CachedHttp = source) -> None:
                    url = f"http://pictures.test:{port}/{at}.jpg"
                    if not isinstance(source.fetch(url, KNOWN), Unchanged):
                        raise SystemExit(f"{url} changed")

                for threads in (1, 16, 100):
                    measure(name, fetch, threads)


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["serve"] else main()
