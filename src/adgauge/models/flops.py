"""Multiply-accumulates of one forward pass, by a formula for each type of module.

Counted are matrix products and convolutions, those of attention included; additions of biases, norms,
activations, look-ups and resizing are not, as is usual. Formulas need shapes only, so a model on the meta
device is counted in seconds whatever its size. What has no formula is refused: a count must never be too
small without saying so.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from transformers.models.bert.modeling_bert import BertSelfAttention
from transformers.models.clip.modeling_clip import CLIPAttention, CLIPVisionEmbeddings
from transformers.models.deberta_v2.modeling_deberta_v2 import DisentangledSelfAttention
from transformers.models.dinov2.modeling_dinov2 import Dinov2Attention, Dinov2Embeddings, Dinov2LayerScale
from transformers.models.distilbert.modeling_distilbert import DistilBertSelfAttention
from transformers.models.efficientnet.modeling_efficientnet import EfficientNetDepthwiseConv2d
from transformers.models.llama.modeling_llama import LlamaAttention, LlamaRMSNorm
from transformers.models.roberta.modeling_roberta import RobertaSelfAttention
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMVisionAttention
from transformers.models.swinv2.modeling_swinv2 import Swinv2SelfAttention

from adgauge.errors import ConfigurationError
from adgauge.models.layers.attention import MultiHeadAttention

Formula = Callable[[Any, Mapping[str, Any], Any], int]
"""Module, arguments of its `forward` by name, and output → multiply-accumulates of this one call."""


@dataclass(frozen=True)
class Macs:
    """Multiply-accumulates (MAC); FLOPs are twice as many."""

    layers: int = 0
    attention: int = 0  # products of attention: no factor is a weight

    def __add__(self, other: Macs) -> Macs:
        return Macs(self.layers + other.layers, self.attention + other.attention)

    @property
    def total(self) -> int:
        """All of them."""
        return self.layers + self.attention


def _linear(layer: nn.Linear, given: Mapping[str, Any], output: Tensor) -> int:
    return output.numel() * layer.in_features


def _convolution(layer: nn.Conv2d, given: Mapping[str, Any], output: Tensor) -> int:
    # A filter is [inputs / groups, *kernel].
    return output.numel() * layer.weight[0].numel()


LAYERS: Mapping[type[nn.Module], Formula] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    EfficientNetDepthwiseConv2d: _convolution,
}
"""Modules whose weights are factors of products."""


def _self_attention(query: nn.Linear, given: Mapping[str, Any]) -> int:
    """QKᵀ and AV: every position with every position of its row, over the width of all heads."""
    shape: torch.Size = given["hidden_states"].shape
    return 2 * prod(shape[:-1]) * shape[-2] * query.out_features


def _disentangled_attention(module: DisentangledSelfAttention, given: Mapping[str, Any], output: Any) -> int:
    """As `_self_attention`, and contents with the 2 · span relative positions, in each direction there is.

    The projections of positions are calls of layers inside the module.
    """
    shape: torch.Size = given["hidden_states"].shape
    directions = len({"c2p", "p2c"} & set(module.pos_att_type)) if module.relative_attention else 0
    positions = directions * 2 * module.pos_ebd_size if directions else 0
    contents = _self_attention(module.query_proj, given)
    return contents + prod(shape[:-1]) * positions * module.query_proj.out_features


def _attention(module: MultiHeadAttention, given: Mapping[str, Any], output: Tensor) -> int:
    """QKᵀ and AV: every query with every key of its row."""
    keys: int = given["key_value"].shape[1]
    return 2 * output.numel() * keys


ATTENTION: Mapping[type[nn.Module], Formula] = {
    MultiHeadAttention: _attention,
    BertSelfAttention: lambda module, given, _: _self_attention(module.query, given),
    RobertaSelfAttention: lambda module, given, _: _self_attention(module.query, given),
    # Rows are windows.
    Swinv2SelfAttention: lambda module, given, _: _self_attention(module.query, given),
    CLIPAttention: lambda module, given, _: _self_attention(module.q_proj, given),
    Dinov2Attention: lambda module, given, _: _self_attention(module.q_proj, given),
    SmolVLMVisionAttention: lambda module, given, _: _self_attention(module.q_proj, given),
    # Keys and values that several heads share are multiplied once for each of them; the causal half too.
    LlamaAttention: lambda module, given, _: _self_attention(module.q_proj, given),
    DistilBertSelfAttention: lambda module, given, _: _self_attention(module.q_lin, given),
    DisentangledSelfAttention: _disentangled_attention,
}
"""Modules that multiply activations with activations; their projections are LAYERS inside them."""

ELEMENTWISE: frozenset[type[nn.Module]] = frozenset(
    {
        nn.BatchNorm2d,
        nn.Embedding,
        nn.LayerNorm,
        LlamaRMSNorm,
        CLIPVisionEmbeddings,
        Dinov2Embeddings,
        Dinov2LayerScale,
    }
)
"""Modules that hold parameters and multiply no matrices with them."""


def count_macs(model: nn.Module, inputs: Sequence[Tensor]) -> dict[str, Macs]:
    """MAC of `model(*inputs)` by part: the name of a direct child → what is done inside it.

    Raises ConfigurationError where a module's work is not known.
    """
    _refuse_unknown(model)
    parts: defaultdict[str, Macs] = defaultdict(Macs)
    hooks = [
        module.register_forward_hook(_adding(parts, path.partition(".")[0]), with_kwargs=True)
        for path, module in model.named_modules()
        if type(module) in LAYERS or type(module) in ATTENTION
    ]
    try:
        with torch.no_grad():
            model(*inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return dict(parts)


Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]


def _adding(parts: dict[str, Macs], part: str) -> Hook:
    def add(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        parts[part] += _macs(module, args, kwargs, output)

    return add


def _macs(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Macs:
    given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    kind = type(module)
    layers = LAYERS[kind](module, given, output) if kind in LAYERS else 0
    attention = ATTENTION[kind](module, given, output) if kind in ATTENTION else 0
    return Macs(layers, attention)


def _refuse_unknown(model: nn.Module) -> None:
    for path, module in model.named_modules():
        holds = [name for name, _ in module.named_parameters(recurse=False)]
        if type(module) in LAYERS or type(module) in ATTENTION:
            continue
        if _named_attention(module) or (holds and type(module) not in ELEMENTWISE):
            raise ConfigurationError(
                f"{path or 'the model'} is a {type(module).__name__}, whose FLOPs are not known;"
                " give it a formula in adgauge.models.flops"
            )


def _named_attention(module: nn.Module) -> bool:
    """Whether it calls itself an attention, and none with a formula is inside it."""
    if "attention" not in type(module).__name__.lower():
        return False
    return not any(type(each) in ATTENTION for each in module.modules())
