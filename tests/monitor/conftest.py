"""What tests of the monitor share: an engine, and files of labels and scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adgauge.monitor.engine import Engine, open_engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An empty engine in a folder of the test's."""
    with open_engine(tmp_path, memory_mb=256, threads=1) as opened:
        yield opened
