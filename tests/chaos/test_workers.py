"""What stopping and measuring a worker rests on, with processes that only sleep."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.chaos.servers import freeze
from tests.chaos.workers import family, go_on, resident_bytes

_PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"])
child.wait()
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_family_is_a_process_and_all_that_descend_from_it(parent: subprocess.Popen[str]) -> None:
    found = family(parent.pid)

    assert found[0] == parent.pid
    assert len(found) == 2


def test_memory_is_that_of_the_family_and_nothing_when_it_is_gone(parent: subprocess.Popen[str]) -> None:
    both, child = resident_bytes(parent.pid), resident_bytes(family(parent.pid)[1])

    assert both > child > 0
    assert resident_bytes(2**22 + 1) == 0  # beyond the largest pid


def test_what_was_stopped_goes_on(parent: subprocess.Popen[str]) -> None:
    stopped = freeze(parent.pid)
    _await(lambda: state(parent.pid) == "T")
    go_on([*stopped, 2**22 + 1])
    _await(lambda: state(parent.pid) != "T")


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
