"""Writes what was measured to `docs/figures/NAME.json`, with the commit and the command that gave it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "docs" / "figures"


def write_figures(name: str, command: str, figures: Mapping[str, Any]) -> Path:
    """Write `figures` (numbers and strings, nested by name) so that documents can quote them."""
    document = {
        "command": command,
        "commit": commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cpu": cpu_model(), "cores": os.cpu_count(), "python": platform.python_version()},
        "figures": figures,
    }
    FIGURES.mkdir(parents=True, exist_ok=True)
    path = FIGURES / f"{name}.json"
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return path


def commit() -> str:
    """The short hash, marked when the tree held changes: such a figure cannot be reproduced exactly."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return (
        f"{commit}+changes"
        if _git("status", "--porcelain", "--", "src", "services", "benchmarks")
        else commit
    )


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607 - git is found on PATH
    return done.stdout.strip()


def cpu_model() -> str:
    """As the kernel names it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
