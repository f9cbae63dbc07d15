"""`adgauge export`: the same bytes every time, whole or not at all, and never what scores otherwise."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.cli import main
from adgauge.contract import CONTRACT_FILE, GOLDEN_FILE, Precision, load_contract, wrong_files
from adgauge.errors import AdgaugeError, ConfigurationError, ContractMismatch
from adgauge.export.comparison import LEAST_UNTRAINED_SPREAD
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE, OPSET
from adgauge.export.parity import graph_run
from adgauge.export.repository import Wanted, Written, write_version
from adgauge.export.source import Source, open_source
from adgauge.export.templates.runtime import has_bfloat16
from adgauge.models.registry import TINY as PRESETS
from adgauge.training.checkpoint import WEIGHTS_FILE

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "model_repository" / "effimini_lite0" / "1"
RECIPES = ROOT / "src/adgauge/training/recipes"
TINY = "effimini_tiny"

Export = Callable[[str], Written]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}


@pytest.fixture(scope="module")
def source() -> Source:
    return open_source(TINY)


@pytest.fixture
def repository(exported: Export, tmp_path: Path) -> Path:
    """A repository of one's own, with version 1 of TINY."""
    folder = exported(TINY).folder.parent
    shutil.copytree(folder, tmp_path / "repository" / TINY)
    return tmp_path / "repository"


def other_weights(source: Source) -> Source:
    model = open_source(TINY).model
    with torch.no_grad():
        next(model.head.parameters()).add_(0.01)
    return replace(source, model=model)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_system_exports_and_scores_as_in_torch(name: str, exported: Export) -> None:
    written = exported(name)
    assert written.is_new
    assert written.spread >= LEAST_UNTRAINED_SPREAD
    for group in written.parity.groups:
        assert group.compared is not None
        assert group.compared.max_delta <= min(1e-4, 1e-3 * written.spread), group.group
    contract = load_contract(written.folder)
    assert contract == written.contract
    assert wrong_files(written.folder, contract) == {}
    assert set(contract.files()) | {CONTRACT_FILE} == set(contents(written.folder))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_graphs_take_any_number_of_rows_and_tokens_and_raw_pixels(name: str, exported: Export) -> None:
    written = exported(name)
    graph = onnx.load(written.folder / GRAPH_FILE, load_external_data=False)
    assert [(one.domain, one.version) for one in graph.opset_import] == [("", OPSET)]
    assert OPSET >= 18
    shapes = {
        one.name: [side.dim_param or side.dim_value for side in one.type.tensor_type.shape.dim]
        for one in graph.graph.input
    }
    for tensor in written.contract.inputs:
        sides = ["tokens" if side == -1 else side for side in tensor.shape]
        assert shapes[tensor.name] == ["batch", *sides]
    assert (written.folder / GRAPH_FILE).stat().st_size < 1 << 20


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_golden_records_tell_products_apart_by_picture_and_by_text(name: str, exported: Export) -> None:
    written = exported(name)
    records = load_golden(written.folder / GOLDEN_FILE)
    inputs = canonicalize_golden(Canonicalizer(written.contract, written.folder), records)
    assert [one.digest for one in inputs] == [record.digest for record in records]
    assert {one.rung for one in inputs} == set(written.contract.spec.text.ladder)
    pictured = [record.score for record in records[:7]]  # one text, seven pictures
    assert max(pictured) - min(pictured) > 10 * written.contract.tolerance
    assert len({record.score for record in records}) >= len({one.digest for one in inputs}) - 2


def test_exporting_again_completes_the_configuration_changes_nothing_and_says_so(
    repository: Path, exported: Export, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in (repository / TINY / "1").iterdir()}
    (repository / TINY / "config.pbtxt").unlink()
    assert main(["export", TINY, "--out", str(repository)]) == 0
    printed = capsys.readouterr()
    assert "1: was there already, the same: nothing is changed" in printed.out
    assert "its weights are random" in printed.err
    assert {path: path.stat().st_mtime_ns for path in (repository / TINY / "1").iterdir()} == before
    assert contents(repository / TINY) == contents(exported(TINY).folder.parent)


