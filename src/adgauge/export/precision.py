"""A float32 graph in fewer bits: fp16 for GPUs, bf16 and int8 for CPUs.

What is given up is measured against the float32 graph on products for calibration, and kept to a part of what
the gate allows: other products move more, and another runtime rounds otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

from adgauge.contract import ModelContract
from adgauge.errors import ConfigurationError
from adgauge.export.bfloat16 import keep_exact_start
from adgauge.export.comparison import REDUCED_DELTA
from adgauge.export.int8 import Feed, quantize
from adgauge.export.onnx import DATA_FILE, GRAPH_FILE, externalize
from adgauge.export.templates.runtime import Array, Run
from adgauge.records import CanonicalInput

BF16_TARGET = REDUCED_DELTA / 2
INT8_TARGET = REDUCED_DELTA / 3
"""Largest |Δ| on the products for calibration."""
LEAST_PRODUCTS = 8
LARGEST_HALF = 1e4
"""What stands for larger constants in fp16, such as minus infinity in masks: two may be added up."""

_EXACT_IN_HALF = ("LayerNormalization", "Softmax", "ReduceMean", "Pow", "Sqrt", "Sigmoid")


def lower(source: Path, target: Path, contract: ModelContract, calibration: Sequence[CanonicalInput]) -> None:
    """Write the graph of `source` into `target` in the contract's precision, always the same bytes.

    Both folders hold GRAPH_FILE and DATA_FILE; `contract` is that of the result. Raises ConfigurationError
    for fp32, for fewer than LEAST_PRODUCTS products where they are needed, and where scores cannot be kept.
    """
    target.mkdir(parents=True, exist_ok=True)
    output = contract.outputs[0].name
    if contract.precision == "fp16":
        _write(_half(onnx.load(source / GRAPH_FILE)), target)
        return
    if contract.precision == "fp32":
        raise ConfigurationError("the graph is in fp32 already")
    if len(calibration) < LEAST_PRODUCTS:
        raise ConfigurationError(
            f"{contract.precision} is measured on at least {LEAST_PRODUCTS} products, not {len(calibration)}"
        )
    feeds = [_feed(one, contract) for one in calibration]
    if contract.precision == "int8":
        _write(quantize(onnx.load(source / GRAPH_FILE), output, feeds, INT8_TARGET), target)
        return
    for name in (GRAPH_FILE, DATA_FILE):
        shutil.copyfile(source / name, target / name)
    (image,) = [tensor.name for tensor in contract.inputs if tensor.holds == "image"]
    keep_exact_start(target, image, output, lambda run: _scores(run, feeds), BF16_TARGET)


def _half(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and activations in fp16; sums over many numbers, and all after the last weight, in float32."""
    half: onnx.ModelProto = convert_float_to_float16(
        graph,
        keep_io_types=True,
        max_finite_val=LARGEST_HALF,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *_EXACT_IN_HALF],
        node_block_list=_tail(graph),
    )
    return half


def _tail(graph: onnx.ModelProto) -> list[str]:
    """From the last product with a weight to the score: fp16 has 500 numbers between two stars."""
    makers = {name: node for node in graph.graph.node for name in node.output}
    names, wanted = [], [graph.graph.output[0].name]
    while wanted:
        node = makers.get(wanted.pop())
        if node is None:
            continue
        names.append(node.name)
        if node.op_type not in ("MatMul", "Gemm"):
            wanted += node.input
    return names


def _feed(one: CanonicalInput, contract: ModelContract) -> Feed:
    """A batch of one product, without its padding."""
    (mask,) = [one.arrays[tensor.name] for tensor in contract.inputs if tensor.holds == "token_mask"]
    return {
        tensor.name: (one.arrays[tensor.name][mask != 0] if -1 in tensor.shape else one.arrays[tensor.name])[
            None
        ]
        for tensor in contract.inputs
    }


def _scores(run: Run, feeds: Sequence[Any]) -> Array:
    return np.concatenate([run(feed)[:, 0] for feed in feeds])


def _write(graph: onnx.ModelProto, folder: Path) -> None:
    with (folder / DATA_FILE).open("wb") as file:
        externalize(graph, [], file)
    (folder / GRAPH_FILE).write_bytes(graph.SerializeToString(deterministic=True))
