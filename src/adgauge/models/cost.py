"""P and F of the metric CES, counted on the model itself."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from adgauge.contract import CanonicalSpec, Cost
from adgauge.models.registry import Model

COUNTER = "parameters without buffers; torch.utils.flop_counter, 2·MAC, eager attention, batch 1, token limit"


def dummy_inputs(spec: CanonicalSpec, rows: int, tokens: int) -> tuple[torch.Tensor, ...]:
    """Ones of the right shapes and dtypes for `forward`, in its order."""
    return tuple(
        torch.ones(rows, *(tokens if side == -1 else side for side in t.shape), dtype=getattr(torch, t.dtype))
        for t in spec.tensors()
    )


def count_cost(model: Model, spec: CanonicalSpec) -> Cost:
    """Parameters, and FLOPs of one forward pass of one product at the token limit."""
    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*dummy_inputs(spec, 1, spec.text.token_limit))
    params = sum(parameter.numel() for parameter in model.parameters())
    return Cost(params=params, flops=counter.get_total_flops(), counter=COUNTER)
