"""Which first layers of a graph stay in float32 when a CPU computes it in bfloat16.

The graph is that of float32: OpenVINO rounds weights and activations when it loads it. What the first layers
of the picture's encoder round, all later ones add to, and so its shortest start is kept exact that keeps
scores to the target. That is measured, and written into the graph's metadata for what serves it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx

from adgauge.errors import ConfigurationError
from adgauge.export.onnx import GRAPH_FILE
from adgauge.export.templates.runtime import FLOAT32_UNTIL, Array, Run, has_bfloat16, openvino_run

Score = Callable[[Run], Array]
"""Scores of the products for calibration, [N], as this runs them."""


def keep_exact_start(folder: Path, image: str, output: str, score: Score, target: float) -> None:
    """Note in the graph of `folder`, if need be, up to where it stays in float32; seconds to minutes of work.

    `image` names the input with the picture. Raises ConfigurationError on a CPU without bfloat16, which could
    prove nothing, and where scores move by more than `target` whatever stays exact.
    """
    if not has_bfloat16():
        raise ConfigurationError("this CPU has no bfloat16 to measure with: export bf16 on one that has it")
    graph = onnx.load(folder / GRAPH_FILE, load_external_data=False)
    exact = score(openvino_run(folder / GRAPH_FILE, output, bfloat16=False))

    def difference(until: str | None) -> float:
        _note(graph, until, folder / GRAPH_FILE)
        run = openvino_run(folder / GRAPH_FILE, output, bfloat16=True)
        return float(np.abs(score(run) - exact).max())

    starts = [None, *narrow_places(graph, image)]
    first, last = 0, len(starts) - 1
    while first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if difference(starts[middle]) <= target else (middle + 1, last)
    moved = difference(starts[first])
    if moved > target:
        raise ConfigurationError(
            f"bf16 moves scores by {moved:.3f}, at most {target} is wanted, even with the picture's encoder"
            " in float32; export fp32 or fp16"
        )


def narrow_places(graph: onnx.ModelProto, image: str) -> list[str]:
    """Tensors that all of the picture has to pass through, from the first to the last."""
    uses: dict[str, int] = {}
    for node in graph.graph.node:
        for name in node.input:
            uses[name] = uses.get(name, 0) + 1
    waiting, places = {image: uses[image]}, []
    for node in graph.graph.node:
        if not waiting.keys() & {*node.input} or node.op_type == "Shape":
            waiting = _used(waiting, node.input)
            continue
        waiting = _used(waiting, node.input) | {name: uses[name] for name in node.output if name in uses}
        if len(waiting) == 1 and node.op_type in ("Add", "Conv", "ReduceMean", "MatMul"):
            places.append(next(iter(waiting)))
    return places


def _used(waiting: dict[str, int], names: Sequence[str]) -> dict[str, int]:
    """What is still to be used once a node took `names`."""
    left = {name: count - list(names).count(name) for name, count in waiting.items()}
    return {name: count for name, count in left.items() if count}


def _note(graph: onnx.ModelProto, until: str | None, path: Path) -> None:
    del graph.metadata_props[:]
    if until is not None:
        graph.metadata_props.add(key=FLOAT32_UNTIL, value=until)
    path.write_bytes(graph.SerializeToString(deterministic=True))
