"""What training leaves in one folder: trained tensors, contract, recipe and measured quality."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from adgauge.contract import CONTRACT_FILE, ModelContract, file_sha256, load_contract
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.models.tensors import first_few, misfit, one_line, read_safetensors

WEIGHTS_FILE = "head.safetensors"
RECIPE_FILE = "recipe.toml"
METRICS_FILE = "metrics.json"

ENCODERS = ("image_encoder.", "text_encoder.")
"""What a checkpoint need not hold, unless its recipe trained it."""

Metrics = Mapping[str, float | int | str | Mapping[str, float]]


@dataclass(frozen=True)
class Checkpoint:
    """`state` holds only what was trained; frozen encoders are named in the contract's provenance."""

    state: Mapping[str, Tensor]
    contract: ModelContract
    recipe: str
    metrics: Metrics

    @property
    def made_for(self) -> str:
        """The registered model that its recipe names; raises ContractMismatch when it names none."""
        try:
            name = tomllib.loads(self.recipe).get("model")
        except tomllib.TOMLDecodeError as exc:
            raise ContractMismatch(f"{RECIPE_FILE}: {one_line(exc)}; train again") from exc
        if not isinstance(name, str):
            raise ContractMismatch(f"{RECIPE_FILE}: model is {name!r}, must be a name of one")
        return name


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
    """Read a folder; raises ContractMismatch when a file is missing, damaged or not the contract's."""
    contract = load_contract(folder)
    try:
        _require_weights(folder, contract)
        return Checkpoint(
            state=read_safetensors(folder / WEIGHTS_FILE),
            contract=contract,
            recipe=(folder / RECIPE_FILE).read_text(),
            metrics=_metrics(folder / METRICS_FILE),
        )
    except (OSError, ValueError, ConfigurationError) as exc:
        raise ContractMismatch(f"{folder}: {one_line(exc)}; train again") from exc


def _require_weights(folder: Path, contract: ModelContract) -> None:
    if WEIGHTS_FILE not in contract.weights:
        raise ContractMismatch(f"{folder / CONTRACT_FILE}: weights must name {WEIGHTS_FILE}; train again")
    for name, expected in contract.weights.items():
        if file_sha256(folder / name) != expected:
            raise ContractMismatch(f"{folder / name} is not the file its contract names; train again")


def _metrics(file: Path) -> dict[str, Any]:
    metrics = json.loads(file.read_text())
    if not isinstance(metrics, dict):
        raise ContractMismatch(f"{file} must be a JSON object, is {type(metrics).__name__}; train again")
    return metrics


def load_state(
    model: nn.Module,
    state: Mapping[str, Tensor],
    *,
    made_for: str = "another model",
    untrained: tuple[str, ...] = ENCODERS,
) -> None:
    """Put trained tensors into a model, in its precision: all of them, or none and an error.

    Everything whose name does not start with one of `untrained` must be there. Raises ContractMismatch that
    names the first tensor the model does not have, that is not of its shape, that is not stored in a floating
    type where the model's is one, that is not finite or that is missing; `made_for`, the model that the
    checkpoint says it is for, is part of the text.
    """
    try:
        _require_fit(state, model.state_dict(), untrained)
    except ConfigurationError as exc:
        which = f"the checkpoint is for {made_for}, this is {type(model).__name__}"
        raise ContractMismatch(f"{one_line(exc)}: {which}") from exc
    model.load_state_dict(dict(state), strict=False)


def _require_fit(
    state: Mapping[str, Tensor], needed: Mapping[str, Tensor], untrained: tuple[str, ...]
) -> None:
    if unexpected := [name for name in state if name not in needed]:
        raise ConfigurationError(f"the model has no {first_few(unexpected)}")
    for name, tensor in state.items():
        if (wrong := misfit(tensor, needed[name])) is not None:
            raise ConfigurationError(f"{name} {wrong}")
    if missing := [name for name in needed if name not in state and not name.startswith(untrained)]:
        raise ConfigurationError(f"the checkpoint lacks {first_few(missing)}")
