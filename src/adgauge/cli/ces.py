"""`adgauge ces`: what PLCC, P and F make of a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from adgauge.contract import ModelContract, load_contract
from adgauge.quality.ces import Budget, CesForm, require_units
from adgauge.quality.metrics import plcc_plus


def print_ces(
    plcc: float,
    *,
    params_m: float | None,
    flops_g: float | None,
    model: Path | None,
    forms: Sequence[CesForm],
    budget: Budget,
    as_json: bool,
) -> int:
    """Of P in millions and F in GFLOPs, or of those in the contract of the folder `model`."""
    contract = load_contract(model) if model is not None else None
    if contract is not None:
        params_m, flops_g = contract.cost.params / 1e6, contract.cost.flops / 1e9
    elif params_m is not None and flops_g is not None:
        require_units(params_m, flops_g)
    else:
        raise ValueError("P and F are needed, or a model")
    cost = budget.cost(params_m, flops_g)
    document = {
        "plcc": plcc,
        "plcc_plus": plcc_plus(plcc),
        "params_m": params_m,
        "flops_g": flops_g,
        "cost": cost,
        "over_budget": cost > 1,
        "efficiency": {form: budget.efficiency(cost, form) for form in forms},
        "ces": {form: budget.ces(plcc, cost, form) for form in forms},
        "budget": asdict(budget),
        "model": None if contract is None else model_as_json(contract),
    }
    print(json.dumps(document, ensure_ascii=False) if as_json else _as_text(document, contract))
    return 0


def model_as_json(contract: ModelContract) -> dict[str, Any]:
    """Which model it is, and what of the Canonical Inference Protocol it breaks."""
    return {
        "name": contract.name,
        "version": contract.version,
        "digest": contract.digest(),
        "protocol_breaches": list(contract.protocol.breaches()),
    }


def protocol_in_words(contract: ModelContract) -> str:
    """One line that says whether a model keeps the Canonical Inference Protocol of the report (2.2)."""
    model = f"{contract.name} version {contract.version}"
    if breaches := contract.protocol.breaches():
        return f"! {model} breaks the Canonical Inference Protocol: {', '.join(breaches)}"
    return f"{model} keeps the Canonical Inference Protocol"


def _as_text(document: dict[str, Any], contract: ModelContract | None) -> str:
    budget = document["budget"]
    params, flops = f"{document['params_m']:.6g}", f"{document['flops_g']:.6g}"
    powers = f"^{budget['weight']:g}", f"^{1 - budget['weight']:g}"
    lines = [
        f"PLCC⁺  {document['plcc_plus']:.4f}",
        f"C      {document['cost']:.4f}  = ({params} M / {budget['target_params_m']:g} M){powers[0]}"
        f" · ({flops} G / {budget['target_flops_g']:g} G){powers[1]},"
        f" {'over' if document['over_budget'] else 'within'} the budget",
    ]
    for form, ces in document["ces"].items():
        lines.append(f"CES    {ces:.4f}  = PLCC⁺ · E, E {document['efficiency'][form]:.4f} ({WHAT[form]})")
    return "\n".join([*lines, *([protocol_in_words(contract)] if contract is not None else [])])


WHAT = {
    CesForm.PRINTED: "printed: Eq. (3)",
    CesForm.LEADERBOARD: "leaderboard: as in Table 1, ln C in the place of C − 1",
}
