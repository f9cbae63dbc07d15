"""Table 1 recomputed and recounted; writes docs/figures/leaderboard.json and docs/leaderboard.png.

    python -m benchmarks.leaderboard

Nothing is timed: the figures are the same on every machine. What is recounted is the package's recount.json;
parts and the least that a SmolVLM can cost are counted here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adgauge.cli import main as adgauge
from adgauge.models.profile import profile_system
from adgauge.quality.ces import REPORT_BUDGET, CesForm
from adgauge.quality.leaderboard import matching, recomputed_rows, recount, recounted_rows
from benchmarks.record import ROOT, write_figures

PICTURE = ROOT / "docs" / "leaderboard.png"


def main() -> None:
    """Compute, draw and write."""
    rows = recomputed_rows()
    figures = {
        "rows": len(rows),
        "matching": matching(rows),
        "efficiency_printed": {row.published.team: row.efficiency[CesForm.PRINTED].computed for row in rows},
        "systems": {name: _costs(counted) for name, counted in recount().items()},
        "recounted": {
            row.published.team: {f"ces_{form}": row.standing.ces[form] for form in CesForm}
            for row in recounted_rows(recount())
        },
        "smolvlm": _smolvlm(),
        "clip": _clip(),
    }
    print(json.dumps(figures, indent=2))
    adgauge(["leaderboard", "--recount", "--plot", str(PICTURE), "--csv"])
    write_figures("leaderboard", "python -m benchmarks.leaderboard", figures)


def _costs(counted: Mapping[str, Any]) -> dict[str, float]:
    cost = REPORT_BUDGET.cost(counted["params"] / 1e6, counted["flops"] / 1e9)
    return {
        "params_m": counted["params"] / 1e6,
        "trainable_m": counted["trainable"] / 1e6,
        "flops_g": counted["flops"] / 1e9,
        "macs_g": counted["macs"] / 1e9,
        "flops_without_attention_g": counted["flops_without_attention"] / 1e9,
        "macs_without_attention_g": counted["flops_without_attention"] / 2e9,
        "tokens": counted["tokens"],
        "cost": cost,
        **{f"efficiency_{form}": REPORT_BUDGET.efficiency(cost, form) for form in CesForm},
    }


def _smolvlm() -> dict[str, float]:
    """The vision tower alone, and the whole model with a single token of text."""
    least = profile_system("smolvlm_wleach", tokens=1)
    return {
        "image_encoder_macs_g": least.parts["image_encoder"].macs.total / 1e9,
        "least_flops_g": 2 * least.macs.total / 1e9,
        "least_cost": REPORT_BUDGET.cost(least.params / 1e6, 2 * least.macs.total / 1e9),
    }


def _clip() -> dict[str, float]:
    """The two towers of LoViFModel, before anything fuses them."""
    towers = profile_system("lovif_clip").encoders
    return {"towers_params_m": sum(towers.values()) / 1e6}


if __name__ == "__main__":
    main()
