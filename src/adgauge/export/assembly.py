"""`weights.json`: how a data file is put together again from packages and the tensors that were trained.

What packages carry is not for git. `services/embedded/assemble.py` does it, without torch.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from adgauge.contract import ModelContract, file_sha256
from adgauge.export.onnx import DATA_FILE, StoredTensor
from adgauge.models.packaged import LITE0, MINILM, MINILM_TOKENIZER, PackagedFile, lite0_keys, minilm_keys
from adgauge.models.registry import Model
from adgauge.training.checkpoint import WEIGHTS_FILE

ASSEMBLY_FILE = "weights.json"


def assembly(model: Model, contract: ModelContract, head: Path, stored: Sequence[StoredTensor]) -> str:
    """The text of `weights.json`: of which packaged tensors the data file consists, one a line.

    `contract` names the data file, `head` is the file of the trained tensors.
    """
    origin = {name: ("lite0", key) for name, key in lite0_keys(model).items()}
    origin |= {name: ("minilm", key) for name, key in minilm_keys(model).items()}
    rows = []
    for place in stored:
        source, key = origin.get(place.name, ("head", place.name))
        rows.append({"source": source, "key": key, "offset": place.offset, "length": place.length})
    sources = {
        "lite0": _source(LITE0, "torch-legacy"),
        "minilm": _source(MINILM, "safetensors"),
        "head": {"file": WEIGHTS_FILE, "sha256": file_sha256(head), "format": "safetensors"},
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
