"""What every rating model looks like, so that training, export and cost counting know no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn


@dataclass(frozen=True)
class Limits:
    """What pictures and texts a model can be given."""

    tokens: int  # positions of the text encoder that text may take
    patch: int  # pixels; height and width of the picture must be multiples of it
    size: tuple[int, int] | None  # the only height and width there are positions for; None: any
    categories: int = 0  # ids of categories, 0 for unknown among them
    numeric: int = 0  # numbers beside picture and text


class RatingModel(Protocol):
    """A torch module that predicts the average rating of a product from its pictures and its text.

    Built from its own frozen `Config` alone: `Model(config)`. Recipes freeze, export and count by the four
    attribute names; two model files differ only where the idea does.
    """

    @property
    def image_encoder(self) -> nn.Module:
        """uint8 pixels → image features. Normalisation is in here, so that it is in the graph."""

    @property
    def text_encoder(self) -> nn.Module:
        """`input_ids` and `attention_mask` → text features."""

    @property
    def fusion(self) -> nn.Module:
        """Image features, `has_image` and text features → joint features."""

    @property
    def head(self) -> nn.Module:
        """Joint features → one number, [B, 1], not yet bound to the score range."""

    @property
    def limits(self) -> Limits:
        """What its canonicalization must keep to."""

    @property
    def forward(self) -> Callable[..., Tensor]:
        """`(image, has_image, input_ids, attention_mask)` → ratings, float32 [B, 1], in the score range.

        `image` is uint8 [B, 3, H, W], or [B, K, 3, H, W] where the contract shows K pictures (anything where
        `has_image`, float32 [B, K], is 0); `input_ids` and `attention_mask` int64 [B, T] with T at most the
        token limit. PinCO is also given `category_id`, int64 [B, 1], and `numeric`, float32 [B, N]. These are
        `CanonicalSpec.tensors()`, in that order. In evaluation rows do not influence each
        other; in training batch norms make them.
        """
