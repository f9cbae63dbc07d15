"""Attention written out gives the numbers of torch's own layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from adgauge.models.layers.attention import EncoderLayer, MultiHeadAttention


def copy_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    projections = (ours.query, ours.key, ours.value)
    for projection, weight, bias in zip(
        projections, theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True
    ):
        projection.load_state_dict({"weight": weight, "bias": bias})
    ours.output.load_state_dict(theirs.out_proj.state_dict())


def copy_layer(ours: EncoderLayer, theirs: nn.TransformerEncoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    for mine, other in (
        (ours.attention_norm, theirs.norm1),
        (ours.feedforward[0], theirs.linear1),
        (ours.feedforward[3], theirs.linear2),
        (ours.feedforward_norm, theirs.norm2),
    ):
        mine.load_state_dict(other.state_dict())


@torch.no_grad()
def test_cross_attention_is_that_of_torch_with_and_without_a_mask() -> None:
    torch.manual_seed(0)
    ours, theirs = MultiHeadAttention(24, 3).eval(), nn.MultiheadAttention(24, 3, batch_first=True).eval()
    nn.init.normal_(theirs.in_proj_bias)
    copy_attention(ours, theirs)
    query, key_value = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 1, 0, 0]])
    expected, _ = theirs(query, key_value, key_value, key_padding_mask=mask == 0)
    torch.testing.assert_close(ours(query, key_value, mask), expected, atol=1e-6, rtol=0)
    expected, _ = theirs(query, key_value, key_value)
    torch.testing.assert_close(ours(query, key_value), expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_an_encoder_layer_is_that_of_torch() -> None:
    torch.manual_seed(0)
    ours = EncoderLayer(24, 3, 40, dropout=0.1).eval()
    theirs = nn.TransformerEncoderLayer(24, 3, 40, batch_first=True).eval()
    copy_layer(ours, theirs)
    states = torch.randn(2, 6, 24)
    torch.testing.assert_close(ours(states, states), theirs(states), atol=1e-6, rtol=0)


@torch.no_grad()
def test_every_product_of_a_layer_is_counted() -> None:
    layer, states = EncoderLayer(24, 3, 40, dropout=0.1).eval(), torch.randn(1, 6, 24)
    with FlopCounterMode(display=False) as counter:
        layer(states, states)
    projections, scores_and_sums, feedforward = 4 * 6 * 24 * 24, 2 * 6 * 6 * 24, 2 * 6 * 24 * 40
    assert counter.get_total_flops() == 2 * (projections + scores_and_sums + feedforward)
