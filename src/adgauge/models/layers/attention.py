"""Attention as matrix products that the FLOP counter sees and the exporter writes out as they are.

torch.nn's own layers take a fused path in evaluation, which neither does.
"""

from __future__ import annotations

from torch import Tensor, nn

from adgauge.models.layers.masks import padding_mask


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with `heads` heads; all four projections are width × width with bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, query: Tensor, key_value: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, Q, width], [B, K, width], mask int64 [B, K] (0: not attended; None: all) → [B, Q, width]."""
        queries = self._split(self.query(query))  # [B, heads, Q, width / heads]
        keys, values = self._split(self.key(key_value)), self._split(self.value(key_value))
        scores = queries @ keys.transpose(-1, -2) * self.scale
        if mask is not None:
            scores = scores + padding_mask(mask, scores.dtype)
        attended: Tensor = self.output((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))
        return attended

    def _split(self, states: Tensor) -> Tensor:
        rows, positions, width = states.shape
        return states.view(rows, positions, self.heads, width // self.heads).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention, then a feed-forward network (ReLU); each is added to its input, then LayerNorm.

    The same numbers as torch's TransformerEncoderLayer, except that attention weights are not dropped out.
    """

    def __init__(self, width: int, heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(width, heads)
        self.attention_norm = nn.LayerNorm(width)
        self.feedforward = nn.Sequential(
            nn.Linear(width, feedforward), nn.ReLU(), nn.Dropout(dropout), nn.Linear(feedforward, width)
        )
        self.feedforward_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key_value: Tensor, mask: Tensor | None = None) -> Tensor:
        """As MultiHeadAttention; self-attention where `key_value` is `query`."""
        states = self.attention_norm(query + self.dropout(self.attention(query, key_value, mask)))
        encoded: Tensor = self.feedforward_norm(states + self.dropout(self.feedforward(states)))
        return encoded
