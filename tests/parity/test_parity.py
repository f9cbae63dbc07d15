"""`adgauge parity` and its gates: the small EffiMini in torch, in its CPU runtime and in a tritonserver."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from adgauge.adapters.settings import ServerSettings
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.cli import main
from adgauge.cli.catalog_inputs import read_catalog_inputs
from adgauge.contract import CONTRACT_FILE, ModelContract, file_sha256, load_contract
from adgauge.errors import ContractMismatch
from adgauge.export.comparison import Scores, gate_for
from adgauge.export.golden_products import golden_inputs, golden_products
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE
from adgauge.export.parity import graph_run, measure, require_parity, row_tokens_for, torch_scores
from adgauge.export.repository import Written
from adgauge.export.source import Source, open_source
from adgauge.records import CanonicalInput

NAME = "effimini_tiny"
GROUPS = [*(f"batch of {size}" for size in (1, 2, 4, 8, 16, 32)), "padded to 32", "batch-mates"]


@pytest.fixture(scope="module")
def source() -> Source:
    return open_source(NAME)


@pytest.fixture(scope="module")
def version(exported: Callable[[str], Written]) -> Path:
    return exported(NAME).folder


@pytest.fixture(scope="module")
def contract(version: Path) -> ModelContract:
    return load_contract(version)


@pytest.fixture(scope="module")
def golden(version: Path, contract: ModelContract) -> list[CanonicalInput]:
    return list(golden_inputs(contract, version))


@pytest.fixture(scope="module")
def reference(source: Source, contract: ModelContract, golden: list[CanonicalInput]) -> Scores:
    return torch_scores(source.model, contract, golden)


@pytest.fixture(autouse=True)
def _no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TRITON_URL", "MODEL_DIR"):
        monkeypatch.delenv(f"ADGAUGE_{name}", raising=False)


def test_torch_the_graph_and_triton_score_golden_records_and_a_labelled_file_alike(
    version: Path, golden: list[CanonicalInput], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "labelled.jsonl"
    products = [{**each, "average_rating": 1 + number / 8} for number, each in enumerate(golden_products())]
    gone = {"parent_asin": "GONE", "_deleted": True}
    path.write_text("\n".join([*map(json.dumps, products), "no JSON", json.dumps(gone)]))
    arguments = ["--model-dir", str(version), "--triton", "--data", str(path), "--json"]
    assert main(["parity", NAME, *arguments]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["passed"] is True
    assert document["golden_spread"] >= 0.3
    assert document["recorded"]["max_delta"] <= 1e-5
    for name, of in document["sets"].items():
        assert (name, of["n"]) in {("golden", len(golden)), ("data", len(golden))}
        assert list(of["runtimes"]) == ["onnxruntime", "triton"]
        for groups in of["runtimes"].values():
            require_alike(groups, len(golden))
    data = document["sets"]["data"]
    assert (document["file"], data["labelled"]) == (str(path), len(products))
    assert data["left_out"] == {"not_json": 1, "deleted": 1}
    correlations = data["plcc_to_labels"]
    assert list(correlations) == ["torch", "onnxruntime", "triton"]
    assert max(correlations.values()) - min(correlations.values()) < 1e-3


def require_alike(groups: list[dict[str, Any]], n: int) -> None:
    """All of them, all of their rows, and no difference to speak of."""
    assert [group["group"] for group in groups] == GROUPS
    assert all(group["rows"] == n for group in groups if group["group"] != "padded to 32")
    assert all(group["rows"] > 0 and group["runs"] > 0 and not group["runs_left_out"] for group in groups)
    assert all(group["max_delta"] <= 1e-4 and group["plcc"] > 0.999999 for group in groups)


@pytest.fixture(scope="module")
def canonicalizer(version: Path, contract: ModelContract) -> Canonicalizer:
    return Canonicalizer(contract, version)


def test_a_csv_file_is_read_as_it_is_scored(canonicalizer: Canonicalizer, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "teal").save(tmp_path / "a.png")
    path = tmp_path / "input.csv"
    path.write_text("parent_asin,image_paths,average_rating\nA,a.png,4.5\nB,b.png,\n,a.png,3\nC,,2\n")
    shown: list[str] = []
    read = read_catalog_inputs(str(path), canonicalizer, ServerSettings(), image_root=None, show=shown.append)
    assert [one.arrays["has_image"].tolist() for one in read.inputs] == [[1.0], [0.0], [0.0]]
    assert read.labels == [4.5, None, 2.0]
    assert read.left_out == {"no_id": 1}
    assert read.without_image == {"not_found": 1, "no_reference": 1}
    assert shown == [f"{path}: 3 products"]


def test_a_file_of_two_products_compares_nothing(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.jsonl"
    path.write_text("\n".join(json.dumps({"parent_asin": name}) for name in "AB"))
    assert main(["parity", NAME, "--model-dir", str(version), "--data", str(path)]) == 1
    assert f"{path} has 2 products that can be scored; at least 3" in capsys.readouterr().err


def test_a_changed_weight_fails_with_figures_and_bounds(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(version, folder)
    change_weight(folder, "head", by=0.05)
    assert main(["parity", NAME, "--model-dir", str(folder)]) == 1
    shown = capsys.readouterr().out
    assert "FAIL golden, onnxruntime, batch of 1: max |Δ| is" in shown
    assert "at most 1.00e-04 is allowed" in shown
    assert shown.rstrip().endswith("no parity")


def change_weight(folder: Path, of: str, by: float) -> None:
    """One number of the last weight whose name begins so, and the contract, as if it were meant."""
    graph = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    tensor = [each for each in graph.graph.initializer if each.name.startswith(f"{of}.")][-1]
    offset = int({entry.key: entry.value for entry in tensor.external_data}["offset"])
    content = bytearray((folder / DATA_FILE).read_bytes())
    number = np.frombuffer(content, dtype=np.float32, count=1, offset=offset)
    content[offset : offset + 4] = (number + np.float32(by)).tobytes()
    (folder / DATA_FILE).write_bytes(content)
    ours = load_contract(folder)
    weights = {**ours.weights, DATA_FILE: file_sha256(folder / DATA_FILE)}
    (folder / CONTRACT_FILE).write_text(ours.model_copy(update={"weights": weights}).to_json())


def test_a_version_that_is_not_as_its_contract_says_is_not_compared(
    version: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "1"
    shutil.copytree(version, folder)
    (folder / DATA_FILE).write_bytes(b"other weights")
    assert main(["parity", NAME, "--model-dir", str(folder)]) == 1
    assert f"{folder / DATA_FILE}: sha256 is" in capsys.readouterr().err


def test_another_model_than_was_exported_is_refused(
    version: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["parity", "lovif_tiny", "--model-dir", str(version)]) == 1
    assert f"lovif_tiny is given other inputs than {version} says" in capsys.readouterr().err


def test_what_has_no_room_is_left_out_and_named(
    version: Path, contract: ModelContract, golden: list[CanonicalInput], reference: Scores
) -> None:
    run = graph_run(version, contract)
    parity = require_parity(reference, run, golden, contract, trained=False, row_tokens=256)
    groups = {group.group: group for group in parity.groups}
    assert groups["batch of 1"].rows == len(golden)
    assert (groups["batch of 32"].rows, groups["batch of 32"].compared) == (0, None)
    assert {(len(each.rows), each.tokens) for each in groups["batch of 32"].left_out} == {(32, 16), (32, 32)}
    assert 0 < groups["batch of 4"].rows < len(golden)


Rows = Sequence[CanonicalInput]
Disturb = Callable[[Scores, Rows], Scores]
SHARED = {*GROUPS[1:6], "batch-mates"}


def towards_the_mean(scores: Scores, _: Rows) -> Scores:
    moved: Scores = scores + (scores.mean() - scores) * np.float32(0.01)
    return moved


def by_place(scores: Scores, _: Rows) -> Scores:
    moved: Scores = scores + np.arange(len(scores), dtype=np.float32) * np.float32(0.001)
    return moved


def by_padding(scores: Scores, rows: Rows) -> Scores:
    needless = [row.rung == 32 and row.arrays["attention_mask"].sum() <= 16 for row in rows]
    moved: Scores = scores + np.array(needless, dtype=np.float32) * np.float32(0.001)
    return moved


@pytest.mark.parametrize(
    ("disturb", "where"),
    [(towards_the_mean, SHARED), (by_place, SHARED), (by_padding, {"padded to 32", "batch-mates"})],
)
def test_a_score_that_depends_on_more_than_its_product_fails_where_it_does(
    disturb: Disturb,
    where: set[str],
    version: Path,
    contract: ModelContract,
    golden: list[CanonicalInput],
    reference: Scores,
) -> None:
    run = graph_run(version, contract)
    gate = gate_for("fp32", reference, trained=False)
    parity = measure(reference, lambda rows: disturb(run(rows), rows), golden, contract, gate)
    assert {group.group for group in parity.groups if group.failures} == where
    assert all(failure.partition(": ")[0] in where for failure in parity.failures)


def test_a_score_that_is_no_number_fails(
    version: Path, contract: ModelContract, golden: list[CanonicalInput], reference: Scores
) -> None:
    run = graph_run(version, contract)

    def broken(rows: Any) -> Scores:
        scores = run(rows)
        scores[-1] = np.nan
        return scores

    with pytest.raises(
        ContractMismatch,
        match=rf"{NAME} 1 as fp32 does not score as its model does: batch of 1: max .Δ. is nan",
    ):
        require_parity(reference, broken, golden, contract, trained=False)


def test_fewer_scores_than_rows_are_refused(
    version: Path, contract: ModelContract, golden: list[CanonicalInput], reference: Scores
) -> None:
    run = graph_run(version, contract)
    with pytest.raises(ContractMismatch, match=r"batch of 2: 2 rows give scores of shape \(1,\)"):
        require_parity(reference, lambda rows: run(rows)[:1], golden, contract, trained=False)


def test_golden_scores_that_lie_together_prove_nothing(
    version: Path, contract: ModelContract, golden: list[CanonicalInput], reference: Scores
) -> None:
    near = np.float32(3) + (reference - np.float32(3)) * np.float32(0.1)
    run = graph_run(version, contract)
    for trained in (False, True):
        with pytest.raises(ContractMismatch, match="parity would prove nothing"):
            require_parity(near, run, golden, contract, trained=trained)


def test_a_graph_that_cannot_run_is_named(version: Path, contract: ModelContract, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(version, folder)
    (folder / GRAPH_FILE).write_bytes(b"no graph")
    with pytest.raises(ContractMismatch, match=f"{folder}: the graph cannot be opened"):
        graph_run(folder, contract)


def test_large_models_are_tried_less(contract: ModelContract) -> None:
    assert row_tokens_for(contract) == 16_384
    costly = contract.model_copy(update={"cost": contract.cost.model_copy(update={"flops": 10**14})})
    assert row_tokens_for(costly) == 32 * 16
