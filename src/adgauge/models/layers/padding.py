"""Where the zeros of a strided convolution stand."""

from __future__ import annotations

from math import prod

from torch import nn


def pad_evenly(network: nn.Module) -> None:
    """Pad in place as torchvision does: before a stride of 2, as much above and left as below and right.

    TensorFlow pads even sizes below and to the right only, and so do networks that take its weights. The two
    see pictures shifted by one pixel: weights of the one give other features in the other.
    """
    for module in network.modules():
        if isinstance(module, nn.ZeroPad2d):
            most = max(module.padding)
            module.padding = (most, most, most, most)


def total_stride(network: nn.Module) -> int:
    """Pixels from one of the last features to the next, where convolutions follow each other.

    For pictures whose sides are multiples of it no strided convolution sees an odd side, which TensorFlow and
    our networks pad differently.
    """
    return prod(module.stride[0] for module in network.modules() if isinstance(module, nn.Conv2d))
