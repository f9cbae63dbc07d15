"""A model as an ONNX graph whose weights lie in a file beside it.

The graph names its weights as the model does and holds none of them, so it is small enough for git and the
same on every machine; the data file can be put together from packages without torch.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

import onnx
import onnx_ir
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from adgauge.contract import ModelContract

OPSET = 18
GRAPH_FILE = "model.onnx"
DATA_FILE = "model.onnx.data"
ALIGNMENT = 64
LARGE_BYTES = 1 << 16
"""Of what was folded, such as Swin's masks: more of it lies outside the graph too."""


@dataclass(frozen=True)
class StoredTensor:
    """Where a weight lies in the data file, in bytes."""

    name: str
    offset: int
    length: int


def export_graph(model: nn.Module, contract: ModelContract) -> onnx.ModelProto:
    """The model's forward pass with any number of rows and tokens; some seconds of work.

    What does not depend on weights is folded. Weights are not, nor fused: the runtime does that when it loads
    the graph, and here every one of them stays what the checkpoint calls it.
    """
    batch = torch.export.Dim("batch")
    tokens = torch.export.Dim("tokens", max=contract.spec.text.token_limit)
    shapes = [{0: batch} | ({1: tokens} if -1 in tensor.shape else {}) for tensor in contract.inputs]
    with warnings.catch_warnings(), _quiet():
        # Inputs share dynamic dimensions, which is what we want; the other warning is about torch itself.
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        warnings.filterwarnings("ignore", ".*LeafSpec", FutureWarning)
        program = torch.onnx.export(
            model.eval(),
            example_inputs(contract),
            dynamo=True,
            opset_version=OPSET,
            optimize=False,
            verbose=False,
            input_names=[tensor.name for tensor in contract.inputs],
            output_names=[tensor.name for tensor in contract.outputs],
            dynamic_shapes=tuple(shapes),
        )
    if program is None:  # only without dynamo
        raise AssertionError
    weights = set(model.state_dict())
    optimizer.fold_constants(program.model, should_fold=partial(_fold_unless_weight, weights))
    optimizer.remove_unused_nodes(program.model)
    return _without_traces(program.model_proto)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remark, for each of its operators, that torchvision is not installed."""
    exporter = logging.getLogger("torch.onnx._internal.exporter")
    before = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        yield
    finally:
        exporter.setLevel(before)


def _fold_unless_weight(weights: Set[str], node: onnx_ir.Node) -> bool | None:
    """False keeps a node; None leaves the decision to the optimizer."""
    touched = {value.name for value in node.inputs if value is not None}
    return False if touched & weights else None


def example_inputs(contract: ModelContract, rows: int = 2, tokens: int = 16) -> tuple[Tensor, ...]:
    """Ones of the contract's shapes and dtypes."""
    return tuple(
        torch.ones(rows, *(tokens if side == -1 else side for side in t.shape), dtype=getattr(torch, t.dtype))
        for t in contract.inputs
    )


def _without_traces(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Drop what the exporter notes about source lines: it names paths of the machine it ran on."""
    for part in (graph, graph.graph, *graph.graph.node, *graph.graph.value_info, *graph.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del graph.graph.value_info[:]  # shapes in between; runtimes infer them
    for value in (*graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    return graph


def externalize(graph: onnx.ModelProto, names: Sequence[str], file: BinaryIO) -> list[StoredTensor]:
    """Move the named weights, then whatever else is large, out of the graph into an empty file.

    The graph is changed in place. Returns where each tensor lies; what the model has and the graph does not
    need, such as counters of batch norms, is left out.
    """
    initializers = {tensor.name: tensor for tensor in graph.graph.initializer}
    weights = [name for name in names if name in initializers]
    large = [name for name, tensor in initializers.items() if tensor.ByteSize() > LARGE_BYTES]
    stored: list[StoredTensor] = []
    for name in dict.fromkeys([*weights, *large]):
        tensor = initializers[name]
        content = onnx.numpy_helper.to_array(tensor).tobytes()
        file.write(bytes(-file.tell() % ALIGNMENT))
        stored.append(StoredTensor(name, file.tell(), len(content)))
        file.write(content)
        _point_outside(tensor, stored[-1])
    return stored


def _point_outside(tensor: onnx.TensorProto, place: StoredTensor) -> None:
    for field in ("raw_data", "float_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entries = {"location": DATA_FILE, "offset": str(place.offset), "length": str(place.length)}
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def export_model(model: nn.Module, contract: ModelContract, folder: Path) -> list[StoredTensor]:
    """Write GRAPH_FILE and DATA_FILE into `folder`; returns where each weight lies."""
    graph = export_graph(model, contract)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / DATA_FILE).open("wb") as file:
        stored = externalize(graph, list(model.state_dict()), file)
    (folder / GRAPH_FILE).write_bytes(graph.SerializeToString(deterministic=True))
    return stored
