"""What `adgauge parity` prints: a table of runtimes and groups of batches, or the same as JSON."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from adgauge.cli.terminal import printable
from adgauge.quality.metrics import FEWEST_PAIRS, MetricWarning, plcc

if TYPE_CHECKING:
    from adgauge.cli.catalog_inputs import CatalogInputs
    from adgauge.contract import ModelContract
    from adgauge.export.comparison import Comparison, Gate, Scores
    from adgauge.export.parity import Measured, Parity

TORCH = "torch"
GOLDEN = "golden"
DATA = "data"
NOT_RUN = "not run"
RECORDED = "golden.jsonl"


@dataclass(frozen=True, slots=True)
class Tried:
    """Products called GOLDEN or DATA, torch's scores [n] of them, and what was measured of each runtime."""

    name: str
    products: CatalogInputs
    reference: Scores
    parities: dict[str, Parity]

    def label_correlations(self) -> dict[str, float]:
        """PLCC of every runtime, torch first, to the labels; none without at least three."""
        labelled = {at: label for at, label in enumerate(self.products.labels) if label is not None}
        if len(labelled) < FEWEST_PAIRS:
            return {}
        at, labels = list(labelled), list(labelled.values())
        scores = {TORCH: self.reference} | {name: each.scores for name, each in self.parities.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MetricWarning)  # NaN says it
            return {name: plcc(each[at], labels) for name, each in scores.items()}


@dataclass(frozen=True, slots=True)
class Report:
    """All that was measured of one version. `recorded`: the scores of golden.jsonl beside torch's."""

    source: str
    contract: ModelContract
    spread: float
    gate: Gate
    row_tokens: int
    file: str | None  # of the products that are called DATA
    recorded: Comparison
    recorded_failures: Sequence[str]
    tried: Sequence[Tried]

    @property
    def failures(self) -> list[str]:
        """What failed, with where and figures."""
        found = [f"{RECORDED}: {failure}" for failure in self.recorded_failures]
        return found + [
            f"{one.name}, {runtime}, {failure}"
            for one in self.tried
            for runtime, parity in one.parities.items()
            for failure in parity.failures
        ]


def as_json(report: Report) -> dict[str, Any]:
    """For programs; what is no number is null."""
    contract = report.contract
    return {
        "model": contract.name,
        "version": contract.version,
        "precision": contract.precision,
        "digest": contract.digest(),
        "source": report.source,
        "golden_spread": report.spread,
        "gate": asdict(report.gate),
        "row_tokens": report.row_tokens,
        "file": report.file,
        "recorded": {**_figures(report.recorded), "failures": list(report.recorded_failures)},
        "sets": {one.name: _set_as_json(one) for one in report.tried},
        "passed": not report.failures,
    }


def _set_as_json(one: Tried) -> dict[str, Any]:
    return {
        "n": len(one.reference),
        "left_out": dict(one.products.left_out),
        "without_image": dict(one.products.without_image),
        "labelled": one.products.labelled,
        "plcc_to_labels": {name: _known(each) for name, each in one.label_correlations().items()},
        "runtimes": {
            name: [_group_as_json(group) for group in parity.groups] for name, parity in one.parities.items()
        },
    }


def _group_as_json(group: Measured) -> dict[str, Any]:
    return {
        "group": group.group,
        "rows": group.rows,
        "runs": group.runs,
        "runs_left_out": [{"rows": len(each.rows), "tokens": each.tokens} for each in group.left_out],
        **_figures(group.compared),
        "failures": list(group.failures),
    }


def _figures(compared: Comparison | None) -> dict[str, Any]:
    """None of them where nothing was run."""
    return {} if compared is None else {name: _known(value) for name, value in asdict(compared).items()}


def _known(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def as_text(report: Report) -> str:
    """For people."""
    rows = list(_rows(report))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_heading(report)]
    for cells in rows:
        words = [cell.ljust(width) for cell, width in zip(cells[:3], widths[:3], strict=True)]
        figures = [cell.rjust(width) for cell, width in zip(cells[3:-1], widths[3:-1], strict=True)]
        lines.append("  ".join([*words, *figures, cells[-1]]))
    return "\n".join([*lines, *_notes(report)])


def _heading(report: Report) -> str:
    contract, gate = report.contract, report.gate
    correlation = f", PLCC at least {gate.least_plcc}" if gate.least_plcc is not None else ""
    return (
        f"{contract.name} {contract.version} in {contract.precision} against {printable(report.source)} in"
        f" torch: golden scores span {report.spread:.4f}; max |Δ| at most {gate.max_delta:.2e}{correlation}"
    )


_FIGURES = ("max |Δ|", "mean |Δ|", "PLCC", "discordant", "moved")


def _rows(report: Report) -> Iterator[Sequence[str]]:
    yield ("products", "runtime", "group", "rows", *_FIGURES, "")
    recorded, failures = report.recorded, report.recorded_failures
    yield (GOLDEN, RECORDED, "as recorded", str(recorded.n), *_cells(recorded), _verdict(failures))
    for one in report.tried:
        for runtime, parity in one.parities.items():
            for group in parity.groups:
                verdict = _verdict(group.failures) if group.runs else NOT_RUN
                rows = _row_count(group, len(one.reference))
                yield (one.name, runtime, group.group, rows, *_cells(group.compared), verdict)


def _row_count(group: Measured, n: int) -> str:
    return str(n) if group.rows == n else f"{group.rows} of {n}"


def _cells(compared: Comparison | None) -> Sequence[str]:
    if compared is None:
        return ("–",) * len(_FIGURES)
    discordant, moved = compared.discordant, compared.rank_change
    return (
        f"{compared.max_delta:.2e}",
        f"{compared.mean_delta:.2e}",
        f"{compared.plcc:.6f}",
        "nan" if discordant is None else str(discordant),
        "nan" if moved is None else f"{moved:g}",
    )


def _verdict(failures: Sequence[str]) -> str:
    return "FAIL" if failures else "ok"


def _notes(report: Report) -> Iterator[str]:
    """What the table does not say: what was left out, labels, failures."""
    for one in report.tried:
        if one.name == DATA:
            yield f"{DATA}: {printable(str(report.file))}{one.products.losses()}"
        for runtime, parity in one.parities.items():
            yield from (
                f"{one.name}, {runtime}, {group.group}: {_left_out(group, report.row_tokens)}"
                for group in parity.groups
                if group.left_out
            )
        if correlations := one.label_correlations():
            listed = ", ".join(f"{name} {each:.6f}" for name, each in correlations.items())
            yield f"{one.name}: PLCC to {one.products.labelled} labels: {listed}"
    yield from (f"FAIL {failure}" for failure in report.failures)
    yield _conclusion(report)


def _conclusion(report: Report) -> str:
    if report.failures:
        return "no parity"
    not_run = sum(
        not group.runs for one in report.tried for parity in one.parities.values() for group in parity.groups
    )
    return f"parity, in all but {not_run} groups, which were not run" if not_run else "parity"


def _left_out(group: Measured, row_tokens: int) -> str:
    """Which runs had no room."""
    shapes = sorted({(each.tokens, len(each.rows)) for each in group.left_out})
    listed = ", ".join(f"{rows} × {tokens}" for tokens, rows in shapes)
    return (
        f"{len(group.left_out)} of {len(group.left_out) + group.runs} runs left out, of {listed} tokens:"
        f" --row-tokens is {row_tokens}"
    )
