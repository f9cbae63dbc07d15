"""A headless Chromium, spoken to over a pipe in its DevTools protocol: no port, no driver, no library."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tools.install import BIN

SECONDS = 60
_FLAGS = (
    "--headless=shell",
    "--no-sandbox",  # tests run as root in containers
    "--no-zygote",
    "--single-process",
    "--disable-gpu",
    "--in-process-gpu",
    "--no-first-run",
    "--hide-scrollbars",
    "--font-render-hinting=none",
    "--remote-debugging-pipe",
)


class Page:
    """One tab. `requests` are the URLs that it asked for, `complaints` what it wrote to the console."""

    def __init__(self, to: IO[bytes], back: IO[bytes]) -> None:
        self._to, self._back = to, back
        self._number = 0
        self._session: str | None = None
        self._happened: set[str] = set()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self._ask(f"{domain}.enable")

    def open(self, url: str) -> None:
        """Load and wait until all is there."""
        self._happened.clear()
        self.requests.clear()
        self.complaints.clear()
        self._ask("Page.navigate", url=url)
        while "Page.loadEventFired" not in self._happened:
            self._hear()

    def show(self, width: int, scheme: str, media: str = "screen") -> None:
        """As on a screen so wide, or in print, light or dark; a telephone's below 600."""
        self._ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._ask(
            "Emulation.setEmulatedMedia",
            media=media,
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression; the protocol runs it, whatever the page's policy forbids."""
        found = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self) -> bytes:
        """The whole page, as PNG."""
        answer = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return b64decode(answer["data"])

    def printed(self) -> bytes:
        """As PDF, on A4."""
        answer = self._ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.7, printBackground=True)
        return b64decode(answer["data"])

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._hear()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def _hear(self) -> dict[str, Any]:
        """One message; what happened is noted."""
        message: dict[str, Any] = json.loads(_until_zero(self._back))
        happened, parameters = message.get("method", ""), message.get("params", {})
        self._happened.add(happened)
        if happened == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif happened == "Log.entryAdded":
            self.complaints.append(parameters["entry"]["text"])
        return message


@contextmanager
def browser() -> Iterator[Page]:
    """A page of a browser that ends with the block."""
    here_reads, there_writes = os.pipe()
    there_reads, here_writes = os.pipe()
    # The protocol is spoken on descriptors 3 and 4; other shells know none above 9.
    script = f'exec "$0" "$@" 3<&{there_reads} 4>&{there_writes}'
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        os.fdopen(here_reads, "rb") as back,
        os.fdopen(here_writes, "wb") as to,
    ):
        argv = ["bash", "-c", script, str(_program()), *_FLAGS, f"--user-data-dir={profile}"]
        process = subprocess.Popen(
            argv, pass_fds=(there_reads, there_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(there_reads)
        os.close(there_writes)
        try:
            yield Page(to, back)
        finally:
            process.kill()
            process.wait(SECONDS)


def _program() -> Path:
    return BIN / "chromium"


def _until_zero(stream: IO[bytes]) -> bytes:
    parts = bytearray()
    while (byte := stream.read(1)) != b"\0":
        if not byte:
            raise EOFError("the browser is gone")
        parts += byte
    return bytes(parts)