def test_another_process_writes_the_same_bytes(exported: Export, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "adgauge.cli", "export", TINY, "--out", str(tmp_path), "--json"]
    environment = os.environ | {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert contents(tmp_path / TINY) == contents(exported(TINY).folder.parent)
    document = json.loads(done.stdout)
    assert (document["name"], document["version"], document["written"]) == (TINY, 1, True)
    assert document["digest"] == exported(TINY).contract.digest()
    assert done.stderr == "adgauge: warning: its weights are random, so its scores mean nothing\n"


def test_a_version_that_is_taken_by_other_weights_stays(repository: Path, source: Source) -> None:
    before = contents(repository)
    with pytest.raises(ConfigurationError, match=r"1 is taken by other weights .* --version 2"):
        write_version(other_weights(source), repository)
    assert contents(repository) == before


def test_other_weights_become_the_next_version_beside_the_first(repository: Path, source: Source) -> None:
    before = contents(repository / TINY / "1")
    written = write_version(other_weights(source), repository, Wanted(version=2))
    assert written.folder == repository / TINY / "2"
    assert contents(repository / TINY / "1") == before
    config = (repository / TINY / "config.pbtxt").read_text()
    assert "versions: [ 1, 2 ]" in config
    assert written.contract.digest() in config


def test_a_version_that_was_changed_afterwards_is_not_taken_for_the_same(
    repository: Path, source: Source
) -> None:
    (repository / TINY / "1" / "model.py").write_text("changed")
    with pytest.raises(ConfigurationError, match=r"1/model\.py is not as it was exported: remove it, or "):
        write_version(source, repository)


def test_a_folder_that_no_export_wrote_is_not_replaced(source: Source, tmp_path: Path) -> None:
    (tmp_path / TINY / "1").mkdir(parents=True)
    (tmp_path / TINY / "1" / "model.onnx").write_text("by hand")
    with pytest.raises(ConfigurationError, match="no version that adgauge exported: remove it, or export"):
        write_version(source, tmp_path)
    assert contents(tmp_path) == {f"{TINY}/1/model.onnx": b"by hand"}


def test_a_model_of_other_inputs_needs_another_name(repository: Path) -> None:
    before = contents(repository)
    pinco = open_source("pinco_tiny")
    with pytest.raises(ContractMismatch, match=r"differ in inputs.* under another --name"):
        write_version(pinco, repository, Wanted(name=TINY, version=2))
    assert contents(repository) == before


class Otherwise(nn.Module):
    """Gives more when it is exported."""

    def forward(self, rating: Tensor) -> Tensor:
        return rating + 0.01 if torch.compiler.is_exporting() else rating


def test_a_graph_that_scores_otherwise_is_not_written(tmp_path: Path) -> None:
    source = open_source(TINY)
    head = source.model.head
    assert isinstance(head, nn.Sequential)
    head.append(Otherwise())
    with pytest.raises(ContractMismatch, match=r"does not score as its model does.* at most"):
        write_version(source, tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_rates_all_alike_is_not_written(source: Source, tmp_path: Path) -> None:
    model = open_source(TINY).model
    with torch.no_grad():
        next(reversed(list(model.head.parameters()))).zero_()  # the bias
        list(model.head.parameters())[-2].zero_()
    with pytest.raises(ContractMismatch, match="parity would prove nothing"):
        write_version(replace(source, model=model), tmp_path / "repository")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (Wanted(name="../elsewhere"), "no model's name"),
        (Wanted(precision="bf16", cpu_runtime="onnxruntime"), "--cpu-runtime onnxruntime has no bf16"),
        (Wanted(precision="fp16", cpu_runtime="openvino"), "--cpu-runtime openvino cannot run fp16"),
        (Wanted(calibration=()), "--calibration: fp32 needs no products"),
    ],
)
def test_what_cannot_be_served_is_refused(wanted: Wanted, said: str, source: Source, tmp_path: Path) -> None:
    with pytest.raises(AdgaugeError, match=said):
        write_version(source, tmp_path, wanted)
    assert list(tmp_path.iterdir()) == []


