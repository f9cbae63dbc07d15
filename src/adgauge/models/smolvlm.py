"""SmolVLM as a regressor (LoViF 2026 report, sections 4.1 and 4.3): a small language model reads both.

SmolVLM2-256M without its language head. Teams olacnqoddchl and wleach run the same network; they differ in
the text it is given, in the loss and in what they leave frozen:

    image [B, 3, 384, 384] → SigLIP, 24 × 24 patches of 768
                           → pixel shuffle 4 → 6 × 6 of 12288 → Linear → 36 tokens of 576 ┐
                                                                                          ├→ SmolLM2, causal
    text [B, T] → token embeddings, T of 576 ─────────────────────────────────────────────┘       ↓
                      [B, 36 + T, 576] → mean over what is not masked → 288 → 1 → scaled sigmoid to [1, 5]

transformers' own forward drops pictures and places image tokens by looking into values, which cannot be
exported; here every product has one picture of one size, whose tokens stand before the text. `vision_model`,
`connector`, `text_model` and its `embed_tokens` have the names and weights of the published checkpoint. Those
of its 1024 positions that such a picture does not use are left out; this makes the report's 227.92 M exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel, SmolVLMConfig, SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import (
    SmolVLMConnector,
    SmolVLMVisionEmbeddings,
    SmolVLMVisionTransformer,
)

from adgauge.models.interface import Limits
from adgauge.models.layers.masks import causal_mask
from adgauge.models.layers.normalize import RGB, Normalize
from adgauge.models.layers.rating import masked_mean, scaled_sigmoid
from adgauge.models.layers.rotary import RotaryTable


@dataclass(frozen=True)
class Config:
    """What distinguishes one SmolVLM regressor from another."""

    image_encoder: SmolVLMVisionConfig  # `image_size` is that of the pictures that are given
    shuffle: int  # side × side patches that become one image token
    mean: RGB
    std: RGB
    text_encoder: LlamaConfig
    hidden: int
    score_range: tuple[float, float]


def grid_positions(side: int, table_side: int) -> Tensor:
    """int64 [side²]: which of table_side × table_side positions transformers gives a full picture's patches.

    In its own single precision arithmetic, so that every patch is rounded to the same position.
    """
    boundaries = torch.arange(1 / table_side, 1.0, 1 / table_side)
    fractions = torch.arange(side, dtype=torch.float32) * (1.0 / torch.tensor(side))
    buckets = torch.bucketize(fractions, boundaries, right=True)
    return (buckets[:, None] * table_side + buckets[None, :]).flatten()


def used_positions(table: Tensor, side: int) -> Tensor:
    """Of a published table, [1024, 768] for 32 × 32, the rows of side × side patches: [side², 768]."""
    return table[grid_positions(side, math.isqrt(len(table)))]


def _take_used_positions(
    embeddings: SmolVLMVisionEmbeddings, state: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Before a state dict is loaded: its table may be the published one."""
    name, ours = f"{prefix}position_embedding.weight", embeddings.position_embedding.num_embeddings
    if name in state and len(state[name]) > ours:
        state[name] = used_positions(state[name], math.isqrt(ours))


class ImageEncoder(nn.Module):
    """uint8 pixels → normalised → patches → image tokens as wide as the decoder's."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        vision, text = config.image_encoder, config.text_encoder
        self.normalize = Normalize(config.mean, config.std)
        sizes = SmolVLMConfig(vision_config=vision, text_config=text, scale_factor=config.shuffle)
        self.connector = SmolVLMConnector(sizes)  # type: ignore[no-untyped-call]  # transformers left it so
        self.vision_model = SmolVLMVisionTransformer(vision)
        self.vision_model.set_attn_implementation("eager")  # the FLOP counter does not see fused attention
        embeddings = self.vision_model.embeddings
        embeddings.register_load_state_dict_pre_hook(_take_used_positions)  # type: ignore[no-untyped-call]
        self.patch = embeddings.patch_embedding.kernel_size[0]
        self.grid = math.isqrt(embeddings.position_embedding.num_embeddings)  # patches a side

    def forward(self, image: Tensor) -> Tensor:
        """uint8 [B, 3, image_size, image_size] → [B, tokens, width of the decoder]."""
        embeddings = self.vision_model.embeddings
        patches = embeddings.patch_embedding(self.normalize(image)).flatten(2).transpose(1, 2)
        states = patches + embeddings.position_embedding.weight  # [B, patches, 768]
        states = self.vision_model.encoder(inputs_embeds=states).last_hidden_state
        tokens: Tensor = self.connector(self.vision_model.post_layernorm(states))
        return tokens


class TextEncoder(nn.Module):
    """Token ids → their embeddings; reading them is left to the decoder, which sees the picture too."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        text = config.text_encoder
        self.embed_tokens = nn.Embedding(text.vocab_size, text.hidden_size, text.pad_token_id)
        nn.init.normal_(self.embed_tokens.weight, std=text.initializer_range)

    def forward(self, input_ids: Tensor) -> Tensor:
        """int64 [B, T] → [B, T, width]."""
        embedded: Tensor = self.embed_tokens(input_ids)
        return embedded


