"""Canonical inputs to send, and the scores they must come back with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from adgauge.contract import CanonicalSpec, TensorSpec
from adgauge.export.parity import torch_scores
from adgauge.export.source import Source
from adgauge.records import CanonicalInput

COUNT = 16
"""Products drawn for each text length; larger batches repeat them."""
CELLS = 4
"""A drawn picture has so many coloured fields a side: noise of single pixels looks alike to every model."""
IDS = (3, 100)
"""Token ids that every vocabulary has, special ones left out."""


@dataclass(frozen=True)
class Products:
    """Products of one padded text length, and their scores by torch in float32 on the CPU."""

    tokens: int
    inputs: Mapping[str, npt.NDArray[Any]]  # tensor of the contract → [N, …]
    reference: npt.NDArray[np.float64]  # [N]

    def __len__(self) -> int:
        return len(self.reference)


def stacked(tokens: int, inputs: Sequence[CanonicalInput], scores: Sequence[float]) -> Products:
    """Of canonical inputs of `tokens` tokens, and as many scores."""
    arrays = {name: np.stack([one.arrays[name] for one in inputs]) for name in inputs[0].arrays}
    return Products(tokens, arrays, np.array(scores, np.float64))


def referenced(source: Source, inputs: Sequence[CanonicalInput]) -> Products:
    """Products of one text length with torch's scores."""
    scores = torch_scores(source.model, source.contract, inputs)
    return stacked(inputs[0].rung, inputs, scores.tolist())


def draw(spec: CanonicalSpec, tokens: int) -> list[CanonicalInput]:
    """The same COUNT products every time, all with pictures and with texts that fill `tokens`."""
    rng = np.random.default_rng(tokens)
    drawn = {tensor.name: _drawn(tensor, spec, tokens, rng) for tensor in spec.tensors()}
    return [
        CanonicalInput({name: values[row] for name, values in drawn.items()}, tokens, frozenset(), digest="")
        for row in range(COUNT)
    ]


def _drawn(
    tensor: TensorSpec, spec: CanonicalSpec, tokens: int, rng: np.random.Generator
) -> npt.NDArray[np.generic]:
    """[COUNT, …] in the tensor's dtype."""
    shape = (COUNT, *(tokens if side == -1 else side for side in tensor.shape))
    if tensor.holds == "image":
        return _pictures(shape, rng)
    values: npt.NDArray[Any] = np.ones(shape)
    if tensor.holds == "token_ids":
        values = rng.integers(*IDS, shape)
    elif tensor.holds == "category_id":
        values = rng.integers(0, len(spec.categories) + 1, shape)
    elif tensor.holds == "numeric":
        values = 5 * rng.random(shape)
    return values.astype(tensor.dtype)


def _pictures(shape: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    *outer, height, width = shape
    cells = rng.integers(0, 256, (*outer, CELLS, CELLS), np.uint8)
    rows, columns = (np.arange(side) * CELLS // side for side in (height, width))
    return cells[..., rows[:, None], columns]