def test_a_version_in_the_folder_of_another_stops_an_export_before_its_work(
    exported: Export, tmp_path: Path, source: Source
) -> None:
    model = tmp_path / TINY
    shutil.copytree(exported(TINY).folder, model / "2")
    with pytest.raises(ContractMismatch, match="2 holds effimini_tiny version 1"):
        write_version(source, tmp_path, Wanted(version=3))
    assert sorted(each.name for each in model.iterdir()) == ["2"]


def test_an_opset_that_the_runtime_does_not_know_is_one_line(exported: Export, tmp_path: Path) -> None:
    written = exported(TINY)
    folder = shutil.copytree(written.folder, tmp_path / "1")
    graph = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    graph.opset_import[0].version = 99
    (folder / GRAPH_FILE).write_bytes(graph.SerializeToString())
    with pytest.raises(ContractMismatch, match=r"the graph cannot be opened: .*[Oo]pset 99") as caught:
        graph_run(folder, written.contract)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("precision", ["fp16", "bf16", "int8"])
def test_fewer_bits_keep_to_their_gate_and_say_so(precision: Precision, tmp_path: Path) -> None:
    if precision == "bf16" and not has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    catalog = ROOT / "examples" / "catalog" / "products.jsonl"
    out = ["--out", str(tmp_path), "--precision", precision]
    out += [] if precision == "fp16" else ["--calibration", str(catalog)]
    assert main(["export", "lovif_tiny", *out]) == 0
    folder = tmp_path / "lovif_tiny" / "1"
    contract = load_contract(folder)
    assert (contract.precision, contract.tolerance) == (precision, 0.03)
    assert contract.cpu_runtime == ("openvino" if precision == "bf16" else "onnxruntime")
    assert wrong_files(folder, contract) == {}


def test_a_catalog_without_a_usable_product_does_not_fall_back_to_golden_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = tmp_path / "catalog.jsonl"
    catalog.write_text("{}\n")
    out = ["--out", str(tmp_path / "out"), "--precision", "int8", "--calibration", str(catalog)]
    assert main(["export", "lovif_tiny", *out]) == 1
    shown = capsys.readouterr().err
    assert "0 products; left out: 1 no_id" in shown
    assert "int8 is measured on at least 8 products, not 0" in shown
    assert not (tmp_path / "out").exists()


def test_the_default_model_is_written_again_as_it_is_committed(tmp_path: Path) -> None:
    contract = load_contract(DEFAULT)
    head = (DEFAULT / WEIGHTS_FILE).read_bytes()
    weights = {WEIGHTS_FILE: hashlib.sha256(head).hexdigest()}
    checkpoint = tmp_path / "checkpoint"
    checkpoint.mkdir()
    (checkpoint / WEIGHTS_FILE).write_bytes(head)
    (checkpoint / CONTRACT_FILE).write_text(contract.model_copy(update={"weights": weights}).to_json())
    (checkpoint / "recipe.toml").write_bytes((RECIPES / contract.provenance.recipe).read_bytes())
    (checkpoint / "metrics.json").write_text("{}")
    write_version(open_source(str(checkpoint)), tmp_path)
    written, committed = (contents(root / "effimini_lite0") for root in (tmp_path, DEFAULT.parents[1]))
    assert set(written) - {f"1/{DATA_FILE}", "1/tokenizer.json"} <= set(committed)
    for name in set(written) & set(committed):
        assert written[name] == committed[name], name
