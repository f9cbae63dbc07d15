"""Attention masks as numbers that are added to attention scores.

transformers makes its own from a mask [B, T], but looks into its values to leave it out where nothing is
padded: that can neither be counted on the meta device nor exported. A mask of four dimensions is taken as is.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOT_ATTENDED = -1e4
"""Far below any score: its exponential is zero. The least float32 would do until a graph is converted to
float16, in which it is minus infinity, and softmax makes NaN of a row of nothing else."""


def padding_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, T] of ones and zeros → `dtype` [B, 1, 1, T]: 0 to attend, NOT_ATTENDED not to.

    `dtype` is that of the scores: another one would change theirs.
    """
    return (1.0 - attention_mask[:, None, None, :].to(dtype)) * NOT_ATTENDED


def causal_mask(attention_mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, T] → `dtype` [B, 1, T, T]: as `padding_mask`, and no position attends to a later one."""
    positions = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    earlier = positions[None, :] <= positions[:, None]
    allowed = earlier[None, None] & attention_mask[:, None, None, :].bool()
    return (1.0 - allowed.to(dtype)) * NOT_ATTENDED
