"""EffiMiniVLM (team Double Y, LoViF 2026 report, section 4.4): two small encoders and an MLP.

EfficientNet-B0 sees the picture, MiniLM reads the text, and the two vectors are simply put side by side:

    image [B, 3, 224, 224] → 1280 ┐
                                  ├→ 1664 → 512 → 256 → 1 → clamp to [1, 5]
    text [B, T ≤ 256] → CLS → 384 ┘

EffiMini-Lite0 has EfficientNet-Lite0 in its place; it is the default model, since package registries carry
the pretrained weights of both its encoders. The team's own code has torchvision's EfficientNet-B0, another
function than that of TensorFlow's weights: it pads evenly and its batch norms have another epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, EfficientNetConfig, EfficientNetModel

from adgauge.models.interface import Limits
from adgauge.models.layers.efficientnet_lite import EfficientNetLite, EfficientNetLiteConfig, Stage, lite0
from adgauge.models.layers.masks import padding_mask
from adgauge.models.layers.normalize import IMAGENET_MEAN, IMAGENET_STD, RGB, Normalize
from adgauge.models.layers.padding import pad_evenly, total_stride


@dataclass(frozen=True)
class Config:
    """What distinguishes one EffiMini from another."""

    image_encoder: EfficientNetConfig | EfficientNetLiteConfig
    even_padding: bool  # of strided convolutions, as torchvision's; else as TensorFlow's
    mean: RGB
    std: RGB
    text_encoder: BertConfig
    pooler: bool  # BERT's pooler: unused, but part of the report's parameter count
    hidden: tuple[int, int]
    dropout: float
    score_range: tuple[float, float]


class ImageEncoder(nn.Module):
    """uint8 pixels → normalised → pooled features."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.normalize = Normalize(config.mean, config.std)
        self.backbone: nn.Module
        if isinstance(config.image_encoder, EfficientNetLiteConfig):
            self.features = config.image_encoder.features
            self.backbone = EfficientNetLite(config.image_encoder)
        else:
            self.features = config.image_encoder.hidden_dim
            self.backbone = EfficientNetModel(config.image_encoder)
            _let_pictures_through(self.backbone)
        if config.even_padding:
            pad_evenly(self.backbone)
        self.patch = 1 if config.even_padding else total_stride(self.backbone)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] → [B, features]."""
        output = self.backbone(self.normalize(image))
        pooled: Tensor = output if isinstance(output, Tensor) else output.pooler_output
        return pooled


def _let_pictures_through(network: nn.Module) -> None:
    """Random weights to learn from: transformers' have norms near zero, of which 49 leave nothing."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.ones_(module.weight)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out")


class TextEncoder(nn.Module):
    """Token ids → the vector of the first token, CLS, in the last layer."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.features = config.text_encoder.hidden_size
        self.backbone = BertModel(config.text_encoder, add_pooling_layer=config.pooler)
        self.backbone.set_attn_implementation("eager")  # the FLOP counter does not see fused attention

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [B, T] twice → [B, features]."""
        mask = padding_mask(attention_mask, self.backbone.dtype)
        output = self.backbone(input_ids=input_ids, attention_mask=mask)
        cls: Tensor = output.last_hidden_state[:, 0]
        return cls


class Concatenation(nn.Module):
    """Image and text features side by side; without a picture the image part is zero."""

    def forward(self, image: Tensor, has_image: Tensor, text: Tensor) -> Tensor:
        """[B, I], [B, 1], [B, T] → [B, I + T]."""
        return torch.cat((image * has_image.to(image.dtype), text), dim=1)


def mlp(inputs: int, hidden: tuple[int, int], dropout: float, start: float) -> nn.Sequential:
    """[B, inputs] → [B, 1], near `start` before training."""
    first, second = hidden
    last = nn.Linear(second, 1)
    nn.init.constant_(last.bias, start)
    return nn.Sequential(
        nn.Linear(inputs, first),
        nn.LayerNorm(first),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(first, second),
        nn.LayerNorm(second),
        nn.GELU(),
        last,
    )


class EffiMini(nn.Module):
    """EffiMiniVLM and its variants; see `RatingModel` for what goes in and comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = Concatenation()
        joint = self.image_encoder.features + self.text_encoder.features
        # A clamped score has no gradient: start in the middle of the range.
        self.head = mlp(joint, config.hidden, config.dropout, start=sum(config.score_range) / 2)
        self.score_range = config.score_range
        self.limits = Limits(config.text_encoder.max_position_embeddings, self.image_encoder.patch, size=None)

    def forward(self, image: Tensor, has_image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ratings, float32 [B, 1]."""
        image_features = self.image_encoder(image)
        text_features = self.text_encoder(input_ids, attention_mask)
        rating: Tensor = self.head(self.fusion(image_features, has_image, text_features))
        return rating.float().clamp(*self.score_range)


def _b0(batch_norm_eps: float, batch_norm_momentum: float) -> EfficientNetConfig:
    return EfficientNetConfig(
        image_size=224,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        hidden_dim=1280,
        dropout_rate=0.2,
        batch_norm_eps=batch_norm_eps,
        batch_norm_momentum=batch_norm_momentum,
    )


def _minilm() -> BertConfig:
    """MiniLM with 6 layers of 384, BERT's uncased vocabulary."""
    return BertConfig(
        hidden_size=384,
        num_hidden_layers=6,
        num_attention_heads=12,
        intermediate_size=1536,
    )


def effimini_vlm() -> Config:
    """The report's model: 27.7 M parameters, 6.8 GFLOPs at 256 tokens."""
    return Config(
        # transformers' momentum of 0.99 is TensorFlow's, which torch counts the other way.
        image_encoder=_b0(batch_norm_eps=1e-3, batch_norm_momentum=0.01),
        even_padding=False,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        text_encoder=_minilm(),
        pooler=True,
        hidden=(512, 256),
        dropout=0.1,
        score_range=(1.0, 5.0),
    )


def torchvision_b0() -> EfficientNetConfig:
    """EfficientNet-B0 with torchvision's batch norms; `even_padding` belongs to it."""
    return _b0(batch_norm_eps=1e-5, batch_norm_momentum=0.1)


def effimini_vlm_torchvision() -> Config:
    """As `effimini_vlm`, computed as the team's public code and checkpoints compute it."""
    return replace(effimini_vlm(), image_encoder=torchvision_b0(), even_padding=True)


def effimini_lite0() -> Config:
    """The default model: EfficientNet-Lite0 instead of B0, and no unused pooler."""
    return replace(
        effimini_vlm(),
        image_encoder=lite0(),
        mean=(0.498, 0.498, 0.498),
        std=(0.502, 0.502, 0.502),
        pooler=False,
    )


def effimini_tiny() -> Config:
    """Lite blocks and BERT layers of a size for tests."""
    stages = (
        Stage(repeats=1, kernel=3, stride=1, expansion=1, channels=8),
        Stage(repeats=2, kernel=5, stride=2, expansion=2, channels=8),
    )
    return replace(
        effimini_lite0(),
        image_encoder=EfficientNetLiteConfig(stem=8, stages=stages, features=32),
        text_encoder=BertConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        hidden=(16, 8),
    )
