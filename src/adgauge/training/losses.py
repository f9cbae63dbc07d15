"""Losses over groups: [G, N] scores of N variants of each of G products."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812  # its name everywhere
from torch import Tensor


def level_loss(scores: Tensor, targets: Tensor, beta: float) -> Tensor:
    """How far scores are from their targets: SmoothL1, quadratic below `beta`."""
    return F.smooth_l1_loss(scores, targets, beta=beta)


def difference_loss(scores: Tensor, targets: Tensor, beta: float) -> Tensor:
    """The same for what variants differ by: not which product it is, only what was done to it."""
    return F.smooth_l1_loss(
        scores - scores.mean(1, keepdim=True), targets - targets.mean(1, keepdim=True), beta=beta
    )


def ranking_loss(scores: Tensor, targets: Tensor, margin: float = 0.15, sharpness: float = 4.0) -> Tensor:
    """Logistic loss over the pairs of a product whose targets differ by more than `margin`."""
    apart = targets[:, :, None] - targets[:, None] > margin
    gaps = scores[:, :, None] - scores[:, None]
    return F.softplus(-sharpness * gaps[apart]).mean() if apart.any() else scores.sum() * 0
