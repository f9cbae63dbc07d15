"""`adgauge parity`: the model in torch beside what runs its graph, on golden records and on a catalog."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from prometheus_client import CollectorRegistry

from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.adapters.triton import Probe, Requests, TritonClient
from adgauge.adapters.triton.configuration import MAX_BATCH
from adgauge.adapters.triton.requests import Refused
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.cli.catalog_inputs import CatalogInputs, read_catalog_inputs
from adgauge.cli.parity_report import DATA, GOLDEN, TORCH, Report, Tried, as_json, as_text
from adgauge.cli.score import triton_for
from adgauge.cli.terminal import Progress
from adgauge.contract import GOLDEN_FILE, ModelContract, load_contract, require_files
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.export.comparison import Gate, Scores, compare, gate_for
from adgauge.export.parity import Run, graph_run, measure, row_tokens_for, torch_scores
from adgauge.export.source import open_source
from adgauge.pipeline.admission import require_golden_digests, require_served_contract
from adgauge.quality.metrics import FEWEST_PAIRS
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics

TRITON = "triton"
RECORDED_GATE = Gate(1e-4, None)
"""What golden.jsonl holds are torch's scores in float32, whatever the graph is in."""

Show = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class _Version:
    """A version's folder, found to be what its contract says, and its golden records."""

    folder: Path
    contract: ModelContract
    canonicalizer: Canonicalizer
    golden: list[CanonicalInput]
    recorded: Scores


@dataclass(frozen=True, slots=True)
class _Trial:
    """What every runtime is put through."""

    version: _Version
    tried: Sequence[Tried]
    gate: Gate
    row_tokens: int
    show: Show

    def of(self, runtime: str, run: Run, max_batch: int) -> None:
        """Measure it on every set of products."""
        for one in self.tried:
            one.parities[runtime] = measure(
                one.reference,
                run,
                one.products.inputs,
                self.version.contract,
                self.gate,
                max_batch=max_batch,
                row_tokens=self.row_tokens,
                show=_naming(self.show, one.name, runtime),
            )


def check_parity(
    source: str,
    model_dir: Path,
    *,
    data: str | None,
    image_root: Path | None,
    with_triton: bool,
    row_tokens: int | None,
    json_wanted: bool,
) -> int:
    """Print how runtimes compare with torch; 1 when a gate fails.

    Raises ConfigurationError and ContractMismatch where there is nothing to compare.
    """
    progress = Progress(sys.stderr, time.monotonic)
    try:
        report = _report(
            source,
            model_dir,
            data=data,
            image_root=image_root,
            with_triton=with_triton,
            row_tokens=row_tokens,
            show=progress.show,
        )
    finally:
        progress.clear()
    print(json.dumps(as_json(report), ensure_ascii=False) if json_wanted else as_text(report))
    return 1 if report.failures else 0


def _report(
    source: str,
    model_dir: Path,
    *,
    data: str | None,
    image_root: Path | None,
    with_triton: bool,
    row_tokens: int | None,
    show: Show,
) -> Report:
    settings = load_settings(ServerSettings)
    version = _version(model_dir)
    sets = {GOLDEN: CatalogInputs(inputs=version.golden)}
    if data is not None:
        sets[DATA] = _of_catalog(data, version, settings, image_root, show)
    tried, trained = _in_torch(source, version, sets, show)
    reference = tried[0].reference
    gate = gate_for(version.contract.precision, reference, trained=trained)
    trial = _Trial(version, tried, gate, row_tokens or row_tokens_for(version.contract), show)
    trial.of(version.contract.cpu_runtime, graph_run(version.folder, version.contract), MAX_BATCH)
    if with_triton:
        show("waiting for Triton")
        with _triton_run(version, settings) as (run, max_batch):
            trial.of(TRITON, run, max_batch)
    recorded = compare(reference, version.recorded)
    return Report(
        source=source,
        contract=version.contract,
        spread=float(np.ptp(reference)),
        gate=gate,
        row_tokens=trial.row_tokens,
        file=data,
        recorded=recorded,
        recorded_failures=RECORDED_GATE.failures(recorded),
        tried=tried,
    )


def _version(model_dir: Path) -> _Version:
    contract = load_contract(model_dir)
    require_files(model_dir, contract)
    canonicalizer = Canonicalizer(contract, model_dir)
    records = load_golden(model_dir / GOLDEN_FILE)
    golden = canonicalize_golden(canonicalizer, records)
    require_golden_digests(records, golden)
    recorded = np.array([record.score for record in records], dtype=np.float32)
    return _Version(model_dir, contract, canonicalizer, golden, recorded)


def _of_catalog(
    path: str, version: _Version, settings: ServerSettings, image_root: Path | None, show: Show
) -> CatalogInputs:
    read = read_catalog_inputs(path, version.canonicalizer, settings, image_root=image_root, show=show)
    if len(read.inputs) < FEWEST_PAIRS:
        raise ConfigurationError(
            f"{path} has {len(read.inputs)} products that can be scored; at least {FEWEST_PAIRS} are compared"
        )
    return read


def _in_torch(
    source: str, version: _Version, sets: Mapping[str, CatalogInputs], show: Show
) -> tuple[list[Tried], bool]:
    """Each set with the model's scores, and whether that was trained; the model is let go of."""
    show(f"building {source}")
    contract = version.contract
    opened = open_source(source, version.folder / contract.spec.text.tokenizer)
    if (opened.contract.spec, opened.contract.inputs) != (contract.spec, contract.inputs):
        raise ContractMismatch(
            f"{source} is given other inputs than {version.folder} says: name what was exported to it"
        )
    tried = [
        Tried(
            name,
            products,
            torch_scores(opened.model, contract, products.inputs, _naming(show, name, TORCH)),
            parities={},
        )
        for name, products in sets.items()
    ]
    return tried, opened.is_trained


@contextmanager
def _triton_run(version: _Version, settings: ServerSettings) -> Iterator[tuple[Run, int]]:
    """What scores a batch in one request to Triton, and how many rows that may have."""
    contract = version.contract
    with ExitStack() as stack:
        connection, check = stack.enter_context(triton_for(version.folder, settings))
        client = stack.enter_context(closing(TritonClient(connection, contract)))
        served = client.served()
        require_served_contract(contract, served.digest)
        probe = Probe(version.golden[0], float(version.recorded[0]))
        requests = Requests(client, contract, probe, Metrics(CollectorRegistry()), served.max_batch)

        def run(rows: Sequence[CanonicalInput]) -> Scores:
            check()
            try:
                return np.array(requests.send(rows), dtype=np.float32)
            except Refused as exc:
                raise ContractMismatch(f"Triton refuses a batch of {len(rows)} rows: {exc}") from exc

        yield run, served.max_batch


def _naming(show: Show, *what: str) -> Show:
    return lambda text: show(", ".join((*what, text)))
