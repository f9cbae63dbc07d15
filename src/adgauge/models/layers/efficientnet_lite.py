"""EfficientNet-Lite: EfficientNet without squeeze-and-excitation, with ReLU6 and a fixed stem and head.

Reference: TensorFlow's `efficientnet/lite` (2020) for the blocks and the padding (`SAME`, which at stride 2
pads the bottom and the right), arXiv:1905.11946 for the family.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """Repeated inverted residual blocks; only the first one has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """Widths and depths; `features` is the size of the pooled output."""

    stem: int
    stages: tuple[Stage, ...]
    features: int


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    """Convolution and batch norm, [B, inputs, H, W] → [B, outputs, H / stride, W / stride]."""
    ends = (kernel - stride) // 2, (kernel - stride + 1) // 2
    padding = nn.ZeroPad2d((*ends, *ends)) if stride > 1 else nn.Identity()
    own = 0 if stride > 1 else kernel // 2
    return nn.Sequential(
        padding,
        nn.Conv2d(inputs, outputs, kernel, stride, own, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.01),
    )


class InvertedResidual(nn.Module):
    """Widen (1×1), filter each channel (depthwise), narrow (1×1); added to the input where shapes allow."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        wide = inputs * stage.expansion
        widen = [conv_norm(inputs, wide, 1), nn.ReLU6()] if stage.expansion > 1 else []
        depthwise = conv_norm(wide, wide, stage.kernel, stride, groups=wide)
        self.layers = nn.Sequential(*widen, depthwise, nn.ReLU6(), conv_norm(wide, stage.channels, 1))
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] → [B, channels, H / stride, W / stride]."""
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Normalised pictures, float32 [B, 3, H, W] with H and W multiples of 32 → pooled [B, features]."""

    def __init__(self, config: EfficientNetLiteConfig) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, config.stem, 3, stride=2), nn.ReLU6())
        blocks: list[nn.Module] = []
        channels = config.stem
        for stage in config.stages:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.expand = nn.Sequential(conv_norm(channels, config.features, 1), nn.ReLU6())

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] → [B, features]."""
        pooled: Tensor = self.expand(self.blocks(self.stem(x))).mean(dim=(2, 3))
        return pooled


def lite0() -> EfficientNetLiteConfig:
    """EfficientNet-Lite0: 3.4 M parameters without its classifier, 0.8 GFLOPs at 224 × 224."""
    return EfficientNetLiteConfig(
        stem=32,
        stages=(
            Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=16),
            Stage(repeats=2, kernel=3, stride=2, expansion=6, channels=24),
            Stage(repeats=2, kernel=5, stride=2, expansion=6, channels=40),
            Stage(repeats=3, kernel=3, stride=2, expansion=6, channels=80),
            Stage(repeats=3, kernel=5, stride=1, expansion=6, channels=112),
            Stage(repeats=4, kernel=5, stride=2, expansion=6, channels=192),
            Stage(repeats=1, kernel=3, stride=1, expansion=6, channels=320),
        ),
        features=1280,
    )
