"""What a model costs, and the Comprehensive Efficiency Score of it: section 2.2 of the LoViF 2026 report.

P is in millions of parameters, F in GFLOPs of one forward pass of one item.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from adgauge.errors import ConfigurationError
from adgauge.quality.metrics import plcc_plus

PARAMS_M = (0.1, 20_000.0)
"""From a hundred thousand parameters to twenty billions: what lies outside was given in another unit."""
FLOPS_G = (0.01, 100_000.0)
"""From ten million FLOPs to a hundred TFLOPs."""


class CesForm(StrEnum):
    """Which efficiency factor E: the one that was published, or the one that gives Table 1."""

    PRINTED = "printed"
    LEADERBOARD = "leaderboard"


@dataclass(frozen=True, slots=True)
class Budget:
    """The parameters of Eq. (2) and (3), the report's by default.

    Raises ConfigurationError for a target or a sensitivity outside [1e-6, 1e12], a weight outside [0, 1] and
    a cap below 0.
    """

    target_params_m: float = 1000.0  # P_tgt
    target_flops_g: float = 20.0  # F_tgt
    weight: float = 0.5  # w, of parameters; FLOPs have 1 − w
    alpha: float = 0.05  # sensitivity of the bonus
    beta: float = 2.0  # sensitivity of the penalty
    gamma: float = 0.10  # the largest bonus

    def __post_init__(self) -> None:
        for name in ("target_params_m", "target_flops_g", "alpha", "beta"):
            if not 1e-6 <= getattr(self, name) <= 1e12:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; it must lie in [1e-6, 1e12]")
        if not 0 <= self.weight <= 1:
            raise ConfigurationError(f"weight is {self.weight}; it must lie between 0 and 1")
        if not 0 <= self.gamma < math.inf:
            raise ConfigurationError(f"gamma is {self.gamma}; it must be a number from 0")

    def cost(self, params_m: float, flops_g: float) -> float:
        """C, Eq. (2): the weighted geometric mean of P and F in units of their targets."""
        storage = (params_m / self.target_params_m) ** self.weight
        return float(storage * (flops_g / self.target_flops_g) ** (1 - self.weight))

    def efficiency(self, cost: float, form: CesForm = CesForm.PRINTED) -> float:
        """E of a cost C > 0: never rises with C, and is 1 at C = 1.

        `printed` is Eq. (3). `leaderboard` takes ln C for C − 1: only so are the Factors of Table 1 what they
        are. No row of it has C > 1; what E is there was taken from a participant's public code.
        """
        if form is CesForm.PRINTED:
            if cost > 1:
                return max(0.0, 1 - self.beta * (cost - 1))
            return min(1 + self.gamma, 1 + self.alpha * (1 - cost))
        if cost > 1:
            return 1 / (1 + self.beta * math.log(cost))
        return min(1 + self.gamma, 1 - self.alpha * math.log(cost))

    def ces(self, plcc: float, cost: float, form: CesForm = CesForm.PRINTED) -> float:
        """CES, Eq. (4): PLCC⁺ · E."""
        return plcc_plus(plcc) * self.efficiency(cost, form)


REPORT_BUDGET = Budget()


def require_units(params_m: float, flops_g: float, where: str = "") -> None:
    """Raise ConfigurationError, `where` before it, for a P or F that can only be in another unit."""
    for name, value, (low, high), unit in (
        ("params", params_m, PARAMS_M, "millions of parameters"),
        ("flops", flops_g, FLOPS_G, "GFLOPs for one item"),
    ):
        if not low <= value <= high:
            raise ConfigurationError(
                f"{where}{name} is {value:.12g}; it must be in {unit}, {low:g} to {high:,.0f}"
            )
