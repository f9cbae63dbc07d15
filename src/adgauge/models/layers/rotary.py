"""Rotary positions that stand 16 bits (arXiv:2104.09864)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding


class RotaryTable(nn.Module):
    """What each position turns queries and keys by: transformers' numbers, computed once in float32.

    transformers multiplies positions with frequencies in each pass: in a model or a graph of 16 bits these
    products are off by radians at the end of a long text.
    """

    cos: Tensor
    sin: Tensor

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        positions = torch.arange(config.max_position_embeddings)
        cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(()), positions)
        self.register_buffer("cos", cos, persistent=False)  # [positions, width of a head]
        self.register_buffer("sin", sin, persistent=False)

    def forward(self, states: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N, D] for their dtype, int64 [1, N] → cosines and sines, [1, N, width of a head]."""
        return self.cos[position_ids].to(states.dtype), self.sin[position_ids].to(states.dtype)
