"""A real tritonserver that serves one subject and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from google.protobuf import json_format, text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from adgauge.contract import TensorSpec
from adgauge.errors import ConfigurationError
from benchmarks.gpu.subjects import Subject
from services.embedded.triton import Triton, find_environment, start_triton
from services.embedded.workspace import Workspace

MODEL_PY = Path(__file__).parent / "templates" / "model.py"
LOAD_TIMEOUT_S = 300.0
"""torch and its kernels for a device take their time when they are loaded for the first time."""

_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32", "int64": "TYPE_INT64"}


@contextmanager
def serving(subject: Subject, venv: Path, max_batch: int) -> Iterator[Triton]:
    """Start tritonserver with the subject loaded; raises ServerFailed with what its log says."""
    with Workspace() as workspace:
        repository = workspace.subfolder("repository")
        write_model(subject, repository, max_batch)
        server = start_triton(
            workspace,
            venv=venv,
            repository=repository,
            models=[subject.name],
            variables=device_variables(venv),
        )
        server.wait_until_ready(timeout_s=LOAD_TIMEOUT_S)
        try:
            yield server
        finally:
            server.process.kill()  # it would take seconds to end, and nothing of it is needed


def require_environment(venv: Path) -> None:
    """Raise an AdgaugeError unless Triton's stub in `venv` can load the torch of this Python."""
    environment = find_environment(venv.absolute())
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if environment.version != ours:
        raise ConfigurationError(
            f"{venv} is of Python {environment.version} and torch here of Python {ours}:"
            f" make it with {sys.executable}"
        )


def device_variables(venv: Path) -> Mapping[str, str]:
    """What a server must be told besides the usual to find the driver and the GPU that we see."""
    named = {name: value for name, value in os.environ.items() if name.startswith(("CUDA_", "NVIDIA_"))}
    libraries = [str(find_environment(venv.absolute()).libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    return {**named, "LD_LIBRARY_PATH": ":".join(filter(None, libraries))}


def write_model(subject: Subject, repository: Path, max_batch: int) -> None:
    """Write `repository/NAME/` for Triton: its configuration and `model.py`."""
    folder = repository / subject.name
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(MODEL_PY, folder / "1" / MODEL_PY.name)
    (folder / "config.pbtxt").write_text(_config(subject, max_batch))


def _config(subject: Subject, max_batch: int) -> str:
    """Without a batcher: a request is a batch, so that the client decides its size."""
    parameters = {**subject.parameters, "python_path": json.dumps(_packages())}
    config: ModelConfig = json_format.ParseDict(
        {
            "name": subject.name,
            "backend": "python",
            "max_batch_size": max_batch,
            "instance_group": [{"count": 1, "kind": "KIND_MODEL"}],  # model.py chooses the device
            "input": [_tensor(each) for each in subject.contract.inputs],
            "output": [_tensor(each) for each in subject.contract.outputs],
            "parameters": {name: {"string_value": value} for name, value in parameters.items()},
        },
        ModelConfig(),
    )
    return str(text_format.MessageToString(config))


def _packages() -> list[str]:
    """Where this Python finds torch and adgauge."""
    return [str(Path(folder).absolute()) for folder in sys.path if Path(folder or ".").is_dir()]


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "data_type": _TYPES[spec.dtype], "dims": list(spec.shape)}
