"""The machine that figures are of, and what its GPU has in use."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from typing import Any

import torch

from adgauge.errors import ConfigurationError
from benchmarks.gpu.subjects import Device
from benchmarks.record import cpu_model

_QUERY = "name,driver_version,memory.total,memory.used"


def require_device(device: Device) -> None:
    """Raise ConfigurationError unless torch can compute on it and its driver tells about it."""
    if device == "cpu":
        return
    if not torch.cuda.is_available():
        raise ConfigurationError(
            f"torch {torch.__version__} sees no GPU: run this where there is an NVIDIA GPU with its driver,"
            " with a torch built for CUDA; --device cpu tries the benchmark itself"
        )
    if shutil.which("nvidia-smi") is None:
        raise ConfigurationError("nvidia-smi is not on PATH: it tells the driver and the memory in use")


def machine(device: Device) -> dict[str, Any]:
    """Hardware and versions, to be written beside the figures."""
    described: dict[str, Any] = {
        "cpu": cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "device": device,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": metadata.version("transformers"),
    }
    if device == "cuda":
        name, driver, total, _ = _gpu()
        described |= {"gpu": name, "driver": driver, "gpu_memory_mib": int(total), "cuda": torch.version.cuda}
    return described


def used_mib(device: Device) -> int | None:
    """Memory of the GPU that all processes use now; None without one."""
    return int(_gpu()[3]) if device == "cuda" else None


def _gpu() -> list[str]:
    """The first GPU's values of `_QUERY`."""
    argv = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        raise ConfigurationError(f"nvidia-smi does not tell about the GPU: {exc}") from exc
    return [value.strip() for value in done.stdout.splitlines()[0].split(",")]
