"""The committed model folder is what the exporter writes, and Triton's own parser accepts it."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from adgauge.contract import DIGEST_PARAMETER, ModelContract, load_contract
from adgauge.export.repository import MODEL_PY, write_configs
from adgauge.export.triton_config import Target, triton_config
from adgauge.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "model_repository" / "effimini_lite0"
RECIPES = ROOT / "src" / "adgauge" / "training" / "recipes"
MAY_DIFFER = {"backend", "instance_group", "optimization"}


@pytest.fixture(scope="module")
def contract() -> ModelContract:
    return load_contract(MODEL)


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def test_generating_the_configuration_again_changes_nothing(contract: ModelContract, tmp_path: Path) -> None:
    write_configs(contract, tmp_path)
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.pbtxt"))
    assert written == sorted(path.relative_to(MODEL) for path in MODEL.rglob("*.pbtxt"))
    for path in written:
        assert (MODEL / path).read_text() == (tmp_path / path).read_text()


def test_the_python_model_is_the_template() -> None:
    assert (MODEL / "1" / "model.py").read_text() == MODEL_PY.read_text()


def test_the_contract_is_written_as_the_exporter_writes_it(contract: ModelContract) -> None:
    assert (MODEL / "contract.json").read_text() == contract.to_json()


def test_the_contract_says_what_the_recipe_says(contract: ModelContract) -> None:
    recipe = load_recipe(RECIPES / contract.provenance.recipe)
    assert contract.spec == recipe.canonical
    assert contract.inputs == recipe.serving.inputs
    assert contract.outputs == recipe.serving.outputs
    assert contract.protocol == recipe.serving.protocol
    assert (contract.name, contract.version, contract.target, contract.tolerance) == (
        recipe.serving.name,
        recipe.serving.version,
        recipe.serving.target,
        recipe.serving.tolerance,
    )


def test_production_and_cpu_differ_only_in_backend_placement_and_optimization(
    contract: ModelContract,
) -> None:
    gpu, cpu = (parsed(triton_config(contract, target)) for target in ("gpu", "cpu"))
    differing = {
        field.name
        for field in ModelConfig.DESCRIPTOR.fields
        if getattr(gpu, field.name) != getattr(cpu, field.name)
    }
    assert differing == MAY_DIFFER
    assert (gpu.backend, cpu.backend) == ("onnxruntime", "python")


@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_the_batcher_has_no_timeout_limit_or_priority(contract: ModelContract, target: Target) -> None:
    config = parsed(triton_config(contract, target))
    batching = {field.name for field, _ in config.dynamic_batching.ListFields()}
    assert batching == {"preferred_batch_size", "max_queue_delay_microseconds"}
    assert max(config.dynamic_batching.preferred_batch_size) == config.max_batch_size == 32


@pytest.mark.parametrize("target", ["gpu", "cpu"])
def test_inputs_outputs_and_digest_are_the_contracts(contract: ModelContract, target: Target) -> None:
    config = parsed(triton_config(contract, target))
    assert [tensor.name for tensor in config.input] == [tensor.name for tensor in contract.inputs]
    assert [tuple(tensor.dims) for tensor in config.input] == [tensor.shape for tensor in contract.inputs]
    assert [(tensor.name, tuple(tensor.dims)) for tensor in config.output] == [("score", (1,))]
    assert config.parameters[DIGEST_PARAMETER].string_value == contract.digest()


def test_every_rung_of_the_ladder_is_warmed_up(contract: ModelContract) -> None:
    config = parsed(triton_config(contract, "cpu"))
    lengths = [tuple(warmup.inputs["input_ids"].dims) for warmup in config.model_warmup]
    assert lengths == [(rung,) for rung in contract.spec.text.ladder]


def test_what_git_holds_of_the_model_is_small() -> None:
    assert (MODEL / "1" / "model.onnx").stat().st_size < 1 << 20
    assert (MODEL / "head.safetensors").stat().st_size < 4 << 20
