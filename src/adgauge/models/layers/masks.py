"""Attention masks as numbers that are added to attention scores.

transformers makes its own from a mask [B, T], but looks into its values to leave it out where nothing is
padded: that can neither be counted on the meta device nor exported. A mask of four dimensions is taken as is.
"""

from __future__ import annotations

import torch
from torch import Tensor


def padding_mask(attention_mask: Tensor) -> Tensor:
    """int64 [B, T] of ones and zeros → float32 [B, 1, 1, T]: 0 to attend, the least float not to."""
    return (1.0 - attention_mask[:, None, None, :].float()) * torch.finfo(torch.float32).min


def causal_mask(attention_mask: Tensor) -> Tensor:
    """int64 [B, T] → float32 [B, 1, T, T]: as `padding_mask`, and no position attends to a later one."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    earlier = positions[None, :] <= positions[:, None]
    allowed = earlier[None, None] & attention_mask[:, None, None, :].bool()
    return (1.0 - allowed.float()) * torch.finfo(torch.float32).min
