"""LatentQuery Fusion (team Hope, LoViF 2026 report, section 4.6): eight learnt queries read all tokens.

However many pictures and tokens there are, what is rated has the size of the queries:

    images [B, K, 3, 224, 224] → DINOv2 → K · 257 × 768 ┐
                                                        ├→ memory [B, K · 257 + T, 768]
    text [B, T ≤ 256] → DistilBERT → T × 768 → T × 768 ─┘        ↓ keys and values
                        8 queries × 768 → self-attention → cross-attention → feed-forward, 3 layers
                        8 × 768 → a rating and a weight each → a · x + b → (1, 5)

Both encoders stay frozen but for a low-rank adaptation of queries and values: `adgauge.models.lora`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, DistilBertConfig, DistilBertModel

from adgauge.models.interface import Limits
from adgauge.models.layers.attention import EncoderLayer, MultiHeadAttention
from adgauge.models.layers.masks import padding_mask
from adgauge.models.layers.normalize import IMAGENET_MEAN, IMAGENET_STD, RGB, Normalize
from adgauge.models.layers.rating import scaled_sigmoid


@dataclass(frozen=True)
class Config:
    """What distinguishes one LatentQuery Fusion from another; the number of pictures does not."""

    image_encoder: Dinov2Config  # its width is the memory's
    mean: RGB
    std: RGB
    text_encoder: DistilBertConfig
    queries: int
    layers: int
    heads: int
    feedforward: int
    hidden: int
    dropout: float
    score_range: tuple[float, float]


class ImageEncoder(nn.Module):
    """uint8 pixels → normalised → all of DINOv2's tokens, of all pictures."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.width = config.image_encoder.hidden_size
        self.normalize = Normalize(config.mean, config.std)
        self.backbone = Dinov2Model(config.image_encoder)
        self.backbone.set_attn_implementation("eager")  # the FLOP counter does not see fused attention

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [B, K, 3, H, W], or [B, 3, H, W] → [B, K · P, width] with P tokens a picture, CLS first."""
        pictures = image.flatten(0, -4)  # [B · K, 3, H, W]
        # Not the whole backbone's forward: into a graph it puts a mask that masks nothing.
        embedded = self.backbone.embeddings(self.normalize(pictures))
        states: Tensor = self.backbone.layernorm(self.backbone.encoder(embedded).last_hidden_state)
        return states.reshape(image.shape[0], -1, self.width)


class TextEncoder(nn.Module):
    """Token ids → the last states of all tokens, projected to the memory's width."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.backbone = DistilBertModel(config.text_encoder)
        self.backbone.set_attn_implementation("eager")
        self.projection = nn.Linear(config.text_encoder.dim, config.image_encoder.hidden_size)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int64 [B, T] twice → [B, T, width]."""
        mask = padding_mask(attention_mask, self.backbone.dtype)
        output = self.backbone(input_ids=input_ids, attention_mask=mask)
        projected: Tensor = self.projection(output.last_hidden_state)
        return projected


class QueryLayer(nn.Module):
    """The queries look at each other, then at the memory: a transformer decoder's layer without an order."""

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.reading = EncoderLayer(width, heads, feedforward, dropout)

    def forward(self, queries: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """[B, Q, width], [B, M, width] and its mask [B, M] of ones and zeros → [B, Q, width]."""
        queries = self.attention_norm(queries + self.dropout(self.attention(queries, queries)))
        read: Tensor = self.reading(queries, memory, mask)
        return read


class LatentQueryFusion(nn.Module):
    """Tokens of all pictures and of the text → one state a query."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.image_encoder.hidden_size
        self.queries = nn.Embedding(config.queries, width)
        self.layers = nn.ModuleList(
            QueryLayer(width, config.heads, config.feedforward, config.dropout) for _ in range(config.layers)
        )

    def forward(self, image: Tensor, has_image: Tensor, text: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, K · P, width], [B, K], [B, T, width], [B, T] → [B, queries, width]."""
        tokens = image.shape[1] // has_image.shape[1]
        seen = has_image.unsqueeze(-1).expand(-1, -1, tokens).flatten(1)  # [B, K · P]
        mask = torch.cat((seen, attention_mask.float()), dim=1)
        memory = torch.cat((image, text), dim=1)
        states = self.queries.weight.repeat(image.shape[0], 1, 1)
        for layer in self.layers:
            states = layer(states, memory, mask)
        return states


class QueryWeightedMLP(nn.Module):
    """Each query gives a rating; how much each counts depends on its state too. Then a · x + b."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.weight = nn.Linear(width, 1)
        self.rating = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, 1)
        )
        self.calibration = nn.Linear(1, 1)
        nn.init.ones_(self.calibration.weight)
        nn.init.zeros_(self.calibration.bias)

    def forward(self, states: Tensor) -> Tensor:
        """[B, queries, width] → [B, 1]."""
        weights = self.weight(states).softmax(dim=1)  # [B, queries, 1]
        rating: Tensor = self.calibration((weights * self.rating(states)).sum(dim=1))
        return rating


class LatentQuery(nn.Module):
    """LatentQuery Fusion; see `RatingModel` for what goes in and comes out.

    The report's calibration is linear and ends "between 1 and 5"; our reading: a scaled sigmoid after it.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = LatentQueryFusion(config)
        self.head = QueryWeightedMLP(self.image_encoder.width, config.hidden, config.dropout)
        self.score_range = config.score_range
        patch: int = self.image_encoder.backbone.embeddings.patch_embeddings.projection.stride[0]
        self.limits = Limits(config.text_encoder.max_position_embeddings, patch=patch, size=None)

    def forward(self, image: Tensor, has_image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ratings, float32 [B, 1]."""
        image_tokens = self.image_encoder(image)
        text_tokens = self.text_encoder(input_ids, attention_mask)
        rating: Tensor = self.head(self.fusion(image_tokens, has_image, text_tokens, attention_mask))
        return scaled_sigmoid(rating, self.score_range)


def latent_query() -> Config:
    """The report's model, whether one picture is shown to it or two.

    DINOv2 was published with positions for 518 × 518; at 224 × 224 they are interpolated. The report gives 8
    queries and 3 layers. Our reading: heads (8) and feed-forward width (3072) of these layers, the projection
    of the text (to 768), the width of the MLP (768) and dropout (0.1).
    """
    return Config(
        image_encoder=Dinov2Config(
            image_size=518,
            patch_size=14,
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            mlp_ratio=4,
        ),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        text_encoder=DistilBertConfig(
            vocab_size=30522, max_position_embeddings=512, dim=768, n_layers=6, n_heads=12, hidden_dim=3072
        ),
        queries=8,
        layers=3,
        heads=8,
        feedforward=3072,
        hidden=768,
        dropout=0.1,
        score_range=(1.0, 5.0),
    )


def latent_query_tiny() -> Config:
    """Both encoders and the queries of a size for tests; positions are interpolated here too."""
    return replace(
        latent_query(),
        image_encoder=Dinov2Config(
            image_size=56, patch_size=14, hidden_size=16, num_hidden_layers=2, num_attention_heads=2
        ),
        text_encoder=DistilBertConfig(
            max_position_embeddings=64, dim=16, n_layers=2, n_heads=2, hidden_dim=32
        ),
        queries=4,
        heads=2,
        feedforward=32,
        hidden=16,
    )
