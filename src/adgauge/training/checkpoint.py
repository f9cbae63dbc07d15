"""What training leaves in one folder: trained tensors, contract, recipe and measured quality."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from adgauge.contract import CONTRACT_FILE, ModelContract, file_sha256, load_contract
from adgauge.errors import ContractMismatch

WEIGHTS_FILE = "head.safetensors"
RECIPE_FILE = "recipe.toml"
METRICS_FILE = "metrics.json"

Metrics = Mapping[str, float | int | str | Mapping[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """`state` holds only what was trained; frozen encoders are named in the contract's provenance."""

    state: Mapping[str, Tensor]
    contract: ModelContract
    recipe: str
    metrics: Metrics


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the folder. Tensors are stored as they are; a float16 one is read back as float16."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = folder / WEIGHTS_FILE
    save_file({name: tensor.contiguous() for name, tensor in checkpoint.state.items()}, weights)
    contract = checkpoint.contract.model_copy(update={"weights": {WEIGHTS_FILE: file_sha256(weights)}})
    (folder / CONTRACT_FILE).write_text(contract.to_json())
    (folder / RECIPE_FILE).write_text(checkpoint.recipe)
    (folder / METRICS_FILE).write_text(json.dumps(checkpoint.metrics, indent=2) + "\n")


def load_checkpoint(folder: Path) -> Checkpoint:
    """Read a folder; raises ContractMismatch when a file is missing or is not the one of the contract."""
    contract = load_contract(folder)
    try:
        for name, expected in contract.weights.items():
            if file_sha256(folder / name) != expected:
                raise ContractMismatch(f"{folder / name} is not the file its contract names; train again")
        return Checkpoint(
            state=load_file(folder / WEIGHTS_FILE),
            contract=contract,
            recipe=(folder / RECIPE_FILE).read_text(),
            metrics=json.loads((folder / METRICS_FILE).read_text()),
        )
    except (OSError, ValueError, SafetensorError) as exc:
        raise ContractMismatch(f"{folder}: {exc}; train again") from exc


def load_state(model: torch.nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put trained tensors into a model, in its precision; raises ContractMismatch for unknown names."""
    incompatible = model.load_state_dict(dict(state), strict=False)
    if incompatible.unexpected_keys:
        raise ContractMismatch(f"the model has no {incompatible.unexpected_keys[0]}: wrong checkpoint")
