"""`adgauge profile`: P and F of the report's systems and of exported graphs, in one convention."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adgauge.cli.arguments import add_json, command_of, count

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

ALL = "all"
LARGEST_SIDE = 8192  # pixels


def add_profile(commands: Commands) -> None:
    """`adgauge profile MODEL|all|FILE.onnx|MODEL_FOLDER`."""
    command = command_of(
        commands,
        "profile",
        "count parameters and FLOPs (2·MAC, attention included) of one product's forward pass",
        "adgauge profile all",
        "adgauge profile effimini_vlm --tokens 128 --parts --runtime",
        "adgauge profile model_repository/effimini_lite0/1 --json",
    )
    command.add_argument(
        "model", metavar="MODEL", help=f"a system's name, {ALL}, an .onnx file, or an exported model's folder"
    )
    command.add_argument("--tokens", type=count, metavar="N", help="of text (default: the model's limit)")
    command.add_argument("--size", type=_size, metavar="HxW", help="of the picture (default: the model's)")
    command.add_argument("--parts", action="store_true", help="also by part: encoders, fusion, head")
    command.add_argument(
        "--runtime", action="store_true", help="also seconds per product here, in torch with random weights"
    )
    add_json(command)
    command.set_defaults(run=_profile)


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: height x width, such as 224x224")
    size = int(found[1][:9]), int(found[2][:9])
    if max(size) > LARGEST_SIDE:
        raise argparse.ArgumentTypeError(f"{text} is too large: {LARGEST_SIDE} at most")
    return size


def _profile(arguments: argparse.Namespace) -> int:
    document = _document(arguments)
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False))
        return 0
    rows = list(_rows(document["systems"], parts=arguments.parts, runtime=arguments.runtime))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        shown = [cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True)]
        print("  ".join([name.ljust(widths[0]), *shown]))
    for line in _notes(document):
        print(line)
    return 0


def _document(arguments: argparse.Namespace) -> dict[str, Any]:
    from adgauge.cli import costs

    path, tokens, size = Path(arguments.model), arguments.tokens, arguments.size
    if path.is_dir() or path.suffix == ".onnx":
        costs.refuse_runtime(arguments.runtime)
        return (costs.of_folder if path.is_dir() else costs.of_file)(path, tokens, size)
    name = None if arguments.model == ALL else arguments.model
    return costs.of_systems(name, tokens, size, runtime=arguments.runtime)


_HEAD = ("system", "tokens", "images", "size", "P (M)", "trained (M)", "GFLOPs", "GMACs")
_LAST = "GFLOPs without attention"


def _rows(systems: dict[str, Any], *, parts: bool, runtime: bool) -> Iterator[Sequence[str]]:
    """Cells of the table, its head first; what a graph does not tell is a dash."""
    yield (*_HEAD, _LAST, *(("s/item", "from", "to", "runs") if runtime else ()))
    for name, one in systems.items():
        size = "x".join(map(str, one["size"])) if one["size"] else "–"
        costs = (one["params"], one["trainable"], one["flops"], one["macs"], one["flops_without_attention"])
        cells = [name, str(one["tokens"] or "–"), str(one["images"] or "–"), size, *_costs(*costs)]
        yield cells + (_seconds(one["runtime"]) if runtime else [])
        for part, of_part in one["parts"].items() if parts else ():
            costs = (of_part["params"], of_part["trainable"], of_part["flops"], of_part["flops"] // 2, None)
            yield [f"  {part}", "", "", "", *_costs(*costs), *[""] * (4 if runtime else 0)]


def _costs(
    params: int, trainable: int | None, flops: int, macs: int, without_attention: int | None
) -> list[str]:
    millions = [_scaled(each, 1e6) for each in (params, trainable)]
    return millions + [_scaled(each, 1e9) for each in (flops, macs, without_attention)]


def _scaled(number: int | None, unit: float) -> str:
    return "–" if number is None else f"{number / unit:.3f}"


def _seconds(runtime: dict[str, Any]) -> list[str]:
    seconds = (runtime[key] for key in ("median_s", "fastest_s", "slowest_s"))
    return [*(f"{each:.3f}" for each in seconds), str(runtime["runs"])]


def _notes(document: dict[str, Any]) -> Iterator[str]:
    yield document["convention"]
    for name, one in document["systems"].items():
        if one.get("equals_contract") is not None:
            yield f"{name}: {_compared(one['contract_cost'], equal=one['equals_contract'])}"
    if "hardware" in document:
        machine = document["hardware"]
        yield (
            f"s/item: median at batch 1, eager torch {machine['torch']}, random weights,"
            f" {machine['threads']} threads on {machine['device']} ({machine['cores']} cores)"
        )


def _compared(cost: dict[str, Any], *, equal: bool) -> str:
    if equal:
        return "P and F are those of its contract"
    return f"its contract says otherwise: {cost['params']} parameters, {cost['flops']} FLOPs"
