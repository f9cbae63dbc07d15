"""Low-rank adaptation of any model's linear layers (Hu et al. 2021, section 4.1).

    y = Wx + b + (alpha / rank) · BAx        W, b frozen; A [rank, in], B [out, rank] trained

B starts at zero, so that an adapted model first scores as before; when training is over the product is
folded into W, and the model costs what it did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from adgauge.errors import ConfigurationError


@dataclass(frozen=True)
class Lora:
    """How a system is adapted: the arguments of `add_lora`."""

    targets: tuple[str, ...]
    rank: int
    alpha: float


class LoraLinear(nn.Module):
    """A frozen linear layer and the trained product of rank `rank` that is added to it."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = nn.Linear(base.in_features, rank, bias=False).to(base.weight)  # A
        self.up = nn.Linear(rank, base.out_features, bias=False).to(base.weight)  # B
        self.scale = alpha / rank
        nn.init.normal_(self.down.weight, std=base.in_features**-0.5)
        nn.init.zeros_(self.up.weight)

    def forward(self, states: Tensor) -> Tensor:
        """[..., in] → [..., out]."""
        adapted: Tensor = self.base(states) + self.scale * self.up(self.down(states))
        return adapted

    @torch.no_grad()
    def merged(self) -> nn.Linear:
        """The base itself, its weight now W + (alpha / rank) · BA, rounded once."""
        product = self.up.weight.double() @ self.down.weight.double()
        self.base.weight.copy_(self.base.weight.double() + self.scale * product)
        return self.base


def add_lora(module: nn.Module, targets: Sequence[str], rank: int, alpha: float) -> int:
    """Adapt, in place, every `nn.Linear` whose path ends with one of the names; returns how many.

    The rest keeps `requires_grad` as it is: freeze what is frozen first. Raises ConfigurationError, with
    nothing adapted, where `rank` is less than 1 or a target names no linear layer.
    """
    if rank < 1:
        raise ConfigurationError(f"lora rank is {rank}; it must be at least 1")
    linear = {path: layer for path, layer in module.named_modules() if type(layer) is nn.Linear}
    for target in targets:
        if not any(_is_named(path, target) for path in linear):
            names = ", ".join(sorted({path.rpartition(".")[2] for path in linear}))
            raise ConfigurationError(f"lora target {target!r} names no linear layer; there are {names}")
    adapted = [path for path in linear if any(_is_named(path, target) for target in targets)]
    for path in adapted:
        module.set_submodule(path, LoraLinear(linear[path], rank, alpha))
    return len(adapted)


def _is_named(path: str, target: str) -> bool:
    return f".{path}".endswith(f".{target}")


def merge_lora(module: nn.Module) -> int:
    """Fold, in place, every adaptation into its linear layer, which stays frozen; returns how many.

    Names in the state dict are those from before `add_lora`; outputs are equal but for rounding.
    """
    adapted = {path: layer for path, layer in module.named_modules() if isinstance(layer, LoraLinear)}
    for path, layer in adapted.items():
        module.set_submodule(path, layer.merged())
    return len(adapted)
