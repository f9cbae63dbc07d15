"""PinCO (team ps3336, LoViF 2026 report, section 4.5): words look at pictures, then five tokens meet.

Up to three pictures lie in one collage, so that one pass of a small encoder sees them all:

    collage [B, 3, 256, 384] → Swin-v2-Tiny → 96 × 768 → 96 × 512 ─┬─ mean ──────────→ 512 ┐
                                                        keys, values                       │
                                                                   ↓                       │
    text [B, T ≤ 256] → DeBERTa-v3-small → T × 768 → T × 512 → attention, FFN → mean → 512 ├→ 2 layers → mean
                                                        └─ first ────────────────────→ 512 │     ↓
    category [B, 1] → embedding of 34 ───────────────────────────────────────────────→ 512 │  512 → 128 → 1
    numeric [B, 3] → Linear ─────────────────────────────────────────────────────────→ 512 ┘     ↓
                                                                              scaled sigmoid to [1, 5]

The report does not say which of the five tokens is rated; here it is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import DebertaV2Config, DebertaV2Model, Swinv2Config, Swinv2Model

from adgauge.models.interface import Limits
from adgauge.models.layers.attention import EncoderLayer
from adgauge.models.layers.normalize import IMAGENET_MEAN, IMAGENET_STD, RGB, Normalize
from adgauge.models.layers.rating import masked_mean, scaled_sigmoid

Cell = tuple[int, int, int, int]  # of the collage: top, left, height and width in pixels


@dataclass(frozen=True)
class Config:
    """What distinguishes one PinCO from another."""

    image_encoder: Swinv2Config
    mean: RGB
    std: RGB
    cells: tuple[Cell, ...]
    text_encoder: DebertaV2Config
    categories: int  # with 0, the unknown one
    numeric: int
    width: int
    heads: int
    feedforward: int
    layers: int
    hidden: int
    dropout: float
    score_range: tuple[float, float]


class ImageEncoder(nn.Module):
    """uint8 collage → black where a picture is missing → normalised → Swin's last tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.cells = config.cells
        self.size = max(top + h for top, _, h, _ in self.cells), max(left + w for _, left, _, w in self.cells)
        self.normalize = Normalize(config.mean, config.std)
        self.backbone = Swinv2Model(config.image_encoder, add_pooling_layer=False)
        self.backbone.set_attn_implementation("eager")  # the FLOP counter does not see fused attention
        self.projection = nn.Linear(self.backbone.num_features, config.width)

    def forward(self, image: Tensor, has_image: Tensor) -> Tensor:
        """uint8 [B, 3, H, W], float [B, K] → [B, tokens, width]."""
        # Swin mixes neighbouring cells, so a missing picture cannot be left out later.
        states = self.backbone(self.normalize(image * self.shown(has_image))).last_hidden_state
        projected: Tensor = self.projection(states)
        return projected

    def shown(self, has_image: Tensor) -> Tensor:
        """[B, K] → [B, 1, H, W]: 1 in the cells of the pictures there are."""
        height, width = self.size
        painted = []
        for at, (top, left, h, w) in enumerate(self.cells):
            cell = has_image[:, at, None, None, None].expand(-1, 1, h, w)
            painted.append(nn.functional.pad(cell, (left, width - left - w, top, height - top - h)))
        return torch.stack(painted).sum(0)


class TextEncoder(nn.Module):
    """Token ids → the last states of all tokens."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone = DebertaV2Model(config.text_encoder)
        self.backbone.set_attn_implementation("eager")
        self.projection = nn.Linear(config.text_encoder.hidden_size, config.width)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [B, T] twice → [B, T, width]."""
        # Of [B, T] DeBERTa masks pairs: a padding token would see nothing at all, which is NaN in float16.
        output = self.backbone(input_ids=input_ids, attention_mask=attention_mask[:, None, None, :])
        projected: Tensor = self.projection(output.last_hidden_state)
        return projected


