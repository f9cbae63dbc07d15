"""Writes a version of a model into a repository that Triton serves from, or nothing.

    ROOT/NAME/VERSION/  contract, golden records, tokenizer, graph, weights and what runs them
    ROOT/NAME/          config.pbtxt and configs/, of all versions

Everything is generated, and the same source gives the same bytes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adgauge.adapters.triton.configuration import (
    contracts_of,
    require_versions_of_one_model,
    write_configs,
)
from adgauge.canonical.golden import golden_line
from adgauge.contract import (
    CONTRACT_FILE,
    GOLDEN_FILE,
    CpuRuntime,
    ModelContract,
    Precision,
    file_sha256,
    load_contract,
    wrong_files,
)
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.export.assembly import ASSEMBLY_FILE, assembly
from adgauge.export.comparison import REDUCED_DELTA, Scores, gate_for
from adgauge.export.golden_products import golden_inputs, golden_products
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE, export_model
from adgauge.export.parity import Parity, Show, graph_run, require_parity, row_tokens_for, torch_scores
from adgauge.export.precision import lower
from adgauge.export.source import Source, fixed_threads
from adgauge.export.staging import model_folder, publish, staging
from adgauge.records import CanonicalInput
from adgauge.training.checkpoint import WEIGHTS_FILE

TEMPLATES = tuple(Path(__file__).parent / "templates" / name for name in ("model.py", "runtime.py"))
"""Programs that stand in every version's folder, for Triton's python backend."""
DECIMALS = 5
"""Of golden scores: what sums end in is not the same on every machine."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


@dataclass(frozen=True)
class Wanted:
    """How a source is to be served; None leaves it as its contract says."""

    name: str | None = None
    version: int | None = None
    precision: Precision | None = None
    cpu_runtime: CpuRuntime | None = None
    calibration: Sequence[CanonicalInput] | None = None  # for fewer bits; None: the golden products


@dataclass(frozen=True)
class Written:
    """A version as it lies in the repository; `is_new` False: it was there, and nothing was changed."""

    folder: Path
    contract: ModelContract
    parity: Parity
    spread: float  # max − min of the golden scores in torch
    is_new: bool


def write_version(
    source: Source, root: Path, wanted: Wanted = Wanted(), show: Show = lambda _: None
) -> Written:
    """Write `root/NAME/VERSION/` and Triton's configuration of the model, once the graph has proven parity.

    Raises ContractMismatch when it does not score as the model does, and ConfigurationError when the version
    is taken by other weights, the versions that are there take other inputs, or a file cannot be written. In
    any of these cases the versions are as they were; where Triton's configuration could not be written last,
    the same export completes it.
    """
    contract = _draft(source, wanted)
    with model_folder(root, contract.name, show) as folder, fixed_threads():
        place = folder / str(contract.version)
        _require_version(place)
        _require_alike(folder, contract)
        with staging(folder) as staged:
            made = _fill(staged, source, contract, wanted, show)
            is_new = not _is_there(place, made.contract)
            if is_new:
                publish(staged, place)
        write_configs(folder)
        return Written(place, made.contract, made.parity, made.spread, is_new)


@dataclass(frozen=True)
class _Made:
    contract: ModelContract
    parity: Parity
    spread: float


def _draft(source: Source, wanted: Wanted) -> ModelContract:
    """The contract but for its files; raises ConfigurationError for what cannot be served."""
    precision = wanted.precision or source.contract.precision
    own_runtime: CpuRuntime = "openvino" if precision == "bf16" else source.contract.cpu_runtime
    contract = source.contract.model_copy(
        update={
            "name": wanted.name or source.contract.name,
            "version": wanted.version or source.contract.version,
            "precision": precision,
            "cpu_runtime": wanted.cpu_runtime or own_runtime,
            "tolerance": source.contract.tolerance if precision == "fp32" else REDUCED_DELTA,
        }
    )
    if not _NAME.fullmatch(contract.name):
        raise ConfigurationError(f"{contract.name!r} is no model's name: export under another --name")
    if precision == "bf16" and contract.cpu_runtime != "openvino":
        raise ConfigurationError(f"--cpu-runtime {contract.cpu_runtime} has no bf16: leave it out")
    if precision == "fp16" and contract.cpu_runtime != "onnxruntime":
        raise ConfigurationError(f"--cpu-runtime {contract.cpu_runtime} cannot run fp16 graphs: leave it out")
    if wanted.calibration is not None and precision not in ("bf16", "int8"):
        raise ConfigurationError(f"--calibration: {precision} needs no products: leave it out")
    return contract


