"""Weights for numeric references: they depend on their name and position, and on no generator."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor, nn


def scatter(count: int, seed: int) -> Tensor:
    """Numbers between -1 and 1 without a pattern."""
    wave = torch.sin(12.9898 * torch.arange(count, dtype=torch.float64) + seed % 1000) * 43758.5453
    return 2 * wave.frac().abs() - 1


@torch.no_grad()
def fill_by_formula(module: nn.Module) -> None:
    """Scale of norms about 1, biases and layer scales about 0, matrices so that states keep their size."""
    for name, tensor in module.named_parameters():
        wave = scatter(tensor.numel(), zlib.crc32(name.encode())).view(tensor.shape)
        if tensor.dim() == 1:
            tensor.copy_(0.2 * wave + (1 if name.endswith("weight") else 0))
        else:
            tensor.copy_(wave * (3 / tensor[0].numel()) ** 0.5)
