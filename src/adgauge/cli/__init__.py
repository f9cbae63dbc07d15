"""The command line: `adgauge COMMAND …`. Exit codes: 0 done, 1 ran and failed, 2 wrong use, 130 Ctrl-C."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Sequence

from adgauge.cli.parser import build_parser
from adgauge.errors import AdgaugeError

FAILED = 1
INTERRUPTED = 130
BROKEN_PIPE = 141  # as a shell reports a program that SIGPIPE ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; wrong use raises SystemExit(2), as argparse does."""
    _print_any_text()
    _log_to_standard_error()
    try:
        try:
            return _run(arguments)
        finally:
            if sys.stdout is not None:  # as it is where standard output is closed
                sys.stdout.flush()
    except BrokenPipeError:
        _write_no_more()  # the reader has seen enough (`| head`)
        return BROKEN_PIPE
    except OSError as error:
        _write_no_more()
        print(f"adgauge: cannot write the output: {error.strerror or error}", file=sys.stderr)
        return FAILED


def _write_no_more() -> None:
    """What is left in the buffer would be written, and fail again, at exit."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str] | None) -> int:
    try:
        parsed = build_parser().parse_args(arguments)
        code: int = parsed.run(parsed)
    except AdgaugeError as error:
        print(f"adgauge: {' '.join(str(error).split())}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        # What was interrupted while it was being made complains when it is thrown away.
        sys.unraisablehook = lambda _: None
        return INTERRUPTED
    return code


def _print_any_text() -> None:
    """Ids of any script must not fail on a terminal that cannot show them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _log_to_standard_error() -> None:
    """Our warnings (a server is away and is tried again) for people; what libraries log is in our errors."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("adgauge: %(message)s"))
    logging.getLogger("adgauge").handlers = [handler]
    logging.getLogger().addHandler(logging.NullHandler())
