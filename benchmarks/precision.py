"""What fewer bits and another CPU runtime cost and save; writes docs/figures/precision.json.

    python -m benchmarks.precision

The default model, whole batches of one text length in turn, so that all meet the same noise. What is given up
is chosen on the golden products; deltas and PLCC are of the sample catalog, which had no part in it, against
ONNX Runtime in float32, which an export holds to torch.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from adgauge.adapters.settings import ServerSettings
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.cli.catalog_inputs import read_catalog_inputs
from adgauge.contract import CONTRACT_FILE, GOLDEN_FILE, CpuRuntime, ModelContract, Precision, load_contract
from adgauge.export.comparison import compare
from adgauge.export.precision import lower
from adgauge.export.templates.runtime import Array, Run, open_graph
from benchmarks.record import ROOT, write_figures

MODEL = ROOT / "model_repository" / "effimini_lite0" / "1"
CATALOG = ROOT / "examples" / "catalog" / "products.jsonl"
FORMS: Mapping[str, tuple[Precision, CpuRuntime]] = {
    "fp32_onnxruntime": ("fp32", "onnxruntime"),
    "fp32_openvino": ("fp32", "openvino"),
    "bf16_openvino": ("bf16", "openvino"),
    "int8_onnxruntime": ("int8", "onnxruntime"),
    "int8_openvino": ("int8", "openvino"),
}
SHAPES = ((8, 64), (8, 256), (32, 64), (32, 256))
ROUNDS = 5


def main() -> None:
    """Measure and write."""
    contract = load_contract(MODEL)
    records = load_golden(MODEL / GOLDEN_FILE)
    inputs = canonicalize_golden(Canonicalizer(contract, MODEL), records)
    with tempfile.TemporaryDirectory() as folder:
        for precision in ("bf16", "int8"):
            changed = contract.model_copy(update={"precision": precision})
            lower(MODEL, Path(folder) / precision, changed, inputs)
        runs = {name: _opened(Path(folder), contract, *form) for name, form in FORMS.items()}
        figures = {
            "agreement": _agreement(runs, contract),
            "speed": {f"{rows}x{tokens}": _speed(runs, rows, tokens) for rows, tokens in SHAPES},
        }
    print(json.dumps(figures, indent=2))
    write_figures("precision", "make proof", figures)


def _opened(folder: Path, contract: ModelContract, precision: Precision, runtime: CpuRuntime) -> Run:
    place = folder / precision
    place.mkdir(exist_ok=True)
    if precision == "fp32":
        for path in MODEL.glob("model.onnx*"):
            (place / path.name).write_bytes(path.read_bytes())
    changed = contract.model_copy(update={"precision": precision, "cpu_runtime": runtime})
    (place / CONTRACT_FILE).write_text(changed.to_json())
    return open_graph(place)


def _agreement(runs: Mapping[str, Run], contract: ModelContract) -> dict[str, Any]:
    """Of every form with the first, product by product."""
    read = read_catalog_inputs(
        str(CATALOG), Canonicalizer(contract, MODEL), ServerSettings(), image_root=None, show=lambda _: None
    )
    feeds = [{t.name: one.arrays[t.name][None] for t in contract.inputs} for one in read.inputs]
    scores = {name: np.concatenate([run(feed)[:, 0] for feed in feeds]) for name, run in runs.items()}
    compared = {name: compare(scores["fp32_onnxruntime"], each) for name, each in scores.items()}
    forms = {
        name: {"max_delta": round(each.max_delta, 5), "plcc": round(each.plcc, 6)}
        for name, each in compared.items()
    }
    return {"products": len(feeds), "forms": forms}


def _speed(runs: Mapping[str, Run], rows: int, tokens: int) -> dict[str, dict[str, float]]:
    """Milliseconds a product, and how many times as fast as ONNX Runtime in float32."""
    rng = np.random.default_rng(rows * tokens)
    feed: dict[str, Array] = {
        "image": rng.integers(0, 256, (rows, 3, 224, 224), dtype=np.uint8),
        "has_image": np.ones((rows, 1), np.float32),
        "input_ids": rng.integers(1000, 30_000, (rows, tokens)),
        "attention_mask": np.ones((rows, tokens), np.int64),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + ROUNDS):
        for name, run in runs.items():
            began = time.perf_counter()
            run(feed)
            seconds[name].append(time.perf_counter() - began)
    took = {name: median(each[1:]) for name, each in seconds.items()}
    return {
        name: {
            "ms_per_product": round(each / rows * 1e3, 2),
            "times_fp32_onnxruntime": round(took["fp32_onnxruntime"] / each, 2),
        }
        for name, each in took.items()
    }


if __name__ == "__main__":
    main()
