"""P and F of an exported graph, counted on the graph itself.

Only shapes are computed, so neither the weights' data file is needed nor anything run. FLOPs are 2·MAC of
matrix products and convolutions, as `adgauge.models.flops` counts them in torch. A shape that cannot be known
and an operation that multiplies matrices in a way we do not count are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import onnx
import onnx.inliner
import onnx_ir
from google.protobuf.message import DecodeError
from onnxscript.optimizer import fold_constants

from adgauge.errors import ConfigurationError

Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphCost:
    """What one forward pass costs."""

    params: int
    macs: int

    @property
    def flops(self) -> int:
        """In our convention."""
        return 2 * self.macs


def read_graph(path: Path) -> onnx.ModelProto:
    """An ONNX file without the data beside it; raises ConfigurationError when it is none."""
    try:
        graph = onnx.load(path, load_external_data=False)
    except OSError as exc:
        raise ConfigurationError(f"{path} cannot be read: {exc.strerror}") from exc
    except DecodeError as exc:
        raise ConfigurationError(f"{path} is no ONNX file: {exc}") from exc
    if not graph.graph.node or not graph.graph.output:
        raise ConfigurationError(f"{path} is no ONNX model: there is no graph in it")
    return graph


def graph_cost(graph: onnx.ModelProto, inputs: Mapping[str, Shape]) -> GraphCost:
    """Cost with inputs of these shapes; raises ConfigurationError where it cannot be told."""
    macs = sum(_macs(node) for node in _with_shapes(graph, inputs))
    return GraphCost(params=sum(prod(tensor.dims) for tensor in weights(graph)), macs=macs)


_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}
_STATISTICS = {("BatchNormalization", 3), ("BatchNormalization", 4)}
_SCALING = {("Sub", 0), ("Sub", 1), ("Div", 0), ("Div", 1)}
_TABLES = ("inv_freq", "relative_coords_table")


def weights(graph: onnx.ModelProto) -> list[onnx.TensorProto]:
    """The initializers that are parameters.

    They are floating numbers with at least one dimension, and none of

    - batch norm's running mean and variance, which are buffers in torch,
    - what is only subtracted or divided by: the mean and the deviation of pixels,
    - the tables of rotary and of Swin's relative positions, by transformers' names of them,
    - what the exporter computed: it has no path, such as `head.0.weight`, where weights have.

    For a model whose forward pass needs all of its parameters this is their number in torch; a pooler that
    nothing uses is not in the graph.
    """
    uses = _uses(graph)
    floating = [each for each in graph.graph.initializer if each.data_type in _FLOATS and each.dims]
    with_paths = [each for each in floating if "." in each.name] or floating
    return [
        each
        for each in with_paths
        if not each.name.endswith(_TABLES) and not uses.get(each.name, set()) <= _STATISTICS | _SCALING
    ]


def _uses(graph: onnx.ModelProto) -> dict[str, set[tuple[str, int]]]:
    """Value → operations that take it, each with its position."""
    uses: dict[str, set[tuple[str, int]]] = {}
    for node in graph.graph.node:
        for position, name in enumerate(node.input):
            uses.setdefault(name, set()).add((node.op_type, position))
    return uses


def _with_shapes(graph: onnx.ModelProto, inputs: Mapping[str, Shape]) -> Iterator[onnx_ir.Node]:
    """The graph's nodes with the shapes of all values that can be known.

    Shapes are computed in the graph from those of its inputs: what is constant once these are fixed is
    folded, all but what is counted.
    """
    model = onnx_ir.serde.deserialize_model(onnx.inliner.inline_local_functions(graph))
    _detach_data(model.graph)
    for value in model.graph.inputs:
        if value.name is not None and value.name in inputs:
            value.shape = onnx_ir.Shape(inputs[value.name])
    fold_constants(model, onnx_shape_inference=True, should_fold=_fold_unless_counted)
    return iter(model.graph)


def _detach_data(graph: onnx_ir.Graph) -> None:
    """Weights in the data file become inputs: their shapes decide, and their values may not be at hand."""
    for name, value in list(graph.initializers.items()):
        if isinstance(value.const_value, onnx_ir.ExternalTensor):
            value.const_value = None
            del graph.initializers[name]
            graph.inputs.append(value)


def _fold_unless_counted(node: onnx_ir.Node) -> bool | None:
    return False if node.op_type in _FORMULAS else None


def _macs(node: onnx_ir.Node) -> int:
    if node.domain not in ("", "ai.onnx") or node.op_type in _UNCOUNTED:
        raise ConfigurationError(f"{node.op_type} ({node.name}) is an operation whose FLOPs are not known")
    return _FORMULAS[node.op_type](node) if node.op_type in _FORMULAS else 0


def _matmul(node: onnx_ir.Node) -> int:
    return prod(_shape(node, node.outputs[0])) * _operand(node, 0)[-1]


def _gemm(node: onnx_ir.Node) -> int:
    transposed = node.attributes.get_int("transA", 0)
    return prod(_shape(node, node.outputs[0])) * _operand(node, 0)[0 if transposed else 1]


def _conv(node: onnx_ir.Node) -> int:
    _, *filter_shape = _operand(node, 1)  # [outputs, inputs / groups, *kernel]
    return prod(_shape(node, node.outputs[0])) * prod(filter_shape)


def _conv_transpose(node: onnx_ir.Node) -> int:
    _, *filter_shape = _operand(node, 1)  # [inputs, outputs / groups, *kernel]
    return prod(_operand(node, 0)) * prod(filter_shape)


def _einsum(node: onnx_ir.Node) -> int:
    """Every combination of indices is one product of the two factors."""
    terms = node.attributes.get_string("equation", "").replace(" ", "").split("->")[0].split(",")
    if len(terms) != 2 or "." in "".join(terms):
        raise ConfigurationError(f"Einsum ({node.name}): only two factors with all indices named are counted")
    sizes: dict[str, int] = {}
    for position, term in enumerate(terms):
        for index, size in zip(term, _operand(node, position), strict=True):
            sizes[index] = max(size, sizes.get(index, 1))  # a size of 1 is broadcast
    return prod(sizes.values())


_FORMULAS: Mapping[str, Callable[[onnx_ir.Node], int]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Einsum": _einsum,
}
_UNCOUNTED = frozenset(
    {
        *("Attention", "DeformConv", "LSTM", "GRU", "RNN", "Det", "DFT", "STFT"),
        *("MatMulInteger", "QLinearMatMul", "ConvInteger", "QLinearConv"),
        *("If", "Loop", "Scan"),  # which nodes run, and how often, is not in the graph
    }
)


def _operand(node: onnx_ir.Node, position: int) -> Shape:
    return _shape(node, node.inputs[position])


def _shape(node: onnx_ir.Node, value: onnx_ir.Value | None) -> Shape:
    if value is None or value.shape is None or not value.shape.is_static():
        raise ConfigurationError(f"{node.op_type} ({node.name}): the shape of an operand cannot be told")
    return tuple(int(side) for side in value.shape.numpy())


def input_shapes(
    graph: onnx.ModelProto, tokens: int | None, size: tuple[int, int] | None
) -> dict[str, Shape]:
    """Shapes of a graph's inputs for one product, where the graph leaves them open.

    The first axis is the batch, the second of two is tokens, the last two of four and more are the picture's
    height and width. Raises ConfigurationError for what is open and not chosen, or chosen and not open.
    """
    height, width = size or (None, None)
    choices = {"batch": 1, "tokens": tokens, "height": height, "width": width}
    taken = {"batch"}
    shapes: dict[str, Shape] = {}
    for value in graph.graph.input:
        sides = value.type.tensor_type.shape.dim
        shape = []
        for axis, side in enumerate(sides):
            meaning = None if side.HasField("dim_value") else _meaning(value.name, axis, len(sides))
            taken |= {meaning} if meaning else set()
            shape.append(_chosen(value.name, meaning, choices) if meaning else side.dim_value)
        shapes[value.name] = tuple(shape)
    for meaning, choice in choices.items():
        if choice is not None and meaning not in taken:
            raise ConfigurationError(f"{_OPTIONS[meaning]}: the graph is made for one choice; leave it out")
    return shapes


_OPTIONS = {"tokens": "--tokens", "height": "--size", "width": "--size"}


def _meaning(name: str, axis: int, axes: int) -> str:
    if axis == 0:
        return "batch"
    if (axis, axes) == (1, 2):
        return "tokens"
    if axes >= 4 and axis >= axes - 2:
        return "height" if axis == axes - 2 else "width"
    raise ConfigurationError(f"{name}: the length of axis {axis} is open, and what it means is unknown")


def _chosen(name: str, meaning: str, choices: Mapping[str, int | None]) -> int:
    choice = choices[meaning]
    if choice is None:
        raise ConfigurationError(
            f"{name}: the graph leaves its {meaning} open; choose with {_OPTIONS[meaning]}"
        )
    return choice