def _require_alike(folder: Path, contract: ModelContract) -> None:
    """Raise ContractMismatch unless Triton can serve it beside the versions that are there."""
    require_versions_of_one_model([*contracts_of(folder), contract])


def _fill(staged: Path, source: Source, contract: ModelContract, wanted: Wanted, show: Show) -> _Made:
    """Write all files of a version; raises ContractMismatch when its scores are not the model's."""
    (staged / contract.spec.text.tokenizer).write_bytes(source.tokenizer)
    templates = [Path(shutil.copyfile(path, staged / path.name)).name for path in TEMPLATES]
    inputs = golden_inputs(contract, staged)
    reference = torch_scores(source.model, contract, inputs, lambda text: show(f"scoring in torch: {text}"))
    gate_for(
        contract.precision, reference, trained=source.is_trained
    )  # before the work: it may prove nothing
    (staged / GOLDEN_FILE).write_text(_golden(inputs, reference))
    show("exporting the graph")
    calibration = inputs if wanted.calibration is None else wanted.calibration
    contract = _write_graph(staged, source, contract, calibration)
    contract = contract.model_copy(update={"companions": _hashes(staged, GOLDEN_FILE, *templates)})
    (staged / CONTRACT_FILE).write_text(contract.to_json())
    parity = require_parity(
        reference,
        graph_run(staged, contract),
        inputs,
        contract,
        trained=source.is_trained,
        row_tokens=row_tokens_for(contract),
        show=lambda text: show(f"checking {text}"),
    )
    return _Made(contract, parity, float(np.ptp(reference)))


def _write_graph(
    staged: Path, source: Source, contract: ModelContract, calibration: Sequence[CanonicalInput]
) -> ModelContract:
    """The contract with its weights."""
    if contract.precision == "fp32":
        stored = export_model(source.model, contract, staged)
    else:
        with staging(staged.parent) as exact:
            export_model(source.model, contract, exact)
            lower(exact, staged, contract, calibration)
    contract = contract.model_copy(update={"weights": _hashes(staged, GRAPH_FILE, DATA_FILE)})
    if source.head is not None and contract.precision == "fp32":
        head = shutil.copyfile(source.head, staged / WEIGHTS_FILE)
        (staged / ASSEMBLY_FILE).write_text(assembly(source.model, contract, head, stored))
    return contract


def _golden(inputs: Sequence[CanonicalInput], scores: Scores) -> str:
    """The text of `golden.jsonl`: what the model in torch makes of the golden products."""
    lines = (
        golden_line(product, one.digest, round(float(score), DECIMALS))
        for product, one, score in zip(golden_products(), inputs, scores, strict=True)
    )
    return "\n".join(lines) + "\n"


def _require_version(place: Path) -> None:
    """Raise ConfigurationError where anything but a complete version is in the way."""
    if not place.exists() or (place.is_dir() and not any(place.iterdir())):
        return
    instead = f"remove it, or export as --version {_free(place.parent)}"
    try:
        wrong = wrong_files(place, load_contract(place))
    except ContractMismatch as exc:
        raise ConfigurationError(f"{place} is no version that adgauge exported: {instead} ({exc})") from exc
    for name in wrong:
        raise ConfigurationError(f"{place / name} is not as it was exported: {instead}")


def _is_there(place: Path, contract: ModelContract) -> bool:
    """Whether this very version is there; raises ConfigurationError where another one is."""
    if not (place / CONTRACT_FILE).exists():
        return False
    there, instead = load_contract(place), f"remove it, or export as --version {_free(place.parent)}"
    if there.digest() != contract.digest():
        raise ConfigurationError(f"{place} is taken by other weights or another contract: {instead}")
    if differing := [name for name, value in contract if getattr(there, name) != value]:
        raise ConfigurationError(f"{place} has these weights with other {' and '.join(differing)}: {instead}")
    return True


def _free(folder: Path) -> int:
    return 1 + max(int(each.name) for each in folder.iterdir() if each.name.isdecimal())


def _hashes(folder: Path, *names: str) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in names}
