"""Attention written out gives the numbers of torch's own layers."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from adgauge.models.layers.attention import EncoderLayer, MultiHeadAttention
from tests.zoo.torch_layers import torch_attention, torch_layer


@torch.no_grad()
def test_cross_attention_is_that_of_torch_with_and_without_a_mask() -> None:
    torch.manual_seed(0)
    ours = MultiHeadAttention(24, 3).eval()
    theirs = torch_attention(ours)
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
    nn.init.normal_(ours.feedforward_norm.bias)
    states = torch.randn(2, 6, 24)
    torch.testing.assert_close(ours(states, states), torch_layer(ours)(states), atol=1e-6, rtol=0)


def test_dropout_falls_on_what_is_added_in_training_only() -> None:
    torch.manual_seed(0)
    layer, states = EncoderLayer(24, 3, 40, dropout=0.5), torch.randn(2, 6, 24)
    assert not torch.equal(layer(states, states), layer(states, states))
    layer.eval()
    assert torch.equal(layer(states, states), layer(states, states))


@torch.no_grad()
def test_every_product_of_a_layer_is_counted() -> None:
    layer, states = EncoderLayer(24, 3, 40, dropout=0.1).eval(), torch.randn(1, 6, 24)
    with FlopCounterMode(display=False) as counter:
        layer(states, states)
    projections, scores_and_sums, feedforward = 4 * 6 * 24 * 24, 2 * 6 * 6 * 24, 2 * 6 * 24 * 40
    assert counter.get_total_flops() == 2 * (projections + scores_and_sums + feedforward)
