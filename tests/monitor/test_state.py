"""What the monitor keeps between runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from adgauge.errors import ConfigurationError
from adgauge.monitor.result import Result
from services.monitor.state import StateFolder
from tests.monitor.example_result import example_result


def test_a_result_is_kept_even_where_its_history_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "history.sqlite").write_text("a letter to somebody")
    result = example_result()
    with pytest.raises(ConfigurationError):
        StateFolder(tmp_path).keep(result, ())
    assert Result.model_validate_json((tmp_path / "result.json").read_bytes()) == result


def test_result_report_and_history_are_kept_together(tmp_path: Path) -> None:
    result, state = example_result(), StateFolder(tmp_path / "new")
    state.keep(result, ())
    assert state.last_good() == result
    assert result.verdict.headline in (tmp_path / "new" / "report.html").read_text()
