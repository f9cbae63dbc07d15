"""The committed model folder is what the exporter writes, and Triton's own parser accepts it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from adgauge.adapters.triton.configuration import FILES, Target, triton_config, write_configs
from adgauge.contract import ModelContract, digest_parameter, load_contract, version_folders
from adgauge.errors import ContractMismatch
from adgauge.export.repository import TEMPLATES
from adgauge.training.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "model_repository" / "effimini_lite0"
RECIPES = ROOT / "src" / "adgauge" / "training" / "recipes"
MAY_DIFFER = {"backend", "instance_group", "optimization"}
VERSION = MODEL / "1"


@pytest.fixture(scope="module")
def contract() -> ModelContract:
    return load_contract(VERSION)


def parsed(text: str) -> ModelConfig:
    return text_format.Parse(text, ModelConfig())


def test_generating_the_configuration_again_changes_nothing(tmp_path: Path) -> None:
    again = tmp_path / MODEL.name
    (again / "1").mkdir(parents=True)
    shutil.copy(VERSION / "contract.json", again / "1")
    write_configs(again)
    written = sorted(path.relative_to(again) for path in again.rglob("*.pbtxt"))
    assert written == sorted(map(Path, FILES.values()))
    assert written == sorted(path.relative_to(MODEL) for path in MODEL.rglob("*.pbtxt"))
    for path in written:
        assert (MODEL / path).read_text() == (again / path).read_text()


def test_the_programs_are_the_templates() -> None:
    assert TEMPLATES
    for template in TEMPLATES:
        assert (VERSION / template.name).read_text() == template.read_text()


def test_the_contract_is_written_as_the_exporter_writes_it(contract: ModelContract) -> None:
    assert (VERSION / "contract.json").read_text() == contract.to_json()


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
    gpu, cpu = (parsed(triton_config([contract], target)) for target in ("gpu", "cpu"))
    differing = {
        field.name
        for field in ModelConfig.DESCRIPTOR.fields
        if getattr(gpu, field.name) != getattr(cpu, field.name)
    }
    assert differing == MAY_DIFFER
    assert (gpu.backend, cpu.backend) == ("onnxruntime", "python")


@pytest.mark.parametrize("target", ["gpu", "cpu", "tensorrt"])
def test_the_batcher_has_no_timeout_limit_or_priority(contract: ModelContract, target: Target) -> None:
    config = parsed(triton_config([contract], target))
    batching = {field.name for field, _ in config.dynamic_batching.ListFields()}
    assert batching == {"preferred_batch_size", "max_queue_delay_microseconds"}
    assert max(config.dynamic_batching.preferred_batch_size) == config.max_batch_size == 32


@pytest.mark.parametrize("target", ["gpu", "cpu", "tensorrt"])
def test_inputs_outputs_and_digest_are_the_contracts(contract: ModelContract, target: Target) -> None:
    config = parsed(triton_config([contract], target))
    assert [tensor.name for tensor in config.input] == [tensor.name for tensor in contract.inputs]
    assert [tuple(tensor.dims) for tensor in config.input] == [tensor.shape for tensor in contract.inputs]
    assert [(tensor.name, tuple(tensor.dims)) for tensor in config.output] == [("score", (1,))]
    assert config.parameters[digest_parameter(1)].string_value == contract.digest()


def test_every_rung_of_the_ladder_is_warmed_up(contract: ModelContract) -> None:
    config = parsed(triton_config([contract], "cpu"))
    lengths = [tuple(warmup.inputs["input_ids"].dims) for warmup in config.model_warmup]
    assert lengths == [(rung,) for rung in contract.spec.text.ladder]


def test_what_git_holds_of_the_model_is_small() -> None:
    assert (VERSION / "model.onnx").stat().st_size < 1 << 20
    assert (VERSION / "head.safetensors").stat().st_size < 4 << 20


def test_a_configuration_serves_every_version_and_names_the_contract_of_each(contract: ModelContract) -> None:
    second = contract.model_copy(update={"version": 2, "target": "average_rating"})
    config = parsed(triton_config([contract, second], "gpu"))
    assert list(config.version_policy.specific.versions) == [1, 2]
    named = {key: parameter.string_value for key, parameter in config.parameters.items()}
    assert named == {"contract_digest.1": contract.digest(), "contract_digest.2": second.digest()}


def test_the_optional_tensorrt_form_says_that_it_was_never_run(contract: ModelContract) -> None:
    half = contract.model_copy(update={"precision": "fp16"})
    text = triton_config([half], "tensorrt")
    assert "# Never run by adgauge's tests" in text
    (accelerator,) = parsed(text).optimization.execution_accelerators.gpu_execution_accelerator
    assert (accelerator.name, accelerator.parameters["precision_mode"]) == ("tensorrt", "FP16")


def test_bfloat16_is_served_on_the_cpu_in_every_form(contract: ModelContract) -> None:
    config = parsed(triton_config([contract.model_copy(update={"precision": "bf16"})], "gpu"))
    assert config.backend == "python"


@pytest.mark.parametrize(
    ("change", "differing"),
    [({"inputs": ()}, "inputs"), ({"precision": "bf16"}, "backend"), ({"name": "other"}, "name")],
)
def test_what_cannot_be_versions_of_one_model_is_refused(
    contract: ModelContract, change: dict[str, object], differing: str
) -> None:
    other = contract.model_copy(update={"version": 2, **change})
    with pytest.raises(ContractMismatch, match=rf"differ in {differing}, .*export under another --name"):
        triton_config([contract, other], "gpu")


def test_a_version_in_the_folder_of_another_is_refused(tmp_path: Path) -> None:
    moved = tmp_path / MODEL.name / "2"
    moved.mkdir(parents=True)
    shutil.copy(VERSION / "contract.json", moved)
    with pytest.raises(ContractMismatch, match=r"2 holds effimini_lite0 version 1: .* export it again"):
        write_configs(tmp_path / MODEL.name)


def test_versions_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("10", "9", "1x", "0", "01", ".exporting-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "contract.json").touch()
    assert list(version_folders(tmp_path)) == [9, 10]
