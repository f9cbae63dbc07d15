"""torch's own layers with the weights of ours, to compare with."""

from __future__ import annotations

import torch
from torch import nn

from adgauge.models.layers.attention import EncoderLayer, MultiHeadAttention


@torch.no_grad()
def torch_attention(ours: MultiHeadAttention) -> nn.MultiheadAttention:
    theirs = nn.MultiheadAttention(ours.query.in_features, ours.heads, batch_first=True).eval()
    projections = (ours.query, ours.key, ours.value)
    theirs.in_proj_weight.copy_(torch.cat([projection.weight for projection in projections]))
    theirs.in_proj_bias.copy_(torch.cat([projection.bias for projection in projections]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())
    return theirs


def torch_layer(ours: EncoderLayer) -> nn.TransformerEncoderLayer:
    first, last = ours.feedforward[0], ours.feedforward[3]
    assert isinstance(first, nn.Linear)
    sizes = first.in_features, ours.attention.heads, first.out_features
    theirs = nn.TransformerEncoderLayer(*sizes, batch_first=True).eval()
    theirs.self_attn.load_state_dict(torch_attention(ours.attention).state_dict())
    theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
    theirs.linear1.load_state_dict(first.state_dict())
    theirs.linear2.load_state_dict(last.state_dict())
    theirs.norm2.load_state_dict(ours.feedforward_norm.state_dict())
    return theirs
