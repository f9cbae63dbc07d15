"""`adgauge parity`: what it prints, and what it does without torch. Its figures are shown in tests/parity."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adgauge.cli.catalog_inputs import CatalogInputs
from adgauge.cli.parity_report import DATA, GOLDEN, Report, Tried, as_json, as_text
from adgauge.export.comparison import Comparison, Gate
from adgauge.export.parity import Measured, Parity
from adgauge.export.parity_groups import Batch
from tests.contracts import contract

REFERENCE = np.array([2.0, 3.0, 4.0], dtype=np.float32)
ALIKE = Comparison(3, 1.5e-5, 1e-5, 0.99999951, 0, 0.0)
APART = Comparison(3, 0.25, 0.1, 0.98, 2, 1.0)
UNKNOWN = Comparison(3, math.nan, math.nan, math.nan, None, None)
FIRST = Measured("batch of 1", 3, 3, (), ALIKE, ())
FAILED = replace(FIRST, compared=APART, failures=("max |Δ| is 2.50e-01, at most 1.00e-04 is allowed",))
LEFT_OUT = Measured("batch of 32", 0, 0, (Batch((0,) * 32, 64),), None, ())
PARTLY = Measured("padded to 64", 2, 2, (Batch((1,), 64), Batch((2,), 64)), ALIKE, ())


def tried(name: str, *groups: Measured, labels: tuple[float | None, ...] = ()) -> Tried:
    parities = {"onnxruntime": Parity(REFERENCE, groups)}
    products = CatalogInputs([], list(labels), Counter(not_json=2), Counter(not_found=1))
    return Tried(name, products, REFERENCE, parities)


def report(folder: Path, *sets: Tried) -> Report:
    return Report(
        source="checkpoints/ours",
        contract=contract(folder),
        spread=2.0,
        gate=Gate(1e-4, None),
        row_tokens=512,
        file="labelled.jsonl",
        recorded=ALIKE,
        recorded_failures=(),
        tried=sets,
    )


def test_the_table_has_a_line_for_every_group(tmp_path: Path) -> None:
    lines = as_text(report(tmp_path, tried(GOLDEN, FIRST, PARTLY))).splitlines()
    assert lines[0] == (
        "small 1 in fp32 against checkpoints/ours in torch: golden scores span 2.0000;"
        " max |Δ| at most 1.00e-04"
    )
    cells = [[cell for cell in line.split("  ") if cell.strip()] for line in lines[1:5]]
    assert [cell.strip() for cell in cells[2]] == [
        "golden", "onnxruntime", "batch of 1", "3", "1.50e-05", "1.00e-05", "1.000000", "0", "0", "ok",
    ]  # fmt: skip
    assert "2 of 3" in lines[4]
    assert lines[-1] == "parity"


def test_a_failed_group_and_what_was_not_run_are_named(tmp_path: Path) -> None:
    made = report(tmp_path, tried(GOLDEN, FIRST, LEFT_OUT))
    text = as_text(made)
    left_out = "1 of 1 runs left out, of 32 × 64 tokens: --row-tokens is 512"
    assert f"golden, onnxruntime, batch of 32: {left_out}" in text
    assert text.splitlines()[4].split()[-10:] == ["0", "of", "3", *"–––––", "not", "run"]
    assert text.endswith("\nparity, in all but 1 groups, which were not run")
    failed = report(tmp_path, tried(GOLDEN, FAILED))
    assert failed.failures == [
        "golden, onnxruntime, batch of 1: max |Δ| is 2.50e-01, at most 1.00e-04 is allowed"
    ]
    assert as_text(failed).endswith(f"FAIL {failed.failures[0]}\nno parity")


def test_recorded_scores_that_are_not_torchs_are_a_failure(tmp_path: Path) -> None:
    made = replace(report(tmp_path, tried(GOLDEN, FIRST)), recorded_failures=("max |Δ| is 1.00e+00",))
    assert made.failures == ["golden.jsonl: max |Δ| is 1.00e+00"]


def test_a_file_is_summed_up_with_the_correlation_of_its_labels(tmp_path: Path) -> None:
    text = as_text(report(tmp_path, tried(DATA, FIRST, labels=(1.0, 2.0, 3.0))))
    assert "data: labelled.jsonl; left out: 2 not_json; without a picture: 1 not_found" in text
    assert "data: PLCC to 3 labels: torch 1.000000, onnxruntime 1.000000" in text
    assert "labels:" not in as_text(report(tmp_path, tried(DATA, FIRST, labels=(1.0, 2.0, None))))


@pytest.mark.parametrize("compared", [UNKNOWN, None])
def test_json_has_null_or_nothing_for_what_is_no_number(tmp_path: Path, compared: Comparison | None) -> None:
    document = as_json(report(tmp_path, tried(GOLDEN, replace(FIRST, compared=compared))))
    json.dumps(document, allow_nan=False)
    (group,) = document["sets"]["golden"]["runtimes"]["onnxruntime"]
    assert group.get("max_delta") is None
    assert document["passed"] is True


WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from adgauge.cli import main; sys.exit(main())"


def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own, where nothing has imported it yet."""
    program = [
        sys.executable,
        "-c",
        WITHOUT,
        "torch",
        "parity",
        "effimini_tiny",
        "--model-dir",
        str(tmp_path),
    ]
    told = subprocess.run(program, capture_output=True, text=True, check=False)
    remedy = "adgauge: torch is not installed: run `pip install 'adgauge[train,export]'`\n"
    assert (told.returncode, told.stderr) == (1, remedy)
