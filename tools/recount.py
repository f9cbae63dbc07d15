"""Writes what `adgauge leaderboard --recount` reads: P and F as `adgauge profile all` counts them."""

from __future__ import annotations

import json
from pathlib import Path

from adgauge.cli.costs import of_systems

RECOUNT = Path(__file__).resolve().parents[1] / "src" / "adgauge" / "quality" / "recount.json"
KEPT = ("params", "trainable", "flops", "macs", "flops_without_attention", "tokens")


def document() -> str:
    """The text of recount.json, a system a line."""
    counted = of_systems(None, None, None, runtime=False)
    systems = {name: {key: costs[key] for key in KEPT} for name, costs in counted["systems"].items()}
    rows = ",\n".join(f"    {json.dumps(name)}: {json.dumps(costs)}" for name, costs in systems.items())
    convention = json.dumps(counted["convention"], ensure_ascii=False)
    return f'{{\n  "convention": {convention},\n  "systems": {{\n{rows}\n  }}\n}}\n'


if __name__ == "__main__":
    RECOUNT.write_text(document(), encoding="utf-8")
