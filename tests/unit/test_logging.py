import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from adgauge.telemetry.logging import configure_logging


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    root.handlers = []  # ours replaces and closes what it finds, pytest's included
    yield
    root.handlers, root.level = handlers, level
    for name in ("adgauge", "services"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_a_pipe_gets_one_json_object_a_line() -> None:
    stream = io.StringIO()
    configure_logging(stream, logging.INFO)
    logging.getLogger("adgauge.runner").info("drained %d", 3, extra={"partition": 1, "odd": {1}})

    event = json.loads(stream.getvalue())
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "info",
        "logger": "adgauge.runner",
        "message": "drained 3",
        "partition": 1,
        "odd": "{1}",
    }


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    configure_logging(stream, logging.INFO)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("adgauge").exception("failed")

    assert stream.getvalue().count("\n") == 1
    assert "ValueError: first\nsecond" in json.loads(stream.getvalue())["exception"]


def test_a_terminal_gets_plain_lines() -> None:
    stream = Terminal()
    configure_logging(stream, logging.INFO)
    logging.getLogger("adgauge").info("ready")

    assert stream.getvalue().endswith("INFO adgauge: ready\n")


def test_libraries_are_heard_from_warnings_up() -> None:
    stream = io.StringIO()
    configure_logging(stream, logging.DEBUG)
    logging.getLogger("kafka").info("chatter")
    logging.getLogger("adgauge").debug("kept")

    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["kept"]
    assert sys.stderr is not stream
