"""`adgauge monitor --once` as it is typed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from adgauge.cli import main
from adgauge.monitor.result import Result
from tests.monitor.log_lines import DAY_MS, label, score, write_lines

NOW_MS = time.time_ns() // 1_000_000


def files(folder: Path, n: int = 60) -> list[str]:
    """Arguments that name labels of yesterday and scores of 40 days ago."""
    at_ms = NOW_MS - 40 * DAY_MS
    labels = [label(f"P{k}", 1 + k % 5, observed_at=NOW_MS - DAY_MS) for k in range(n)]
    scores = [score(f"P{k}", 1.5 + k % 4, scored_at_ms=at_ms, event_ms=at_ms) for k in range(n)]
    return [
        "monitor",
        "--once",
        "--labels",
        write_lines(folder / "labels.jsonl", [*labels, label("bad", 7, observed_at=NOW_MS)]),
        "--scores",
        write_lines(folder / "scores.jsonl", scores),
    ]


def test_the_result_is_printed_and_written_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "result.json"
    assert main([*files(tmp_path), "--json", "-o", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed == output.read_text()
    result = Result.model_validate_json(printed)
    assert result.overall.figures.n == 60
    assert result.bad_rows[0].reason == "rating_out_of_range"


def test_people_read_the_verdict_a_line_for_each_slice_and_what_was_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(files(tmp_path)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("ok: PLCC is ")
    assert "generation 1, 60 of 60 labels compared" in lines
    assert "  left out: 1 labels rating_out_of_range" in lines
    assert any(line.startswith("rating_number 5 to 20") for line in lines)


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("[rules]\nminimum_pair = 3", "rules.minimum_pair: Extra inputs are not permitted"),
        ("[slices]\nprice = [20, 10]", "slices: Value error, price: edges must ascend"),
        ('[slices]\ncrosses = [["price", "colour"]]', "crosses: colour is none of main_category, price"),
        ('[slices]\nmain_category = ["other"]', "values must differ, also from other and unknown"),
        ("[slices", "is no TOML"),
    ],
)
def test_a_wrong_file_of_rules_is_one_line_that_says_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], written: str, complaint: str
) -> None:
    config = tmp_path / "monitor.toml"
    config.write_text(written)
    assert main([*files(tmp_path), "--config", str(config)]) == 1
    error = capsys.readouterr().err
    assert complaint in error
    assert error.count("\n") == 1


def test_without_labels_or_a_folder_that_is_there_the_error_says_what_to_give(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["monitor", "--once"]) == 1
    assert "give --labels, or set ADGAUGE_MONITOR_LABELS" in capsys.readouterr().err
    assert main(["monitor", "--once", "--labels", str(tmp_path / "none.jsonl")]) == 1
    assert "does not exist: give a file, a folder or a pattern" in capsys.readouterr().err
    monkeypatch.setenv("ADGAUGE_MONITOR_LABLES", "x")
    assert main(["monitor", "--once"]) == 1
    assert "did you mean ADGAUGE_MONITOR_LABELS" in capsys.readouterr().err


def test_nothing_is_left_behind_in_the_scratch_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("ADGAUGE_MONITOR_SCRATCH", str(scratch))
    assert main([*files(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["format"] == 1
    assert list(scratch.iterdir()) == []