class Decoder(nn.Module):
    """Reads image tokens, then text, each position from those before it, and averages what it has read.

    Without a picture its positions are masked, in attention and in the mean; text stays where it is.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.text_model = LlamaModel(config.text_encoder)
        self.text_model.set_attn_implementation("eager")
        del self.text_model.embed_tokens  # they are the text encoder
        self.text_model.set_submodule("rotary_emb", RotaryTable(config.text_encoder))

    def forward(self, image: Tensor, has_image: Tensor, text: Tensor, attention_mask: Tensor) -> Tensor:
        """[B, I, D], float [B, 1], [B, T, D], int64 [B, T] → [B, D]."""
        present = has_image.expand(-1, image.shape[1]).to(attention_mask.dtype)
        mask = torch.cat((present, attention_mask), dim=1)
        return masked_mean(self.read(torch.cat((image, text), dim=1), mask), mask)

    def read(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """[B, N, D] and int64 [B, N] → the last hidden states, [B, N, D]."""
        mask = causal_mask(mask, embedded.dtype)
        output = self.text_model(inputs_embeds=embedded, attention_mask=mask, use_cache=False)
        states: Tensor = output.last_hidden_state
        return states


class SmolVLM(nn.Module):
    """The SmolVLM regressor; see `RatingModel` for what goes in and comes out."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.text_encoder.hidden_size
        self.image_encoder = ImageEncoder(config)
        self.text_encoder = TextEncoder(config)
        self.fusion = Decoder(config)
        self.head = nn.Sequential(nn.Linear(width, config.hidden), nn.GELU(), nn.Linear(config.hidden, 1))
        self.score_range = config.score_range
        grid, patch = self.image_encoder.grid, self.image_encoder.patch
        tokens = config.text_encoder.max_position_embeddings - (grid // config.shuffle) ** 2
        self.limits = Limits(tokens, patch=patch * config.shuffle, size=(grid * patch, grid * patch))

    def forward(self, image: Tensor, has_image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ratings, float32 [B, 1]."""
        image_tokens = self.image_encoder(image)
        text_tokens = self.text_encoder(input_ids)
        read = self.fusion(image_tokens, has_image, text_tokens, attention_mask)
        return scaled_sigmoid(self.head(read), self.score_range)


def _smollm2(width: int, layers: int, heads: int, key_value_heads: int, feedforward: int) -> LlamaConfig:
    """A decoder with SmolLM2's vocabulary and positions."""
    return LlamaConfig(
        vocab_size=49280,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=key_value_heads,
        intermediate_size=feedforward,
        max_position_embeddings=8192,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
        pad_token_id=2,
    )


def smolvlm() -> Config:
    """Both teams' regressor on SmolVLM2-256M: 227.9 M parameters, 135.9 GFLOPs with 76 tokens of text."""
    return Config(
        image_encoder=SmolVLMVisionConfig(
            hidden_size=768,
            num_hidden_layers=12,
            num_attention_heads=12,
            intermediate_size=3072,
            patch_size=16,
            image_size=384,
        ),
        shuffle=4,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        text_encoder=_smollm2(width=576, layers=30, heads=9, key_value_heads=3, feedforward=1536),
        hidden=288,
        score_range=(1.0, 5.0),
    )


def smolvlm_tiny() -> Config:
    """Of a size for tests: 8 × 8 patches become 4 image tokens."""
    return replace(
        smolvlm(),
        image_encoder=SmolVLMVisionConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            patch_size=4,
            image_size=32,
        ),
        text_encoder=_smollm2(width=16, layers=2, heads=2, key_value_heads=1, feedforward=32),
        hidden=8,
    )
