"""Exports of the presets for tests, each made once a session."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from adgauge.export.repository import Written, write_version
from adgauge.export.source import open_source

Export = Callable[[str], Written]


@pytest.fixture(scope="session")
def tiny_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository; what is in it is for reading."""
    return tmp_path_factory.mktemp("tiny") / "repository"


@pytest.fixture(scope="session")
def exported(tiny_repository: Path) -> Export:
    """Exports a system into `tiny_repository`, once."""

    @cache
    def export(name: str) -> Written:
        return write_version(open_source(name), tiny_repository)

    return export
