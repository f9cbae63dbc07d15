"""Whether the default model ranks good creatives above damaged ones; writes docs/figures/ranking.json.

    python -m benchmarks.ranking FOLDER:COUNT…

Each FOLDER holds a `products.jsonl` in the item schema and the pictures it names; the first COUNT products
are taken. A picture's long side is fitted to 512 px and then it is damaged while the text stays as it is,
and the other way round. Everything goes through the canonicalizer and the assembled graph, as in serving.
Training saw none of these products, and neither lossy compression nor motion blur.
"""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageFilter

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.image import DecodeLimits, decode
from adgauge.contract import load_contract
from adgauge.export.parity import graph_run, run_all
from adgauge.product import parse_product
from adgauge.records import CanonicalInput
from benchmarks.record import ROOT, write_figures

MODEL = ROOT / "model_repository" / "effimini_lite0" / "1"
LONG_SIDE = 512
MOTION_PX = 15
_WORD = re.compile(r"[^\W\d_]+")

Picture = Image.Image
Record = dict[str, Any]


def fitted(picture: Picture, long_side: int) -> Picture:
    """Scaled, either way, so that the long side is as given."""
    scale = long_side / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def compressed(picture: Picture, quality: int) -> Picture:
    """Through a JPEG file of that quality."""
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def motion_blurred(picture: Picture, length: int, degrees: float) -> Picture:
    """Each pixel the mean of those on a line of `length` pixels through it."""
    reach = length // 2
    pixels = np.asarray(picture, dtype=np.float32)
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), "edge")
    angle = math.radians(degrees)
    steps = [(round(t * math.sin(angle)), round(t * math.cos(angle))) for t in range(-reach, reach + 1)]
    height, width = pixels.shape[:2]
    shifted = (padded[reach + y : reach + y + height, reach + x : reach + x + width] for y, x in steps)
    total: npt.NDArray[np.float32] = sum(shifted, np.zeros_like(pixels))
    return Image.fromarray((total / len(steps)).round().astype(np.uint8))


PICTURES: Mapping[str, Callable[[Picture], Picture]] = {
    "clean": lambda picture: picture,
    "blur_sigma_4": lambda picture: picture.filter(ImageFilter.GaussianBlur(4)),
    "darkened_to_25_percent": lambda picture: ImageEnhance.Brightness(picture).enhance(0.25),
    "shrunk_to_40_px": lambda picture: fitted(picture, 40).resize(picture.size, Image.Resampling.BICUBIC),
    "unseen_jpeg_quality_8": lambda picture: compressed(picture, 8),
    "unseen_motion_blur_horizontal": lambda picture: motion_blurred(picture, MOTION_PX, 0),
    "unseen_motion_blur_diagonal": lambda picture: motion_blurred(picture, MOTION_PX, 45),
}


def _empty(record: Record) -> Record:
    return record | {"title": "", "features": [], "description": [], "main_category": "", "details": {}}


def _shuffled(record: Record) -> Record:
    """Letters shuffled within words, of every field that the model reads."""
    rng = random.Random(record["parent_asin"])

    def shuffle(text: str) -> str:
        return _WORD.sub(lambda word: "".join(rng.sample(word[0], len(word[0]))), text)

    return record | {
        "title": shuffle(record["title"] or ""),
        "features": [shuffle(line) for line in record["features"]],
        "description": [shuffle(line) for line in record["description"]],
    }


TEXTS: Mapping[str, Callable[[Record], Record]] = {"text_empty": _empty, "text_letters_shuffled": _shuffled}


@dataclass(frozen=True)
class Variant:
    """One way a product can look and read."""

    source: str
    kind: str
    record: Record
    picture: Picture


def variants(folder: Path, count: int) -> Iterator[Variant]:
    """For each product the clean one, first, and every kind of damage to its picture or its text."""
    lines = (folder / "products.jsonl").read_text().splitlines()[:count]
    for record in map(json.loads, lines):
        with Image.open(folder / record["images"][0]["large"]) as file:
            picture = fitted(file.convert("RGB"), LONG_SIDE)
        for kind, spoil in PICTURES.items():
            yield Variant(folder.name, kind, record, spoil(picture))
        for kind, spoil_text in TEXTS.items():
            yield Variant(folder.name, kind, spoil_text(record), picture)


def canonical(canonicalizer: Canonicalizer, variant: Variant) -> CanonicalInput:
    """What the model sees of a variant."""
    file = BytesIO()
    variant.picture.save(file, "BMP")
    pixels = decode(file.getvalue(), canonicalizer.image_spec, DecodeLimits())
    product = parse_product(json.dumps(variant.record).encode(), 1 << 20)
    (made,) = canonicalizer.canonicalize([product], [[pixels]])
    if not isinstance(made, CanonicalInput):
        raise made
    return made


def measure(made: Sequence[Variant], scores: Sequence[float]) -> dict[str, Any]:
    """By kind and source: of how many products the clean one scored higher."""
    per_product = len(PICTURES) + len(TEXTS)
    counts: dict[str, dict[str, dict[str, float]]] = {}
    for at, (variant, score) in enumerate(zip(made, scores, strict=True)):
        if variant.kind == "clean":
            continue
        for source in (variant.source, "all"):
            cell = counts.setdefault(variant.kind, {}).setdefault(source, {"clean_higher": 0, "products": 0})
            cell["products"] += 1
            cell["clean_higher"] += score < scores[at - at % per_product]
    for cells in counts.values():
        for cell in cells.values():
            cell["share"] = round(cell["clean_higher"] / cell["products"], 4)
    return counts


def score_range(made: Sequence[Variant], scores: Sequence[float]) -> dict[str, float]:
    """Where the scores of clean products lie: a model that always says 5 ranks nothing."""
    clean = [score for variant, score in zip(made, scores, strict=True) if variant.kind == "clean"]
    low, middle, high = np.percentile(clean, (5, 50, 95)).round(3).tolist()
    return {"p5": low, "median": middle, "p95": high}


def main(arguments: Sequence[str]) -> int:
    """Measure the folders given and write the figures; 2 on wrong use."""
    if not arguments:
        print("usage: python -m benchmarks.ranking FOLDER:COUNT…", file=sys.stderr)
        return 2
    contract = load_contract(MODEL)
    canonicalizer = Canonicalizer(contract, MODEL)
    made: list[Variant] = []
    inputs: list[CanonicalInput] = []
    for argument in arguments:
        folder, _, count = argument.rpartition(":")
        for variant in variants(Path(folder), int(count)):
            inputs.append(canonical(canonicalizer, variant))
            made.append(variant)
    scores = run_all(graph_run(MODEL, contract), inputs).tolist()
    kinds = measure(made, scores)
    figures = {
        "model": f"{contract.name} {contract.version} {contract.digest()[:12]}",
        "kinds": kinds,
        "clean_scores": score_range(made, scores),
    }
    path = write_figures(
        "ranking", f"python -m benchmarks.ranking {' '.join(Path(a).name for a in arguments)}", figures
    )
    for kind, cells in kinds.items():
        print(f"{kind:32}", *(f"{source} {cell['share']:.3f}" for source, cell in cells.items()), sep="  ")
    print(f"written to {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
