"""Pixels as encoders were pretrained on them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

RGB = tuple[float, float, float]

IMAGENET_MEAN: RGB = (0.485, 0.456, 0.406)
IMAGENET_STD: RGB = (0.229, 0.224, 0.225)
"""Of ImageNet's pixels, scaled to [0, 1]; most encoders were pretrained with them."""


class Normalize(nn.Module):
    """uint8 [..., 3, H, W] → the model's dtype, per channel (x / 255 - mean) / std, computed in float32.

    `mean` and `std` are of pixels scaled to [0, 1]. It is part of the model so that it is in the graph.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: RGB, std: RGB) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [..., 3, H, W] → the same shape."""
        return ((image.float() - self.mean) / self.std).to(self.mean.dtype)
