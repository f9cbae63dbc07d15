"""Models with random weights, to show that a system exports and serves: no rating of theirs means anything.

Random weights rate every product nearly alike, and near-equal scores would pass any gate, so the head's last
layer is stretched until the golden scores differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from adgauge.contract import ModelContract
from adgauge.errors import ContractMismatch
from adgauge.export.parity import torch_scores
from adgauge.models.registry import Model
from adgauge.records import CanonicalInput

SEED = 0
MIN_SPREAD = 0.3
"""max − min of the golden scores: with less, a gate on their differences says little."""
REACH = 0.25
"""How far on either side of the middle the head's outputs lie after stretching: ratings of 2.75 to 3.25. What
sums that are rounded otherwise differ by is stretched too, so it is no more than a gate needs."""


def stretch(model: Model, contract: ModelContract, inputs: Sequence[CanonicalInput]) -> None:
    """Scale and shift the last layer of the head, in place, by numbers of few digits.

    Batch norms that have seen nothing yet are shown the pictures of `inputs` before. Raises ContractMismatch
    when the model rates all of `inputs` alike.
    """
    _settle(model, [one.arrays["image"] for one in inputs])
    outputs = _head_outputs(model, contract, inputs)
    low, high = float(outputs.min()), float(outputs.max())
    if not high > low:
        raise ContractMismatch(f"{contract.name} with random weights rates all golden products alike")
    # Rounded, so that the same weights come out on every machine, whatever its sums end in.
    scale = float(f"{2 * REACH / (high - low):.2g}")
    shift = round(_middle(model, contract, inputs[0]) - scale * (low + high) / 2, 2)
    last = [each for each in model.head.modules() if isinstance(each, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(scale)
        last.bias.mul_(scale).add_(shift)


def _settle(model: Model, pictures: Sequence[npt.NDArray[np.generic]]) -> None:
    """Batch norms that normalize by nothing let 49 layers wear a picture down to zero: the score would be of
    the text alone, and parity blind to half of the model.
    """
    norms = [each for each in model.image_encoder.modules() if isinstance(each, nn.BatchNorm2d)]
    fresh = [each for each in norms if each.running_var is not None and bool((each.running_var == 1).all())]
    for norm in fresh:
        norm.train()
        norm.momentum = None  # the mean of all that it sees
    if fresh:
        with torch.no_grad():
            model.image_encoder(torch.from_numpy(np.stack(pictures)))
    model.eval()


def _head_outputs(model: Model, contract: ModelContract, inputs: Sequence[CanonicalInput]) -> Tensor:
    """What the head gives for each, before it is bound to the range."""
    outputs: list[Tensor] = []
    hook = model.head.register_forward_hook(lambda _module, _given, output: outputs.append(output))
    try:
        torch_scores(model, contract, inputs)
    finally:
        hook.remove()
    return torch.cat(outputs)


def _middle(model: Model, contract: ModelContract, one: CanonicalInput) -> float:
    """The output of the head that is rated in the middle: of a scaled sigmoid 0, of a clamp the middle."""
    middle = sum(contract.score_range) / 2
    hook = model.head.register_forward_hook(lambda _module, _given, output: torch.zeros_like(output))
    try:
        (rated,) = torch_scores(model, contract, [one])
    finally:
        hook.remove()
    return 0.0 if abs(float(rated) - middle) < 1e-3 else middle
