"""What was measured, as a table for people and as JSON that documents can quote."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from adgauge.contract import Precision
from benchmarks.gpu.agreement import Agreement
from benchmarks.gpu.load import Point
from benchmarks.record import commit

Place = tuple[int, int, int]  # tokens, requests in flight, rows of a request


@dataclass
class Result:
    """Of one subject. `curve` is empty where `not_reported` says why."""

    name: str
    precision: Precision
    runtime: str
    triton: str | None = None  # its version
    agreement: Agreement | None = None
    memory_mib: int | None = None
    curve: dict[Place, Point] = field(default_factory=dict)
    not_reported: str | None = None


def table(results: Sequence[Result]) -> str:
    """One model's results: a line for each place on the curves, four columns for each precision."""
    places = sorted({place for result in results for place in result.curve})
    heading = ["tokens", "in flight", "rows"]
    for result in results:
        heading += [f"{result.precision} products/s", "p50 ms", "p99 ms", "model ms"]
    rows = [[*map(str, place), *(cell for r in results for cell in _cells(r, place))] for place in places]
    lines = [results[0].name, *_aligned([heading, *rows])] if rows else [results[0].name]
    return "\n".join([*lines, *map(_summary, results)])


def _cells(result: Result, place: Place) -> list[str]:
    point = result.curve.get(place)
    if point is None:
        return ["-"] * 4
    milliseconds = (point.p50_ms, point.p99_ms, point.model_ms)
    return [f"{point.products_per_s:.1f}", *(f"{each:.2f}" for each in milliseconds)]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def _summary(result: Result) -> str:
    runtime = f"{result.precision} ({result.runtime}):"
    if result.not_reported or not result.agreement:
        return f"{runtime} NOT REPORTED: {result.not_reported}"
    found = result.agreement
    agreed = f"max |Δ| {found.max_delta:.1e}, PLCC {found.plcc:.6f} to torch fp32 in {found.answers} answers"
    memory = f", {result.memory_mib} MiB of the GPU" if result.memory_mib is not None else ""
    return f"{runtime} {agreed}{memory}"


def write(path: Path, command: str, machine: Mapping[str, Any], results: Sequence[Result]) -> None:
    """Write all results so far; `tools/figures.py` reads it when it lies in docs/figures."""
    figures: dict[str, dict[str, Any]] = {}
    for result in results:
        figures.setdefault(result.name, {})[result.precision] = _figures(result)
    document = {
        "command": command,
        "commit": _commit(),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": dict(machine),
        "figures": figures,
    }
    partial = path.with_name(f".{path.name}.partial")  # a run may be ended at any moment
    partial.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    partial.replace(path)


def _figures(result: Result) -> dict[str, Any]:
    """Names without dots, as quotations need them."""
    curve: dict[str, Any] = {}
    for (tokens, in_flight, rows), point in result.curve.items():
        of_tokens = curve.setdefault(f"tokens_{tokens}", {})
        of_tokens.setdefault(f"in_flight_{in_flight}", {})[f"rows_{rows}"] = _rounded(asdict(point))
    return {
        "runtime": result.runtime,
        "triton": result.triton,
        "agreement": asdict(result.agreement) if result.agreement else None,
        "memory_mib": result.memory_mib,
        "curve": curve,
        "not_reported": result.not_reported,
    }


def _rounded(point: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in point.items()}


def _commit() -> str:
    """A copy of the tree on another machine has no history."""
    try:
        return commit()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
