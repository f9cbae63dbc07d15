"""The benchmark for GPUs, tried on the CPU: a real tritonserver with systems of a few weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from adgauge.contract import CONTRACT_FILE, load_contract
from adgauge.errors import ConfigurationError
from benchmarks.gpu.agreement import Agreement
from benchmarks.gpu.load import Effort, Point
from benchmarks.gpu.report import Result, table
from benchmarks.gpu.run import main, measure
from benchmarks.gpu.serving import require_environment
from benchmarks.gpu.subjects import Subject, exported_subject, torch_subjects
from services.embedded.settings import EmbeddedSettings

VENV = EmbeddedSettings().triton_venv
BRIEFLY = ["--device", "cpu", "--batches", "1,4", "--in-flight", "2", "--seconds", "0.05", "--repeats", "1"]
POINT = Point(products_per_s=1234.56, p50_ms=1.5, p99_ms=2.25, model_ms=0.75, requests=9)


@pytest.fixture
def subject() -> Iterator[Subject]:
    yield from torch_subjects("lovif_tiny", ["fp32"], "cpu", "longest", tokenizer=None)


def test_a_system_is_served_measured_and_written_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "gpu.json"
    code = main(["--models", "lovif_tiny", "--precisions", "bf16", *BRIEFLY, "--out", str(out)])
    printed = capsys.readouterr()
    assert (code, printed.err) == (0, "")
    written = json.loads(out.read_text())
    found = written["figures"]["lovif_tiny"]["bf16"]
    assert written["machine"]["device"] == "cpu"
    assert found["runtime"] == "torch"
    assert re.fullmatch(r"2\.\d+\.\d+", found["triton"])
    assert found["agreement"]["plcc"] >= 0.999
    assert 0 < found["agreement"]["max_delta"] <= 0.03
    assert found["not_reported"] is None
    assert list(found["curve"]) == ["tokens_16", "tokens_32"]
    for tokens in (16, 32):
        for rows in (1, 4):
            point = found["curve"][f"tokens_{tokens}"]["in_flight_2"][f"rows_{rows}"]
            assert point["requests"] >= 2
            assert 0 < point["model_ms"] < point["p99_ms"]
            assert point["p50_ms"] <= point["p99_ms"]
            cells = [point["products_per_s"], point["p50_ms"], point["p99_ms"], point["model_ms"]]
            line = next(
                each for each in printed.out.splitlines() if each.split()[:3] == [f"{tokens}", "2", f"{rows}"]
            )
            assert [float(cell) for cell in line.split()[3:]] == pytest.approx(cells, abs=0.06)


def test_fast_wrong_answers_are_no_figures(subject: Subject) -> None:
    (products,) = subject.products
    wrong = replace(subject, products=(replace(products, reference=products.reference + 0.01),))
    result = measure(wrong, Effort((4,), (1,), seconds=0.05, repeats=1), VENV, idle_mib=None)
    assert result.curve == {}
    assert result.not_reported is not None
    assert "max |Δ| is 1.00e-02, at most 1.00e-03 is allowed" in result.not_reported
    assert "NOT REPORTED: max |Δ| is" in table([result])


def test_an_exported_graph_is_held_to_its_golden_scores(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    exported = ["--repository", str(EmbeddedSettings().model_repository), "--models", "effimini_lite0"]
    few = ["--rungs", "longest", "--batches", "4", "--in-flight", "1"]
    assert main([*exported, *BRIEFLY, *few, "--out", str(out)]) == 0
    found = json.loads(out.read_text())["figures"]["effimini_lite0"]["fp32"]
    assert found["runtime"] == "onnxruntime"
    assert found["agreement"]["max_delta"] <= 1e-4
    assert found["curve"]["tokens_256"]["in_flight_1"]["rows_4"]["products_per_s"] > 0


def test_a_graph_for_cpus_is_no_graph_for_a_gpu(tmp_path: Path) -> None:
    contract = load_contract(EmbeddedSettings().model_repository / "effimini_lite0" / "1")
    folder = tmp_path / "effimini_lite0" / "1"
    folder.mkdir(parents=True)
    (folder / CONTRACT_FILE).write_text(contract.model_copy(update={"precision": "bf16"}).to_json())
    with pytest.raises(ConfigurationError, match="its graph is float32; export fp16"):
        exported_subject(tmp_path, "effimini_lite0", "cuda", "all")


def test_a_table_has_a_line_a_place_and_its_columns_a_precision() -> None:
    agreed = Agreement(answers=40, max_delta=2e-7, plcc=1.0, complaints=())
    whole = Result("pinco", "fp32", "torch", agreement=agreed, memory_mib=900, curve={(256, 1, 8): POINT})
    failed = Result("pinco", "fp16", "torch", not_reported="triton: cannot score: out of memory")
    heading, line, *summaries = table([whole, failed]).splitlines()[1:]
    columns = "products/s p50 ms p99 ms model ms"
    assert heading.split() == f"tokens in flight rows fp32 {columns} fp16 {columns}".split()
    assert line.split() == ["256", "1", "8", "1234.6", "1.50", "2.25", "0.75", "-", "-", "-", "-"]
    assert len(heading) == len(line)
    assert summaries == [
        "fp32 (torch): max |Δ| 2.0e-07, PLCC 1.000000 to torch fp32 in 40 answers, 900 MiB of the GPU",
        "fp16 (torch): NOT REPORTED: triton: cannot score: out of memory",
    ]


def test_without_a_gpu_it_says_so_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "gpu.json"
    assert main(["--models", "lovif_tiny", "--out", str(out)]) == 1
    assert re.fullmatch(r"benchmarks\.gpu: torch \S+ sees no GPU: .*\n", capsys.readouterr().err)
    assert not out.exists()


def test_a_model_that_cannot_be_had_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    assert main(["--models", "mystery", *BRIEFLY, "--out", str(out)]) == 1
    assert "mystery is neither a checkpoint's folder nor a model" in capsys.readouterr().err
    assert main(["--repository", str(tmp_path), "--models", "mystery", *BRIEFLY, "--out", str(out)]) == 1
    assert "run `adgauge export` first" in capsys.readouterr().err


def test_an_environment_of_another_python_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.version_info", type("Version", (), {"major": 3, "minor": 99})())
    with pytest.raises(ConfigurationError, match=r"is of Python 3\.\d+ and torch here of Python 3\.99"):
        require_environment(VENV)


@pytest.mark.parametrize(
    "wrong", [["--precisions", "fp8"], ["--batches", "0"], ["--seconds", "0"], ["--device", "tpu"]]
)
def test_wrong_use_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(wrong)
    assert exit_.value.code == 2
    assert f"argument {wrong[0]}" in capsys.readouterr().err
