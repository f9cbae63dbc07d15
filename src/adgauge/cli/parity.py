"""The arguments of `adgauge parity`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, count
from adgauge.cli.extras import needing

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands

_WHAT = """\
Compare what runs an exported graph with the model in torch: one product at a time, in batches of
every size, on every longer padding, and among other batch-mates.

A graph in fp32 passes with max |Δ| at most 1e-4 and a thousandth of the spread of the golden
scores; in fp16, bf16 and int8 with max |Δ| at most 0.03 and PLCC at least 0.999. The exit code
is 1 where any group of batches fails."""


def add_parity(commands: Commands) -> None:
    """`adgauge parity SOURCE --model-dir DIR`."""
    command = command_of(
        commands,
        "parity",
        "compare an exported graph, and Triton, with the model in torch",
        "adgauge parity checkpoints/ours --model-dir model_repository/ours/1",
        "adgauge parity effimini_vlm --model-dir model_repository/effimini_vlm/1 --triton --json",
        "adgauge parity checkpoints/ours --model-dir model_repository/ours/1 --data labelled.jsonl",
    )
    command.description = _WHAT
    command.add_argument(
        "source", metavar="SOURCE", help="what was exported: a checkpoint's folder, or a system's name"
    )
    command.add_argument(
        "--model-dir", type=Path, required=True, metavar="DIR", help="folder of the version that it became"
    )
    command.add_argument(
        "--data",
        metavar="FILE",
        help="also the products of a catalog, as `adgauge score` takes it; with average_rating in it, also"
        " PLCC to that",
    )
    command.add_argument(
        "--image-root", type=Path, help="folder of FILE's relative image paths (default: its own)"
    )
    command.add_argument(
        "--triton", action="store_true", help="also Triton: ADGAUGE_TRITON_URL, else one started here"
    )
    command.add_argument(
        "--row-tokens",
        type=count,
        metavar="N",
        help="rows × tokens that a group of batches may take; batches of 1 are always run of every row"
        " (default: what `adgauge export` tries, 16384 and less of large models)",
    )
    add_json(command)
    command.set_defaults(run=_parity)


def _parity(arguments: argparse.Namespace) -> int:
    with needing("train,export"):
        from adgauge.cli.parity_check import check_parity
    return check_parity(
        arguments.source,
        arguments.model_dir,
        data=arguments.data,
        image_root=arguments.image_root,
        with_triton=arguments.triton,
        row_tokens=arguments.row_tokens,
        json_wanted=arguments.json,
    )
