"""What turns features into a rating, as several systems do it."""

from __future__ import annotations

from torch import Tensor


def scaled_sigmoid(raw: Tensor, score_range: tuple[float, float]) -> Tensor:
    """Any real number → strictly within the range; the report's systems but EffiMini use it."""
    low, high = score_range
    # In float32 under autocast too: 16 bits have 23 numbers where ratings lie.
    return low + (high - low) * raw.float().sigmoid()


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """[B, T, D] and a mask [B, T] of ones and zeros → [B, D]: padding counts for nothing."""
    # Shares in float32, not a sum that is divided: 16 bits cannot count to 2560, nor hold that many states.
    shares = mask.float() / mask.float().sum(1, keepdim=True).clamp(min=1)
    mean: Tensor = (states.float() * shares.unsqueeze(-1)).sum(1)
    return mean.to(states.dtype)
