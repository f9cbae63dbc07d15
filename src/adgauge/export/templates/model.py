"""Serves the model.onnx beside it on the CPU, for Triton's python backend.

The backend imports it as `VERSION.model`: what is imported from `.` is of the same version.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

from .runtime import open_graph

Rows = dict[str, npt.NDArray[Any]]  # input name → [rows, …]


class TritonPythonModel:
    """Looked up by this name by the backend; one instance a process, called by one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the graph, for the runtime that the contract names."""
        config = json.loads(args["model_config"])
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.output = config["output"][0]["name"]
        self.run = open_graph(Path(__file__).parent)
        self.metrics = pb_utils.MetricFamily(  # must outlive its metric
            name="adgauge_onnx_runs_total",
            description="Runs of the graph",
            kind=pb_utils.MetricFamily.COUNTER,
        )
        self.runs = self.metrics.Metric(labels={"model": args["model_name"]})

    def execute(self, requests: list[Any]) -> list[Any]:
        """One run for all requests of one text length; Triton merges only those, so normally one in all."""
        rows = [self._rows(request) for request in requests]
        lengths = [tuple(array.shape[1:] for array in named.values()) for named in rows]
        responses: dict[int, Any] = {}
        for length in set(lengths):
            alike = [at for at, other in enumerate(lengths) if other == length]
            responses |= zip(alike, self._answer([rows[at] for at in alike]), strict=True)
        return [responses[at] for at in range(len(requests))]

    def _rows(self, request: Any) -> Rows:
        return {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}

    def _answer(self, rows: list[Rows]) -> list[Any]:
        """A response each; when a merged run fails, each runs alone, so that only the bad one fails."""
        merged = {name: np.concatenate([named[name] for named in rows]) for name in self.inputs}
        self.runs.increment(1)
        try:
            scores = self.run(merged)
        except Exception as exc:  # the runtimes' errors have no other base
            if len(rows) > 1:
                return [self._answer([named])[0] for named in rows]
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"cannot score: {exc}"))]
        ends = np.cumsum([len(named[self.inputs[0]]) for named in rows])[:-1]
        tensors = (pb_utils.Tensor(self.output, part) for part in np.split(scores, ends))
        return [pb_utils.InferenceResponse(output_tensors=[tensor]) for tensor in tensors]
