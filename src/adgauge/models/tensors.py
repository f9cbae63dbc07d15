"""Tensors out of files, and what is wrong with one that a model is to be given."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from adgauge.errors import ConfigurationError

FLOATS = (torch.float32, torch.float16, torch.bfloat16)
"""Weights may be stored in any of these, whatever the model computes in."""


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file; raises ConfigurationError when it is missing, cut off or no such file."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as exc:
        raise ConfigurationError(f"{path} cannot be read as safetensors: {one_line(exc)}") from exc


def misfit(given: Tensor, needed: Tensor) -> str | None:
    """Why `given` cannot become `needed`: "is float32 [3], must be float32, … [16, 48]"; None when it can."""
    dtypes = FLOATS if needed.is_floating_point() else (needed.dtype,)
    if given.shape != needed.shape or given.dtype not in dtypes:
        allowed = _one_of([_short(dtype) for dtype in dtypes])
        return f"is {_short(given.dtype)} {list(given.shape)}, must be {allowed} {list(needed.shape)}"
    bad = int((~torch.isfinite(given)).sum())
    return f"holds {bad} values that are not finite, must hold none" if bad else None


def first_few(names: Collection[str]) -> str:
    """The first three names and how many there are besides."""
    shown = ", ".join(list(names)[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def one_line(exc: BaseException) -> str:
    """The text of an error in one line, however many it has."""
    return " ".join(str(exc).split()) or type(exc).__name__


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _one_of(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
