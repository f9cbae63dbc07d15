"""How long a system takes for one product on this machine."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

MOST_RUNS = 10
ENOUGH_S = 10.0
"""Runs end after this many seconds; a slow model runs once."""


@dataclass(frozen=True)
class Runtime:
    """Seconds per product at batch 1; the first run, which also fills caches, is left out."""

    median_s: float
    fastest_s: float
    slowest_s: float
    runs: int


@dataclass(frozen=True)
class Hardware:
    """What it was measured on, and with."""

    device: str
    cores: int  # of the CPU
    threads: int
    torch: str


def measure(
    model: nn.Module,
    inputs: Sequence[Tensor],
    clock: Callable[[], float] = perf_counter,
) -> Runtime:
    """Time a model in evaluation mode, on CUDA where there is one."""
    device = _device()
    model.eval().to(device)
    given = [tensor.to(device) for tensor in inputs]
    _timed(model, given, clock)
    seconds: list[float] = []
    while not seconds or (len(seconds) < MOST_RUNS and sum(seconds) < ENOUGH_S):
        seconds.append(_timed(model, given, clock))
    return Runtime(median(seconds), min(seconds), max(seconds), len(seconds))


def _timed(model: nn.Module, inputs: Sequence[Tensor], clock: Callable[[], float]) -> float:
    start = clock()
    with torch.inference_mode():
        model(*inputs).cpu()  # waits for the device
    return clock() - start


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def hardware() -> Hardware:
    """This machine."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else cpu_name(Path("/proc/cpuinfo"))
    return Hardware(name, os.cpu_count() or 1, torch.get_num_threads(), torch.__version__)


def cpu_name(cpuinfo: Path) -> str:
    """The CPU's model as Linux names it, else its architecture."""
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1] if found else platform.machine()
