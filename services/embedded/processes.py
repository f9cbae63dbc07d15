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
_COMPLAINT = re.compile(r"error|fatal|panic|exception|failed|unable|cannot|in use|^E\d{4} ", re.IGNORECASE)


class ServerFailed(AdgaugeError):
    """A server could not be started or has died; the message is one line that says what to do."""


class ServerProcess:
    """A running child, leader of a session of its own.

    Ctrl-C in the terminal therefore reaches us and not the server, and we stop servers in order.
    The exit status is left unread until `stop`: until then nobody else can be given its pid, so a
    signal to its group never hits a stranger.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        log: Path,
        on_stopped: Callable[[int], None],
    ) -> None:
        """Start `argv` with exactly `env`; `on_stopped(pid)` is called once it is gone.

        Raises ServerFailed when the program cannot be executed or the log cannot be written.
        """
        self.name = name
        self.log = log
        self._on_stopped = on_stopped
        self._stopped = False
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
        return not self._stopped and not self._has_exited()

    def check(self) -> None:
        """Raise ServerFailed with the log's most telling line when the server is gone."""
        if not self.is_running():
            raise ServerFailed(f"{self.name} (pid {self.pid}) {self._ending()}: {self.complaint()}")

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Return when `ready()` holds; raise ServerFailed when the server dies or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.name} is not ready after {timeout_s:g} s: {self.complaint()}")
            time.sleep(POLL_S)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """End the server with SIGTERM, then all that is left of its group with SIGKILL. Idempotent."""
        if self._stopped:
            return
        if not self._has_exited():
            self._popen.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + grace_s
        while not self._has_exited() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        self.kill()

    def kill(self) -> None:
        """End the server and its children at once with SIGKILL."""
        if self._stopped:
            return
        os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._stopped = True
        self._on_stopped(self.pid)

    def complaint(self) -> str:
        """The log's first complaint, or its last line, shortened to one readable line."""
        lines = [line for line in self._log_tail().splitlines() if line.strip()]
        complaints = [line for line in lines if _COMPLAINT.search(line)]
        return " ".join((complaints or lines[-1:] or ["its log is empty"])[0].split())[:300]

    def _log_tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 16_384))
            return file.read().decode("utf-8", errors="replace")

    def _ending(self) -> str:
        status = (
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) if not self._stopped else None
        )
        if status is None:
            return "was stopped"
        if status.si_code == os.CLD_EXITED:
            return f"exited with code {status.si_status}"
        return f"was ended by {signal.Signals(status.si_status).name}"

    def _has_exited(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
