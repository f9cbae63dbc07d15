"""Graphs in fewer bits: they keep their gate, ask nothing of batch-mates, and come out the same each time."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import tritonclient.grpc as grpc
from tritonclient.utils import np_to_triton_dtype

from adgauge.adapters.triton.configuration import write_configs
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import (
    CONTRACT_FILE,
    GOLDEN_FILE,
    CpuRuntime,
    ModelContract,
    Precision,
    file_sha256,
    load_contract,
)
from adgauge.errors import ConfigurationError
from adgauge.export.comparison import REDUCED_DELTA, REDUCED_PLCC, compare
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE
from adgauge.export.precision import lower
from adgauge.export.repository import Written
from adgauge.export.templates.runtime import Array, _quotas, has_bfloat16, open_graph
from adgauge.records import CanonicalInput
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "model_repository" / "effimini_lite0" / "1"
TINY = "effimini_tiny"

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16(), reason="this CPU has no bfloat16")


def inputs_of(folder: Path) -> list[CanonicalInput]:
    contract = load_contract(folder)
    return canonicalize_golden(Canonicalizer(contract, folder), load_golden(folder / GOLDEN_FILE))


def lowered(
    source: Path, target: Path, precision: Precision, runtime: CpuRuntime = "onnxruntime"
) -> ModelContract:
    changes = {"precision": precision, "cpu_runtime": runtime}
    contract = load_contract(source).model_copy(update=changes)
    lower(source, target, contract, inputs_of(source))
    (target / CONTRACT_FILE).write_text(contract.to_json())
    return contract


def batch(rows: Sequence[CanonicalInput], contract: ModelContract) -> dict[str, Array]:
    return {t.name: np.stack([row.arrays[t.name] for row in rows]) for t in contract.inputs}


def alone(folder: Path, inputs: Sequence[CanonicalInput]) -> Array:
    run, contract = open_graph(folder), load_contract(folder)
    return np.concatenate([run(batch([one], contract))[:, 0] for one in inputs])


def served(url: str, one: CanonicalInput, contract: ModelContract, version: str) -> float:
    tensors = []
    for name, values in batch([one], contract).items():
        tensors.append(grpc.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype)))
        tensors[-1].set_data_from_numpy(values)
    with grpc.InferenceServerClient(url) as client:
        answer = client.infer(TINY, tensors, model_version=version, client_timeout=60)
    return float(answer.as_numpy("score")[0, 0])


def scale_last_layer(folder: Path, factor: float) -> None:
    """Of the head, around the score in the middle, so that small differences become large ones."""
    graph = onnx.load(folder / GRAPH_FILE)
    tensors = {each.name: each for each in graph.graph.initializer}
    last = {name: onnx.numpy_helper.to_array(tensors[f"head.7.{name}"]) for name in ("weight", "bias")}
    changed = {"weight": last["weight"] * factor, "bias": (last["bias"] - 3) * factor + 3}
    for name, values in changed.items():
        tensors[f"head.7.{name}"].CopyFrom(
            onnx.numpy_helper.from_array(values.astype(np.float32), f"head.7.{name}")
        )
    (folder / DATA_FILE).unlink()
    onnx.save(graph, folder / GRAPH_FILE, save_as_external_data=True, location=DATA_FILE, size_threshold=0)


@pytest.fixture(scope="module")
def tiny(exported: Callable[[str], Written]) -> Path:
    return exported(TINY).folder


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_tiny_system_keeps_its_gate_and_comes_out_the_same(
    tiny: Path, tmp_path: Path, precision: Precision
) -> None:
    for name in ("one", "other"):
        lowered(tiny, tmp_path / name, precision)
    for file in (GRAPH_FILE, DATA_FILE):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()
    inputs = inputs_of(tiny)
    compared = compare(alone(tiny, inputs), alone(tmp_path / "one", inputs))
    assert compared.max_delta <= REDUCED_DELTA
    assert compared.plcc >= REDUCED_PLCC


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_score_in_int8_does_not_depend_on_batch_mates(
    tiny: Path, tmp_path: Path, runtime: CpuRuntime
) -> None:
    contract = lowered(tiny, tmp_path, "int8", runtime)
    graph = onnx.load(tmp_path / GRAPH_FILE, load_external_data=False)
    assert "QuantizeLinear" in {node.op_type for node in graph.graph.node}
    assert "DynamicQuantizeLinear" not in {node.op_type for node in graph.graph.node}
    run, inputs = open_graph(tmp_path), inputs_of(tiny)
    rung = max({one.rung for one in inputs}, key=lambda r: sum(one.rung == r for one in inputs))
    alike = [one for one in inputs if one.rung == rung]
    together = run(batch(alike, contract))[:, 0]
    by_itself = [run(batch([one], contract))[0, 0] for one in alike]
    assert together == pytest.approx(by_itself, abs=1e-5)


@needs_bfloat16
def test_a_model_that_cannot_keep_its_gate_in_bf16_is_refused(tiny: Path, tmp_path: Path) -> None:
    sensitive = Path(shutil.copytree(tiny, tmp_path / "sensitive"))
    scale_last_layer(sensitive, 30)
    with pytest.raises(ConfigurationError, match="bf16 moves scores by"):
        lowered(sensitive, tmp_path / "lowered", "bf16", "openvino")


@needs_bfloat16
def test_the_default_model_keeps_its_gate_in_bf16(tmp_path: Path) -> None:
    lowered(DEFAULT, tmp_path, "bf16", "openvino")
    inputs = inputs_of(DEFAULT)
    compared = compare(alone(DEFAULT, inputs), alone(tmp_path, inputs))
    assert compared.max_delta <= REDUCED_DELTA
    assert compared.plcc >= REDUCED_PLCC


def test_openvino_in_float32_scores_as_onnx_runtime(tiny: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny, tmp_path / "1")
    changed = load_contract(tiny).model_copy(update={"cpu_runtime": "openvino"})
    (tmp_path / "1" / CONTRACT_FILE).write_text(changed.to_json())
    inputs = inputs_of(tiny)
    assert alone(tmp_path / "1", inputs) == pytest.approx(alone(tiny, inputs), abs=1e-4)


def test_each_version_in_triton_runs_what_lies_in_its_own_folder(tiny: Path, tmp_path: Path) -> None:
    model = tmp_path / TINY
    for version in (1, 2):
        shutil.copytree(tiny, model / str(version), copy_function=shutil.copy)
    fixed = "import numpy\n\ndef open_graph(folder):\n    return lambda rows: numpy.full((1, 1), 2.5, 'f4')\n"
    (model / "2/runtime.py").write_text(fixed)
    contract = load_contract(tiny)
    companions = {**contract.companions, "runtime.py": file_sha256(model / "2/runtime.py")}
    changed = contract.model_copy(update={"version": 2, "companions": companions})
    (model / "2" / CONTRACT_FILE).write_text(changed.to_json())
    write_configs(model)
    (one,), (expected,) = inputs_of(tiny)[:1], alone(tiny, inputs_of(tiny)[:1])
    with Workspace() as workspace:
        venv = EmbeddedSettings().triton_venv
        triton = start_triton(workspace, venv=venv, repository=tmp_path, models=[TINY])
        triton.wait_until_ready()
        scores = [served(triton.url, one, contract, version) for version in ("1", "2", "1")]
    assert scores == pytest.approx([float(expected), 2.5, float(expected)], abs=1e-5)


def test_too_few_products_and_float32_are_refused(tiny: Path, tmp_path: Path) -> None:
    contract = load_contract(tiny)
    with pytest.raises(ConfigurationError, match="at least 8 products, not 1"):
        lower(tiny, tmp_path, contract.model_copy(update={"precision": "int8"}), inputs_of(tiny)[:1])
    with pytest.raises(ConfigurationError, match="in fp32 already"):
        lower(tiny, tmp_path, contract, inputs_of(tiny))


def test_the_quota_of_any_group_above_counts(tmp_path: Path) -> None:
    (tmp_path / "pod/box").mkdir(parents=True)
    (tmp_path / "pod/box/cpu.max").write_text("max 100000\n")
    (tmp_path / "pod/cpu.max").write_text("150000 100000\n")
    assert list(_quotas(tmp_path, "0::/pod/box\n")) == [1.5]
    (tmp_path / "cpu,cpuacct").mkdir()
    (tmp_path / "cpu,cpuacct/cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu,cpuacct/cpu.cfs_period_us").write_text("100000\n")
    assert list(_quotas(tmp_path, "4:cpu,cpuacct:/seen/by/host\n5:memory:/\n")) == [2.0]
