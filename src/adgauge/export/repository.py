"""Writes a model folder for Triton from a checkpoint.

    python -m adgauge.export.repository CHECKPOINT MODEL_REPOSITORY

Everything in the folder is generated; what packages carry (encoder weights, tokenizer) is not for git and is
put there again by `services/embedded/assemble.py`, as `weights.json` says.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import GoldenRecord, canonicalize_golden, golden_line
from adgauge.contract import CONTRACT_FILE, GOLDEN_FILE, ModelContract, file_sha256
from adgauge.errors import AdgaugeError, ContractMismatch
from adgauge.export.golden_products import golden_products
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE, StoredTensor, export_model
from adgauge.export.parity import TOLERANCE, max_difference, onnx_scores, torch_scores
from adgauge.adapters.triton.configuration import write_configs
from adgauge.models.packaged import (
    LITE0,
    MINILM,
    MINILM_TOKENIZER,
    PackagedFile,
    lite0_keys,
    load_packaged,
    minilm_keys,
)
from adgauge.models.registry import Model, build
from adgauge.product import parse_product
from adgauge.training.checkpoint import WEIGHTS_FILE, Checkpoint, load_checkpoint, load_state

ASSEMBLY_FILE = "weights.json"
MODEL_PY = Path(__file__).parent / "templates" / "model.py"


def write_model(checkpoint: Checkpoint, weights: Path, root: Path) -> Path:
    """Write `root/NAME/VERSION/`, ready to serve; `weights` is the checkpoint's safetensors file.

    Raises ConfigurationError when a package with encoder weights is missing, ContractMismatch when the graph
    does not score as the model does.
    """
    contract = checkpoint.contract
    folder = root / contract.name / str(contract.version)
    folder.mkdir(parents=True, exist_ok=True)
    model = trained_model(checkpoint)
    shutil.copyfile(weights, folder / WEIGHTS_FILE)
    shutil.copyfile(MINILM_TOKENIZER.find(), folder / contract.spec.text.tokenizer)
    shutil.copyfile(MODEL_PY, folder / MODEL_PY.name)
    stored = export_model(model, contract, folder)
    contract = contract.model_copy(update={"weights": _hashes(folder, GRAPH_FILE, DATA_FILE)})
    (folder / ASSEMBLY_FILE).write_text(_assembly(model, contract, folder, stored))
    (folder / GOLDEN_FILE).write_text(_golden(model, contract, folder))
    contract = contract.model_copy(update={"companions": _hashes(folder, GOLDEN_FILE, MODEL_PY.name)})
    (folder / CONTRACT_FILE).write_text(contract.to_json())
    write_configs(folder.parent)
    return folder


def _hashes(folder: Path, *names: str) -> dict[str, str]:
    return {name: file_sha256(folder / name) for name in names}


def trained_model(checkpoint: Checkpoint) -> Model:
    """The model of a checkpoint with its packaged encoders and trained tensors, in evaluation mode."""
    model = build(checkpoint.made_for)
    load_packaged(model)
    load_state(model, checkpoint.state, made_for=checkpoint.made_for)
    model.eval()
    return model


def _golden(model: Model, contract: ModelContract, folder: Path) -> str:
    """The text of `golden.jsonl`: what the model in torch makes of the golden products."""
    products = golden_products()
    records = [GoldenRecord(parse_product(json.dumps(p).encode(), 1 << 20), "", 0.0) for p in products]
    inputs = canonicalize_golden(Canonicalizer(contract, folder), records)
    scores = torch_scores(model, contract, inputs)
    graph = folder / GRAPH_FILE
    difference = max_difference(scores, onnx_scores(graph, contract, inputs))
    if not difference <= TOLERANCE:
        raise ContractMismatch(
            f"{graph} differs from the model by {difference}; at most {TOLERANCE} is allowed"
        )
    lines = (
        golden_line(product, one.digest, round(float(score), 6))
        for product, one, score in zip(products, inputs, scores, strict=True)
    )
    return "\n".join(lines) + "\n"


def _assembly(model: Model, contract: ModelContract, folder: Path, stored: Sequence[StoredTensor]) -> str:
    """The text of `weights.json`: of which packaged tensors the data file consists, one a line."""
    origin = {name: ("lite0", key) for name, key in lite0_keys(model).items()}
    origin |= {name: ("minilm", key) for name, key in minilm_keys(model).items()}
    rows = []
    for place in stored:
        source, key = origin.get(place.name, ("head", place.name))
        rows.append({"source": source, "key": key, "offset": place.offset, "length": place.length})
    head = {"file": WEIGHTS_FILE, "sha256": file_sha256(folder / WEIGHTS_FILE), "format": "safetensors"}
    sources = {
        "lite0": _source(LITE0, "torch-legacy"),
        "minilm": _source(MINILM, "safetensors"),
        "head": head,
        "tokenizer": _source(MINILM_TOKENIZER, "json"),
    }
    return (
        f'{{\n"file": {json.dumps(DATA_FILE)},\n"sha256": {json.dumps(contract.weights[DATA_FILE])},\n'
        f'"tokenizer": {json.dumps(contract.spec.text.tokenizer)},\n'
        f'"sources": {{\n{_lines(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in sources.items())}\n}},\n'
        f'"tensors": [\n{_lines(map(json.dumps, rows))}\n]\n}}\n'
    )


def _source(file: PackagedFile, form: str) -> Mapping[str, str]:
    names = {"distribution": file.distribution, "module": file.module, "file": file.path}
    return {**names, "sha256": file.sha256, "format": form, "licence": file.licence}


def _lines(items: Iterable[str]) -> str:
    return ",\n".join(f"  {item}" for item in items)


def main(arguments: Sequence[str]) -> int:
    """Export a checkpoint; 1 when it cannot be, with one line that says why."""
    parser = argparse.ArgumentParser(prog="repository", description="Write a model folder for Triton.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("repository", type=Path)
    options = parser.parse_args(arguments)
    try:
        write_model(
            load_checkpoint(options.checkpoint), options.checkpoint / WEIGHTS_FILE, options.repository
        )
    except (AdgaugeError, OSError) as error:
        sys.stderr.write(f"export: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
