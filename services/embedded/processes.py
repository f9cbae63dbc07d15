"""A server as a child process: a log file, a deadline for readiness, a clean stop."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from adgauge.errors import AdgaugeError

POLL_S = 0.02
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# Severe lines of the servers started here; Triton's word about a missing GPU is not one.
_COMPLAINT = re.compile(
    r"^E\d{4} (?!.*CudaDriverHelper)|\berror\b|\bfatal\b|panicked|exception\b|# failed", re.IGNORECASE
)


class ServerFailed(AdgaugeError):
    """A server could not be started or has died; the message is one line that says what to do."""


class ServerProcess:
    """A running child, leader of a session of its own.

    Ctrl-C in the terminal therefore reaches us and not the server, and we stop servers in order.
    The exit status is left unread until `stop`: until then nobody else can be given its pid, so a
    signal to its group never hits a stranger.
    """

    def __init__(self, name: str, argv: Sequence[str | Path], *, env: Mapping[str, str], log: Path) -> None:
        """Start `argv` with exactly `env`, working in the log's folder.

        Raises ServerFailed when the program cannot be executed or the log cannot be written.
        """
        self.name = name
        self.log = log
        self.stopped = False
        """Whether it was ended by `stop` or `kill`."""
        try:
            with log.open("ab") as output:
                self._popen = subprocess.Popen(
                    [os.fspath(part) for part in argv],
                    env=dict(env),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=log.parent,
                    start_new_session=True,
                )
        except OSError as exc:
            raise ServerFailed(f"{name} cannot be started: {exc.strerror}: {exc.filename or log}") from exc
        self.pid = self._popen.pid

    def is_running(self) -> bool:
        """Whether the server itself still runs."""
        return not self.stopped and self._exit_status() is None

    def check(self) -> None:
        """Raise ServerFailed with the log's last complaint when the server is gone."""
        if not self.is_running():
            raise ServerFailed(f"{self._ending()}, its log says: {complaints(self._log_tail())[-1]}")

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Return when `ready()` holds; raise ServerFailed when the server dies or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            running, late = self.is_running(), time.monotonic() > deadline
            if late or not running:
                state = f"{self.name} is not ready after {timeout_s:g} s" if running else self._ending()
                # Before a server was ever ready its first complaint is the cause, the rest are consequences.
                raise ServerFailed(f"{state}, its log says: {complaints(self._log_tail())[0]}")
            time.sleep(POLL_S)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """End the server with SIGTERM, then all that is left of its group with SIGKILL. Idempotent."""
        if self.stopped:
            return
        if self.is_running():
            self._popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while self.is_running() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """End the server and its children at once with SIGKILL."""
        if self.stopped:
            return
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self.stopped = True

    def _log_tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            return file.read().decode("utf-8", errors="replace")

    def _ending(self) -> str:
        status = self._exit_status()
        if status is None:
            return f"{self.name} was stopped"
        if status.si_code == os.CLD_EXITED:
            return f"{self.name} exited with code {status.si_status}"
        return f"{self.name} was ended by {signal.Signals(status.si_status).name}"

    def _exit_status(self) -> os.waitid_result | None:
        if self.stopped:
            return None
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)


def complaints(log: str) -> list[str]:
    """The severe lines of a log, or its last line if there is none; each cut to a readable length."""
    lines = [" ".join(_COLOUR.sub("", line).split()) for line in log.splitlines() if line.strip()]
    severe = [line for line in lines if _COMPLAINT.search(line)]
    return [line[:300] for line in severe or lines[-1:] or ["(nothing)"]]
