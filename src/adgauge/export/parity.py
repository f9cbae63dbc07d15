"""Whether an exported graph scores as its model does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import nn

from adgauge.contract import ModelContract
from adgauge.records import CanonicalInput

TOLERANCE = 1e-4
"""Largest |Δ| between torch and the exported graph, both float32 on the CPU."""

BATCH = 16

Scores = npt.NDArray[np.float32]


def torch_scores(model: nn.Module, contract: ModelContract, inputs: Sequence[CanonicalInput]) -> Scores:
    """[N] scores of the model, row by row."""
    model.eval()
    with torch.inference_mode():
        rows = [
            model(*(torch.from_numpy(one.arrays[tensor.name][None]) for tensor in contract.inputs))
            for one in inputs
        ]
    scores: Scores = torch.cat(rows)[:, 0].numpy()
    return scores


def onnx_scores(graph: Path, contract: ModelContract, inputs: Sequence[CanonicalInput]) -> Scores:
    """[N] scores of a graph and the data file beside it, in batches of one text length."""
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    scores = np.empty(len(inputs), dtype=np.float32)
    for rung in sorted({one.rung for one in inputs}):
        alike = [at for at, one in enumerate(inputs) if one.rung == rung]
        for start in range(0, len(alike), BATCH):
            rows = alike[start : start + BATCH]
            feed = {t.name: np.stack([inputs[at].arrays[t.name] for at in rows]) for t in contract.inputs}
            scores[rows] = session.run([contract.outputs[0].name], feed)[0][:, 0]
    return scores


def max_difference(first: Scores, second: Scores) -> float:
    """Largest |Δ|; NaN where either holds one."""
    return float(np.abs(first - second).max())
