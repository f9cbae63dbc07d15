"""One system on one device, for Triton's python backend; the parameters of its configuration say which."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import triton_python_backend_utils as pb_utils

Arrays: TypeAlias = Sequence[npt.NDArray[Any]]  # [rows, …] each, in the order of the model's inputs
Score: TypeAlias = Callable[[Arrays], npt.NDArray[np.float32]]  # → [rows, 1]


class TritonPythonModel:
    """Looked up by this name by the backend; one instance a process, called by one thread."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the system onto its device; what it raises is in the server's log."""
        config = json.loads(args["model_config"])
        given = {name: parameter["string_value"] for name, parameter in config["parameters"].items()}
        self.inputs = [tensor["name"] for tensor in config["input"]]
        self.output = config["output"][0]["name"]
        _see_packages(json.loads(given["python_path"]))
        self.score: Score = {"torch": of_torch, "onnxruntime": of_onnxruntime}[given["runtime"]](given)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Each request is a batch of its own: nothing is merged, so that a curve shows the batch it says."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        rows = [pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs]
        try:
            scores = self.score(rows)
        except Exception as exc:  # out of memory, above all: the client is told and the server lives on
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"cannot score: {exc}"))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor(self.output, scores)])


def _see_packages(folders: Sequence[str]) -> None:
    """Find torch where the benchmark found it, after this environment's own packages.

    numpy must be this environment's: the stub returns empty outputs with numpy 2. What transformers looks for
    and we do not need was built for the other numpy and may not bear this one.
    """
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    for name in ("scipy", "sklearn", "pandas"):
        sys.modules[name] = None  # type: ignore[assignment]  # how Python says that there is no such package


def of_torch(given: Mapping[str, str]) -> Score:
    """A registered system with the weights of a file: float32, or its products of matrices in 16 bits."""
    import torch
    from torch import nn

    from adgauge.models.registry import build

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # fp32 means fp32
    device = torch.device(given["device"])
    if device.type == "cpu":
        torch.set_num_threads(1)  # the benchmark is only tried: threads would wait for busy cores
    model = build(given["system"])
    model.load_state_dict(torch.load(given["state"], weights_only=True))
    model.eval().to(device)
    reduced = {"fp16": torch.float16, "bf16": torch.bfloat16}.get(given["precision"])
    for module in model.modules():
        if reduced and isinstance(module, nn.Linear | nn.Conv2d):
            module.to(reduced)  # else autocast converts the same weights again in every pass

    def score(arrays: Arrays) -> npt.NDArray[np.float32]:
        copies = map(np.array, arrays)  # Triton's may not be written to, and torch warns of that
        rows = (torch.from_numpy(copy).to(device) for copy in copies)
        with torch.inference_mode(), torch.autocast(device.type, reduced, enabled=reduced is not None):
            scores: npt.NDArray[np.float32] = model(*rows).float().cpu().numpy()
        return scores

    return score


def of_onnxruntime(given: Mapping[str, str]) -> Score:
    """An exported graph, in the precision in which it was exported."""
    import onnxruntime

    provider = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}[given["device"]]
    if provider not in onnxruntime.get_available_providers():
        raise RuntimeError(f"onnxruntime has no {provider}: install onnxruntime-gpu in Triton's environment")
    options: dict[str, str] = {}
    if given["device"] == "cuda":
        onnxruntime.preload_dlls()
        options = {"use_tf32": "0"}  # fp32 means fp32
    session = onnxruntime.InferenceSession(given["graph"], providers=[(provider, options)])
    if session.get_providers()[0] != provider:  # it goes on with the CPU and only warns
        raise RuntimeError(f"onnxruntime could not start {provider}; Triton's log says why")
    names = [tensor.name for tensor in session.get_inputs()]
    order = json.loads(given["inputs"])

    def score(arrays: Arrays) -> npt.NDArray[np.float32]:
        feed = {name: array for name, array in zip(order, arrays, strict=True) if name in names}
        scores: npt.NDArray[np.float32] = session.run(None, feed)[0]
        return scores

    return score
