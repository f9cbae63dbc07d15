"""A run as a child process, from its beginning to its end, whichever way that comes."""

import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from adgauge.errors import ConfigurationError
from adgauge.monitor.metrics import RunOutcome
from adgauge.monitor.result import Result
from services.monitor import one_run


class RunProcess:
    """A run that has begun, in a folder of its own below `scratch`; leaving the context ends it.

    Raises ConfigurationError where it cannot be started.
    """

    def __init__(self, scratch: Path | None) -> None:
        try:
            self._folder = tempfile.TemporaryDirectory(
                prefix="adgauge-monitor-", dir=scratch, ignore_cleanup_errors=True
            )
            self._process = subprocess.Popen(
                [sys.executable, "-m", one_run.__name__, self._folder.name],
                stdin=subprocess.PIPE,  # its end tells the child that we are gone
                start_new_session=True,
            )
        except OSError as exc:
            raise ConfigurationError(f"cannot begin a run: {exc}") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def outcome(self) -> RunOutcome | None:
        """How it ended; None while it goes on."""
        # The status is left unread: until `close` nobody else can be given its pid, which `close` kills.
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return None
        if ended.si_code != os.CLD_EXITED:
            return RunOutcome.KILLED
        return RunOutcome.FAILED if ended.si_status else RunOutcome.OK

    def result(self) -> Result:
        """What a run found that ended well."""
        return Result.model_validate_json((Path(self._folder.name) / one_run.RESULT).read_bytes())

    def close(self) -> None:
        """Kill it and what it started, and remove the folder. Never waits for its consent."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._folder.cleanup()
