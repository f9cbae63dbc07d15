"""Trains a head on frozen encoders, as a recipe says.

python -m adgauge.training.finetune RECIPE --photos FOLDER --out FOLDER
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from adgauge.contract import ModelContract, Provenance
from adgauge.errors import AdgaugeError, ConfigurationError
from adgauge.models.cost import count_cost
from adgauge.models.packaged import LITE0, MINILM, MINILM_TOKENIZER, load_packaged
from adgauge.models.profile import check_limits
from adgauge.models.registry import Model, build
from adgauge.training.checkpoint import Checkpoint, Metrics, save_checkpoint
from adgauge.training.data import Groups, photo_files, picture_groups, text_groups
from adgauge.training.head import Standardizer, Variants, fold, train_head
from adgauge.training.recipe import Recipe, load_recipe

THREADS = 2
"""Of torch, whatever the machine has: sums in another order would be other weights."""


def main(arguments: Sequence[str]) -> int:
    """Train and write a checkpoint; 1 when something is missing, with one line that says what."""
    parser = argparse.ArgumentParser(prog="finetune", description="Train a head on frozen encoders.")
    parser.add_argument("recipe", type=Path)
    parser.add_argument(
        "--photos", type=Path, required=True, help="folder of photographs, searched recursively"
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument(
        "--cache", type=Path, default=Path(".cache/features"), help="folder of encoder features"
    )
    options = parser.parse_args(arguments)
    try:
        checkpoint = run(options.recipe, options.photos, options.cache)
        save_checkpoint(options.out, checkpoint)
    except (AdgaugeError, OSError) as error:
        sys.stderr.write(f"finetune: {error}\n")
        return 1
    return 0


def run(recipe_file: Path, photo_folder: Path, cache: Path) -> Checkpoint:
    """Features, training and measurement; raises ConfigurationError when something is missing."""
    recipe = load_recipe(recipe_file)
    if not (photos := photo_files(photo_folder)):
        raise ConfigurationError(f"there are no photographs in {photo_folder}: run `make weights`")
    torch.set_num_threads(THREADS)
    torch.manual_seed(recipe.seed)
    model = build(recipe.model).eval()
    check_limits(recipe.model, model, recipe.canonical)
    load_packaged(model)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(MINILM_TOKENIZER.find(), Path(folder) / recipe.canonical.text.tokenizer)
        texts = text_groups(model, recipe, Path(folder), cache)
    pictures = picture_groups(model, recipe, photos, cache, os.cpu_count() or 1)
    metrics = finetune(recipe, model, pictures, texts)
    made_of = f"{len(photos)} photographs of tools/photos.toml, texts by grammar, damages of our own"
    contract = contract_of(recipe, recipe_file.name, model, made_of)
    state = {name: tensor.half() for name, tensor in model.state_dict().items() if name.startswith("head.")}
    return Checkpoint(state, contract, recipe_file.read_text(), metrics)


def finetune(recipe: Recipe, model: Model, pictures: Groups, texts: Groups) -> Metrics:
    """Train `model.head` in place on what is not held out; returns how well it ranks what is."""
    torch.manual_seed(recipe.seed)
    held = [groups.source % recipe.data.held_out_every == 0 for groups in (pictures, texts)]
    seen = pictures.where(~held[0]), texts.where(~held[1])
    standardize = Standardizer.of(seen[0]), Standardizer.of(seen[1])
    looks, reads = Variants.of(seen[0], standardize[0]), Variants.of(seen[1], standardize[1])
    no_image = standardize[0](torch.zeros(pictures.features.shape[-1]))
    losses = train_head(model.head, looks, reads, no_image, recipe.targets, recipe.optimization)
    fold(model.head, standardize)
    model.head.half().float()  # stored in 16 bits: what is measured from here on is what is stored
    return {
        "first_loss": round(losses[0], 4),
        "last_loss": round(losses[-1], 4),
        "creatives": len(seen[0].source),
        "texts": len(seen[1].source),
        "held_out": held_out_ranking(model, pictures.where(held[0]), texts.where(held[1])),
    }


@torch.no_grad()
def held_out_ranking(model: Model, pictures: Groups, texts: Groups) -> dict[str, float]:
    """By kind of damage: the share of variants that score below their clean one, the other side clean."""
    rows = max(len(pictures.source), len(texts.source))
    look, read = np.arange(rows) % len(pictures.source), np.arange(rows) % len(texts.source)
    picture, text = torch.from_numpy(pictures.features[look]), torch.from_numpy(texts.features[read])
    by_picture = torch.cat((picture, text[:, :1].expand(-1, picture.shape[1], -1)), dim=-1)
    by_text = torch.cat((picture[:, :1].expand(-1, text.shape[1], -1), text), dim=-1)
    below: dict[str, list[bool]] = {}
    for joint, kinds in ((by_picture, pictures.kinds[look]), (by_text, texts.kinds[read])):
        scores = model.head(joint)[..., 0]
        worse = (scores < scores[:, :1])[:, 1:].flatten().tolist()
        for kind, is_below in zip(kinds[:, 1:].flatten().tolist(), worse, strict=True):
            below.setdefault(kind, []).append(is_below)
    return {kind: round(sum(found) / len(found), 4) for kind, found in sorted(below.items())}


def contract_of(recipe: Recipe, name: str, model: Model, data: str) -> ModelContract:
    """The contract of the trained model; its weights are filled in where they are written."""
    serving = recipe.serving
    return ModelContract(
        name=serving.name,
        version=serving.version,
        target=serving.target,
        precision=serving.precision,
        cpu_runtime="onnxruntime",
        spec=recipe.canonical,
        inputs=serving.inputs,
        outputs=serving.outputs,
        weights={},
        companions={},
        score_range=serving.score_range,
        tolerance=serving.tolerance,
        protocol=serving.protocol,
        cost=count_cost(model, recipe.canonical),
        provenance=Provenance(recipe=name, data=data, revision=f"{LITE0.distribution} {MINILM.distribution}"),
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
