"""Whether every system exports and serves at its real size; writes docs/figures/exports.json.

    python -m benchmarks.exports CATALOG [SYSTEM …]

One after the other is exported with random weights into a folder of its own, which its graph must earn by
parity with torch, is loaded by a tritonserver on this machine's CPU, and scores the first products of CATALOG
through `adgauge score`. Needs 8 GB of memory and 1 GB of disk for the largest. With SYSTEMs only these are
tried, and the others' figures stay: each says which commit it was measured on.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from adgauge.adapters.settings import load_settings
from adgauge.models.registry import SYSTEMS
from benchmarks.record import FIGURES, commit, write_figures
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace

PRODUCTS = 16
PRODUCTS_OF_LONG_TEXTS = 4
LONG_TEXT = 1024
"""Tokens: a model that reads more takes a second and more a product on a CPU."""
READY_S = 900.0
DEADLINE_S = 600.0


def main(catalog: Path, *names: str) -> None:
    """Try each, and write after each."""
    figures = _written() if names else {}
    for name in names or SYSTEMS:
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = {**tried(name, catalog, Path(folder)), "commit": commit()}
        print(f"{name}: {json.dumps(figures[name])}", flush=True)
        write_figures("exports", "make proof", {"systems": figures, "count": len(figures)})


def _written() -> dict[str, Any]:
    path = FIGURES / "exports.json"
    return dict(json.loads(path.read_text())["figures"]["systems"]) if path.exists() else {}


def tried(name: str, catalog: Path, repository: Path) -> Mapping[str, Any]:
    """Export, load and score with one system; raises CalledProcessError or SystemExit where any fails."""
    began = time.monotonic()
    exported = _adgauge("export", name, "--out", str(repository))
    export_s = time.monotonic() - began
    with Workspace() as workspace:
        began = time.monotonic()
        settings = load_settings(EmbeddedSettings)
        triton = start_triton(workspace, venv=settings.triton_venv, repository=repository, models=[name])
        triton.wait_until_ready(timeout_s=READY_S)
        load_s = time.monotonic() - began
        scored = _scored(name, catalog, repository, triton.url)
    return {
        "export_s": round(export_s, 1),
        "megabytes": round(exported["bytes"] / 1e6, 1),
        "max_delta": exported["max_delta"],
        "spread": round(exported["spread"], 3),
        "load_s": round(load_s, 1),
        **scored,
    }


def _scored(name: str, catalog: Path, repository: Path, url: str) -> Mapping[str, Any]:
    """`adgauge score --model NAME` of the first products."""
    contract = json.loads((repository / name / "1" / "contract.json").read_text())
    limit = contract["spec"]["text"]["token_limit"]
    first = repository / "first.jsonl"
    with catalog.open() as lines:
        wanted = list(islice(lines, PRODUCTS_OF_LONG_TEXTS if limit > LONG_TEXT else PRODUCTS))
    first.write_text("".join(wanted))
    places = {"ADGAUGE_TRITON_URL": url, "ADGAUGE_MODEL_REPOSITORY": str(repository)}
    patience = {"ADGAUGE_TRITON_DEADLINE_S": str(DEADLINE_S)}
    output = ["-o", str(repository / "scores.jsonl"), "--image-root", str(catalog.parent)]
    summary = _adgauge("score", str(first), "--model", name, *output, **places, **patience)
    if summary["scored"] != len(wanted):
        raise SystemExit(f"{name}: {summary['scored']} of {len(wanted)} products are scored: {summary}")
    return {"scored": len(wanted), "rejected": 0, "score_s": round(summary["seconds"], 1)}


def _adgauge(*arguments: str, **variables: str) -> Any:
    """What a command says as JSON."""
    command = [sys.executable, "-m", "adgauge.cli", *arguments, "--json"]
    done = subprocess.run(command, env=os.environ | variables, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
