"""LoViFModel (team iamxredz, LoViF 2026 report, section 4.2): CLIP's two towers and an encoder over both.

All tokens of both towers, not one vector of each, meet in a transformer encoder and are read off flat:

    image [B, 3, 224, 224] → CLIP ViT-B/32 → 50 × 768 → 50 × 512 ┐
                                                                 ├→ encoder → 127 · 512 → 256 → 1 → (1, 5)
    text [B, T ≤ 77] → CLIP's text model → T × 512 → T × 512 ────┘

The first 11 of the 12 layers of each tower stay frozen. Figure 2 of the report names RoBERTa-base as the text
tower, the text CLIP's: both are presets.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isqrt

import torch
from torch import Tensor, nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModel,
    RobertaConfig,
    RobertaModel,
)

from adgauge.models.interface import Limits
from adgauge.models.layers.attention import EncoderLayer
from adgauge.models.layers.masks import causal_mask, padding_mask
from adgauge.models.layers.normalize import RGB, Normalize
from adgauge.models.layers.rating import scaled_sigmoid


@dataclass(frozen=True)
class Config:
    """What distinguishes one LoViFModel from another."""

    image_encoder: CLIPVisionConfig
    mean: RGB
    std: RGB
    text_encoder: CLIPTextConfig | RobertaConfig
    tokens: int  # positions of text that the head has weights for
    width: int
    layers: int
    heads: int
    feedforward: int
    hidden: int
    dropout: float
    score_range: tuple[float, float]


class ImageEncoder(nn.Module):
    """uint8 pixels → normalised → all of CLIP's image tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.normalize = Normalize(config.mean, config.std)
        self.backbone = CLIPVisionModel(config.image_encoder)
        self.backbone.set_attn_implementation("eager")  # the FLOP counter does not see fused attention
        self.tokens: int = self.backbone.embeddings.num_positions  # one a patch, and CLS
        self.projection = nn.Linear(config.image_encoder.hidden_size, config.width)

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] → [B, image tokens, width]."""
        states = self.backbone(pixel_values=self.normalize(image)).last_hidden_state
        # transformers gives the last norm to CLS alone; as in the text tower, each token has it here.
        projected: Tensor = self.projection(self.backbone.post_layernorm(states))
        return projected


class TextEncoder(nn.Module):
    """Token ids → the last states of all tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone: CLIPTextModel | RobertaModel
        if isinstance(config.text_encoder, CLIPTextConfig):
            self.backbone, self.mask = CLIPTextModel(config.text_encoder), causal_mask
        else:
            self.backbone = RobertaModel(config.text_encoder, add_pooling_layer=False)
            self.mask = padding_mask
        self.backbone.set_attn_implementation("eager")
        self.projection = nn.Linear(config.text_encoder.hidden_size, config.width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [B, T] twice → [B, T, width]."""
        output = self.backbone(
            input_ids=input_ids, attention_mask=self.mask(attention_mask, self.backbone.dtype)
        )
        projected: Tensor = self.projection(output.last_hidden_state)
        return projected


class TokenFusion(nn.Module):
    """A transformer encoder over the tokens of both towers, laid out flat.

    The head has weights for every position, so places where there is nothing, be it padding, a picture that
    is missing or tokens up to the limit, are zero.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.tokens = config.tokens
        self.layers = nn.ModuleList(
            EncoderLayer(config.width, config.heads, config.feedforward, config.dropout)
            for _ in range(config.layers)
        )

    def forward(self, image: Tensor, has_image: Tensor, text: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, I, width], [B, 1], [B, T, width], [B, T] → [B, (I + tokens) · width]."""
        mask = torch.cat((has_image.expand(-1, image.shape[1]), attention_mask.float()), dim=1)  # [B, I + T]
        states = torch.cat((image, text), dim=1)
        for layer in self.layers:
            states = layer(states, states, mask)
        states = states * mask.unsqueeze(-1).to(states.dtype)
        missing = self.tokens - text.shape[1]
        return nn.functional.pad(states, (0, 0, 0, missing)).flatten(1)


def mlp(inputs: int, hidden: int, dropout: float) -> nn.Sequential:
    """[B, inputs] → [B, 1]."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1))


class LoViF(nn.Module):
    """LoViFModel; see `RatingModel` for what goes in and comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = TokenFusion(config)
        flat = (self.image_encoder.tokens + config.tokens) * config.width
        self.head = mlp(flat, config.hidden, config.dropout)
        self.score_range = config.score_range
        patch: int = self.image_encoder.backbone.embeddings.patch_embedding.stride[0]
        side = patch * isqrt(self.image_encoder.tokens - 1)
        self.limits = Limits(config.tokens, patch=patch, size=(side, side))

    def forward(self, image: Tensor, has_image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ratings, float32 [B, 1]."""
        image_tokens = self.image_encoder(image)
        text_tokens = self.text_encoder(input_ids, attention_mask)
        rating: Tensor = self.head(self.fusion(image_tokens, has_image, text_tokens, attention_mask))
        return scaled_sigmoid(rating, self.score_range)


CLIP_MEAN: RGB = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: RGB = (0.26862954, 0.26130258, 0.27577711)


def lovif_clip() -> Config:
    """Section 4.2: 174.2 M parameters, 16.5 GFLOPs at 77 tokens.

    Our reading: the encoder's feed-forward width (2048), that of the MLP (256) and dropout (0.1).
    """
    return Config(
        image_encoder=CLIPVisionConfig(
            image_size=224,
            patch_size=32,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
        ),
        mean=CLIP_MEAN,
        std=CLIP_STD,
        text_encoder=CLIPTextConfig(
            vocab_size=49408,
            max_position_embeddings=77,
            hidden_size=512,
            num_hidden_layers=12,
            num_attention_heads=8,
            intermediate_size=2048,
        ),
        tokens=77,
        width=512,
        layers=2,
        heads=8,
        feedforward=2048,
        hidden=256,
        dropout=0.1,
        score_range=(1.0, 5.0),
    )


def lovif_roberta() -> Config:
    """Figure 2: RoBERTa-base in place of CLIP's text model; 77 tokens there too, our reading."""
    roberta = RobertaConfig(
        vocab_size=50265,
        max_position_embeddings=514,
        type_vocab_size=1,
        hidden_size=768,
        num_hidden_layers=12,
        num_attention_heads=12,
        intermediate_size=3072,
        layer_norm_eps=1e-5,
    )
    return replace(lovif_clip(), text_encoder=roberta)


def lovif_tiny() -> Config:
    """Both towers and the encoder of a size for tests, with CLIP's vocabulary."""
    return replace(
        lovif_clip(),
        image_encoder=CLIPVisionConfig(
            image_size=64, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        text_encoder=CLIPTextConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        ),
        tokens=32,
        width=16,
        heads=2,
        feedforward=32,
        hidden=16,
    )
