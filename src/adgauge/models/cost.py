"""P and F of the metric CES, counted on the model itself."""

from __future__ import annotations

import torch
from torch.func import functional_call
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
    """Parameters, and FLOPs of one forward pass of one product at the token limit.

    Shapes alone are computed, on the meta device, which takes seconds for the largest model.
    """
    model.eval()
    # Detached: a view of a parameter requires gradients even under no_grad, at which the counter fails.
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    with torch.device("meta"):
        inputs = dummy_inputs(spec, 1, spec.text.token_limit)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(model, shapes, inputs)
    params = sum(parameter.numel() for parameter in model.parameters())
    return Cost(params=params, flops=counter.get_total_flops(), counter=COUNTER)
