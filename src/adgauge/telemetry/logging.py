"""Logs on standard error: one JSON object a line for machines, plain lines on a terminal."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

# What every LogRecord carries; anything else was given by `extra=` and is a field of the event.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, the fields of `extra=`, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON; values JSON does not know are written as text."""
        moment = datetime.fromtimestamp(record.created, UTC)
        event: dict[str, object] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        event |= {name: value for name, value in vars(record).items() if name not in _OWN | event.keys()}
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str, ensure_ascii=False)


def configure_logging(stream: TextIO, level: int) -> None:
    """Send adgauge's logs from `level` up, and warnings of libraries, to `stream`."""
    handler = logging.StreamHandler(stream)
    plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%H:%M:%S")
    handler.setFormatter(plain if stream.isatty() else JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for ours in ("adgauge", "services"):
        logging.getLogger(ours).setLevel(level)
