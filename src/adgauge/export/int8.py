"""A graph with 8-bit integers in the layers that bear it: QuantizeLinear and DequantizeLinear around each.

Scales are static, from the products that the caller gives for calibration: a scale taken from the batch at
hand would make a score depend on its batch-mates. Weights have a scale for each output channel. Which layers
bear it is measured: each is quantized alone, and then as many as together keep to the target, the harmless
ones first. Reference: onnxruntime.quantization, which does the rewriting.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantType, create_calibrator
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
from onnxscript.optimizer import fold_constants, remove_unused_nodes
from onnxscript.rewriter.rules.common import fuse_batchnorm_into_conv_rule

from adgauge.errors import ConfigurationError

LAYERS = ("Conv", "MatMul", "Gemm")
PROBED = 6
"""Products on which layers are tried one by one; all are used once many are quantized."""

_ANY_SIZE = 1 << 40

Feed = Mapping[str, npt.NDArray[Any]]


def quantize(graph: onnx.ModelProto, output: str, feeds: Sequence[Feed], target: float) -> onnx.ModelProto:
    """The graph with as many 8-bit layers as keep max |Δ| ≤ `target` on all of `feeds`; minutes of work.

    `feeds` are products without padding: what stands there has no influence on a score and must have none on
    a scale. Raises ConfigurationError where no layer bears it.
    """
    folded = _without_batch_norms(graph)
    ranges = _ranges(folded, feeds)
    layers = _layers(folded)
    exact = _scores(folded, output, feeds)

    def difference(chosen: Sequence[str], count: int) -> float:
        scores = _scores(_rewritten(folded, chosen, ranges), output, feeds[:count])
        return float(np.abs(scores - exact[:count]).max())

    harm = {name: difference([name], PROBED) for name in layers}
    harmless = sorted(layers, key=lambda name: (harm[name], name))
    enough, most = 0, len(harmless)
    while enough < most:
        count = (enough + most + 1) // 2
        kept = difference(harmless[:count], len(feeds)) <= target
        enough, most = (count, most) if kept else (enough, count - 1)
    if not enough:
        raise ConfigurationError(
            f"no layer can be int8 within {target} of float32 scores; export it as bf16 or fp16"
        )
    return _rewritten(folded, harmless[:enough], ranges)


def _without_batch_norms(graph: onnx.ModelProto) -> onnx.ModelProto:
    """Batch norms become part of the convolutions before them, which could not be integers otherwise."""
    model = onnx_ir.serde.deserialize_model(graph)
    fuse_batchnorm_into_conv_rule.apply_to_model(model)
    fold_constants(model, input_size_limit=_ANY_SIZE, output_size_limit=_ANY_SIZE)
    remove_unused_nodes(model)
    return onnx_ir.serde.serialize_model(model)


def _layers(graph: onnx.ModelProto) -> list[str]:
    """Products with a weight; those of two activations, as in attention, are few and sensitive."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [
        node.name for node in graph.graph.node if node.op_type in LAYERS and {*node.input[1:2]} <= weights
    ]


class _Products(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no annotations
    """Feeds one by one, as the calibrator wants them."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Feed | None:
        """The next feed; None after the last."""
        return next(self._feeds, None)


def _ranges(graph: onnx.ModelProto, feeds: Sequence[Feed]) -> Any:
    """The least and the largest value of every layer's input and output."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(graph, path)
        calibrator = create_calibrator(path, LAYERS, f"{folder}/augmented.onnx")
        calibrator.collect_data(_Products(feeds))
        return calibrator.compute_data()


def _rewritten(graph: onnx.ModelProto, layers: Sequence[str], ranges: Any) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    quantizer = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QUInt8,
        tensors_range=ranges,
        nodes_to_quantize=list(layers),
        nodes_to_exclude=[],
        op_types_to_quantize=list(LAYERS),
        extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},
    )
    quantizer.quantize_model()
    rewritten: onnx.ModelProto = quantizer.model.model
    return rewritten


def _scores(graph: onnx.ModelProto, output: str, feeds: Sequence[Feed]) -> npt.NDArray[np.float32]:
    """[N] scores of single products."""
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run([output], feed)[0][:, 0] for feed in feeds])