class CrossModalFusion(nn.Module):
    """Text attends to the collage; its mean, both encoders' own summaries and what else is known meet.

    Without any picture the image tokens are zero.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        sizes = config.width, config.heads, config.feedforward, config.dropout
        self.cross = EncoderLayer(*sizes)
        self.category = nn.Embedding(config.categories, config.width)
        self.numeric = nn.Linear(config.numeric, config.width)
        self.layers = nn.ModuleList(EncoderLayer(*sizes) for _ in range(config.layers))

    def forward(
        self,
        image: Tensor,
        has_image: Tensor,
        text: Tensor,
        mask: Tensor,
        category_id: Tensor,
        numeric: Tensor,
    ) -> Tensor:
        """[B, I, D], [B, K], [B, T, D], [B, T], [B, 1], [B, N] → [B, D]."""
        image = image * has_image.amax(1)[:, None, None].to(image.dtype)
        seen = masked_mean(self.cross(text, image), mask)
        known = self.category(category_id[:, 0]), self.numeric(numeric.to(self.numeric.weight.dtype))
        tokens = torch.stack((image.mean(1), text[:, 0], seen, *known), dim=1)  # [B, 5, D]
        for layer in self.layers:
            tokens = layer(tokens, tokens)
        return tokens.mean(1)


class PinCO(nn.Module):
    """The deployed student; see `RatingModel` for what goes in and comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = CrossModalFusion(config)
        self.head = nn.Sequential(
            nn.Linear(config.width, config.hidden), nn.GELU(), nn.Linear(config.hidden, 1)
        )
        self.score_range = config.score_range
        positions = config.text_encoder.max_position_embeddings
        size, categories = self.image_encoder.size, config.categories
        self.limits = Limits(positions, patch=1, size=size, categories=categories, numeric=config.numeric)

    def forward(
        self,
        image: Tensor,
        has_image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        category_id: Tensor,
        numeric: Tensor,
    ) -> Tensor:
        """Ratings, float32 [B, 1]."""
        image_tokens = self.image_encoder(image, has_image)
        text_tokens = self.text_encoder(input_ids, attention_mask)
        fused = self.fusion(image_tokens, has_image, text_tokens, attention_mask, category_id, numeric)
        return scaled_sigmoid(self.head(fused), self.score_range)


def _deberta_v3(width: int, layers: int, heads: int, feedforward: int, buckets: int) -> DebertaV2Config:
    """Version 3's vocabulary and its relative positions, `buckets` to each side."""
    return DebertaV2Config(  # type: ignore[call-arg]  # transformers reads three that it does not declare
        vocab_size=128100,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=feedforward,
        max_position_embeddings=512,
        position_biased_input=False,
        relative_attention=True,
        position_buckets=buckets,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
    )


def pinco() -> Config:
    """The report's model: 179.2 M parameters, 52.6 GFLOPs at 256 tokens."""
    return Config(
        image_encoder=Swinv2Config(
            image_size=256, embed_dim=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24), window_size=8
        ),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        cells=((0, 0, 256, 256), (0, 256, 128, 128), (128, 256, 128, 128)),
        text_encoder=_deberta_v3(width=768, layers=6, heads=12, feedforward=3072, buckets=256),
        categories=34,
        numeric=3,
        width=512,
        heads=8,
        feedforward=2048,
        layers=2,
        hidden=128,
        dropout=0.1,
        score_range=(1.0, 5.0),
    )


def pinco_tiny() -> Config:
    """Of a size for tests; its collage is 64 × 96."""
    return replace(
        pinco(),
        image_encoder=Swinv2Config(
            image_size=64, embed_dim=8, depths=(2, 2), num_heads=(2, 2), window_size=4
        ),
        cells=((0, 0, 64, 64), (0, 64, 32, 32), (32, 64, 32, 32)),
        text_encoder=_deberta_v3(width=6, layers=2, heads=2, feedforward=12, buckets=8),
        width=16,
        heads=2,
        feedforward=32,
        hidden=8,
    )
