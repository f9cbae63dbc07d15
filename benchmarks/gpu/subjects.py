"""What is served and measured: a system in a precision, products for it, and what they must score."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import (
    GOLDEN_FILE,
    ModelContract,
    Precision,
    load_contract,
    require_files,
    version_folders,
)
from adgauge.errors import ConfigurationError
from adgauge.export.source import Source, open_source
from adgauge.export.untrained import stretch
from adgauge.models.registry import MODELS
from adgauge.records import CanonicalInput
from adgauge.training.checkpoint import load_checkpoint
from benchmarks.gpu.products import Products, draw, referenced, stacked

Device = Literal["cuda", "cpu"]
Rungs = Literal["all", "longest"]


@dataclass(frozen=True)
class Subject:
    """One system in one precision. `parameters` tell `templates/model.py` what to load.

    All `products` are checked; curves are measured of those of `lengths` tokens.
    """

    contract: ModelContract
    precision: Precision
    parameters: Mapping[str, str]
    products: tuple[Products, ...]  # text lengths ascending
    lengths: tuple[int, ...]

    @property
    def name(self) -> str:
        """As Triton serves it and as the figures call it."""
        return self.contract.name

    @property
    def runtime(self) -> str:
        """What computes it: torch or onnxruntime."""
        return self.parameters["runtime"]


def torch_subjects(
    model: str, precisions: Sequence[Precision], device: Device, rungs: Rungs, tokenizer: Path | None
) -> Iterator[Subject]:
    """A registered system with random weights, or a checkpoint's folder, in each precision.

    The weights lie in a temporary file until the next subject is asked for. Raises what `open_source` does.
    """
    source = open_source(model, tokenizer)
    made_for = model if model in MODELS else load_checkpoint(Path(model)).made_for
    products = _torch_products(source, rungs)
    with tempfile.TemporaryDirectory(prefix="adgauge-state-") as folder:
        state = Path(folder) / "state.pt"
        torch.save(source.model.state_dict(), state)
        for precision in precisions:
            parameters = {
                "runtime": "torch",
                "device": device,
                "precision": precision,
                "system": made_for,
                "state": str(state),
            }
            lengths = tuple(each.tokens for each in products)
            yield Subject(source.contract, precision, parameters, products, lengths)


def exported_subject(repository: Path, model: str, device: Device, rungs: Rungs) -> Subject:
    """The newest version of an exported model, in the precision in which it was exported.

    Its golden records are the products; their scores are torch's, whatever the precision. Raises
    ConfigurationError when there is none for a GPU, ContractMismatch when its files are not the contract's.
    """
    versions = version_folders(repository / model)
    if not versions:
        raise ConfigurationError(f"there is no model {model} in {repository}: run `adgauge export` first")
    folder = list(versions.values())[-1]
    contract = load_contract(folder)
    if contract.precision == "bf16":
        raise ConfigurationError(f"{folder} is bf16, which is for CPUs: its graph is float32; export fp16")
    require_files(folder, contract)
    golden = load_golden(folder / GOLDEN_FILE)
    inputs = canonicalize_golden(Canonicalizer(contract, folder), golden)
    scored = list(zip(inputs, (record.score for record in golden), strict=True))
    parameters = {
        "runtime": "onnxruntime",
        "device": device,
        "precision": contract.precision,
        "graph": str((folder / _graph(contract)).absolute()),
        "inputs": json.dumps([tensor.name for tensor in contract.inputs]),
    }
    lengths = sorted({one.rung for one in inputs})
    products = tuple(_of_length(tokens, scored) for tokens in lengths)
    return Subject(contract, contract.precision, parameters, products, tuple(_chosen(lengths, rungs)))


def _graph(contract: ModelContract) -> str:
    return next(name for name in contract.weights if name.endswith(".onnx"))


def _torch_products(source: Source, rungs: Rungs) -> tuple[Products, ...]:
    """Drawn ones; where weights are random, their head is stretched for them.

    It was stretched for the golden products, which are so much alike that in 16 bits their scores are noise.
    """
    drawn = [
        draw(source.contract.spec, tokens) for tokens in _chosen(source.contract.spec.text.ladder, rungs)
    ]
    if not source.is_trained:
        stretch(source.model, source.contract, drawn[-1])
    return tuple(referenced(source, inputs) for inputs in drawn)


def _of_length(tokens: int, scored: Sequence[tuple[CanonicalInput, float]]) -> Products:
    inputs, scores = zip(*(pair for pair in scored if pair[0].rung == tokens), strict=True)
    return stacked(tokens, inputs, scores)


def _chosen(lengths: Iterable[int], rungs: Rungs) -> list[int]:
    ascending = sorted(lengths)
    return ascending if rungs == "all" else ascending[-1:]
