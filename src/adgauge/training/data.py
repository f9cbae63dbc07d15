"""Features of the frozen encoders for groups of variants: one clean creative or text and its damages.

Rendering is spread over processes; each photograph has a seed of its own, so that the number of processes
changes nothing. Features are kept in a folder, by the digest of all that decides them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from adgauge.canonical.image import DecodeLimits, decode
from adgauge.canonical.text import TextEncoder
from adgauge.contract import ImageSpec, file_sha256
from adgauge.models.registry import Model
from adgauge.product import parse_product
from adgauge.training.creatives import Picture, open_photo, render_creative
from adgauge.training.picture_damages import PICTURE_DAMAGES, damage_picture
from adgauge.training.recipe import Recipe
from adgauge.training.text_damages import TEXT_DAMAGES, damage_text
from adgauge.training.texts import GRAMMAR, Grammar, ProductText, vocabulary_words

CLEAN = "clean"
_AHEAD = 32
_PHOTO_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}


@dataclass(frozen=True)
class Groups:
    """G groups of N variants each; the first variant is the undamaged one."""

    features: npt.NDArray[np.float32]  # [G, N, D]
    drops: npt.NDArray[np.float32]  # [G, N], points before scaling
    kinds: npt.NDArray[np.str_]  # [G, N]
    source: npt.NDArray[np.int64]  # [G], which photograph or text

    def where(self, chosen: npt.NDArray[np.bool_]) -> Groups:
        """The groups that a boolean [G] picks."""
        return Groups(self.features[chosen], self.drops[chosen], self.kinds[chosen], self.source[chosen])


@dataclass(frozen=True)
class _Rendered:
    """The variants of one creative before the encoder has seen them."""

    pixels: npt.NDArray[np.uint8]
    drops: list[float]
    kinds: list[str]


@dataclass(frozen=True)
class _Group:
    source: int
    features: npt.NDArray[np.float32]
    drops: list[float]
    kinds: list[str]


def photo_files(folder: Path) -> list[Path]:
    """Every photograph below a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PHOTO_SUFFIXES)


def picture_groups(model: Model, recipe: Recipe, photos: Sequence[Path], cache: Path, jobs: int) -> Groups:
    """Image features of creatives made from photographs and of their damages."""
    parts = [recipe.model_dump_json(include={"model", "seed", "canonical", "data"})]
    parts += [*map(file_sha256, photos), _sources("creatives.py", "picture_damages.py")]
    return _cached(cache, "pictures", parts, lambda: _compute_pictures(model, recipe, photos, jobs))


def text_groups(model: Model, recipe: Recipe, tokenizer_dir: Path, cache: Path) -> Groups:
    """Text features of made-up products and of their damages."""
    parts = [recipe.model_dump_json(include={"model", "seed", "canonical", "data"})]
    parts += [file_sha256(GRAMMAR), _sources("texts.py", "text_damages.py")]
    return _cached(cache, "texts", parts, lambda: _compute_texts(model, recipe, tokenizer_dir))


def _sources(*names: str) -> str:
    return "".join(file_sha256(Path(__file__).parent / name) for name in names)


def _cached(cache: Path, name: str, parts: Sequence[str], compute: Callable[[], Groups]) -> Groups:
    path = cache / f"{name}-{hashlib.sha256(''.join(parts).encode()).hexdigest()[:16]}.npz"
    if path.is_file():
        with np.load(path) as saved:
            return Groups(**saved)
    groups = compute()
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, allow_pickle=False, **vars(groups))
    return groups


def _compute_pictures(model: Model, recipe: Recipe, photos: Sequence[Path], jobs: int) -> Groups:
    made = []
    # Half the time; torch's annotations do not know the argument.
    model.image_encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(photos), _AHEAD):  # a bound on what is rendered and not yet encoded
            numbers = range(start, min(start + _AHEAD, len(photos)))
            rendered = pool.map(partial(_photo_variants, recipe), numbers, photos[start:])
            for number, creatives in zip(numbers, rendered, strict=True):
                made += [
                    _Group(number, encode_images(model, one.pixels), one.drops, one.kinds)
                    for one in creatives
                ]
    return _stacked(made)


def _photo_variants(recipe: Recipe, number: int, path: Path) -> list[_Rendered]:
    """The creatives of one photograph with their damages, as the canonicalizer shows them to the model."""
    rng = Random(f"{recipe.seed} picture {number}")
    photo = open_photo(path)
    return [_picture_variants(rng, recipe, photo) for _ in range(recipe.data.creatives_per_photo)]


def _picture_variants(rng: Random, recipe: Recipe, photo: Picture) -> _Rendered:
    creative = render_creative(rng, photo)
    damages = rng.sample(sorted(PICTURE_DAMAGES), recipe.data.damages_per_creative)
    damaged = [damage_picture(rng, creative.picture, kind) for kind in damages]
    pictures = [creative.picture, *(picture for picture, _ in damaged)]
    pixels = np.stack([canonical_pixels(picture, recipe.canonical.image) for picture in pictures])
    drops = [creative.drop, *(creative.drop + drop for _, drop in damaged)]
    return _Rendered(pixels, drops, [CLEAN, *damages])


def canonical_pixels(picture: Picture, spec: ImageSpec) -> npt.NDArray[np.uint8]:
    """uint8 [3, H, W], through the canonicalizer and a lossless file."""
    file = BytesIO()
    picture.save(file, "BMP")
    return decode(file.getvalue(), spec, DecodeLimits())


def _compute_texts(model: Model, recipe: Recipe, tokenizer_dir: Path) -> Groups:
    encoder = TextEncoder(recipe.canonical.text, tokenizer_dir)
    tokenizer = Tokenizer.from_file(str(tokenizer_dir / recipe.canonical.text.tokenizer))
    grammar = Grammar(vocabulary_words(tokenizer.get_vocab()))
    made = []
    for number in range(recipe.data.texts):
        rng = Random(f"{recipe.seed} text {number}")
        text = grammar.product(rng)
        damages = rng.sample(sorted(TEXT_DAMAGES), recipe.data.damages_per_text)
        damaged = [damage_text(rng, text, kind) for kind in damages]
        variants = [text, *(variant for variant, _ in damaged)]
        features = np.stack([encode_text(model, encoder, variant) for variant in variants])
        drops = [0.0, *(drop for _, drop in damaged)]
        made.append(_Group(number, features, drops, [CLEAN, *damages]))
    return _stacked(made)


def _stacked(made: Sequence[_Group]) -> Groups:
    return Groups(
        features=np.stack([group.features for group in made]),
        drops=np.array([group.drops for group in made], dtype=np.float32),
        kinds=np.array([group.kinds for group in made]),
        source=np.array([group.source for group in made], dtype=np.int64),
    )


@torch.inference_mode()
def encode_images(model: Model, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """uint8 [N, 3, H, W] → float32 [N, D]."""
    batch = torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last)
    features: npt.NDArray[np.float32] = model.image_encoder(batch).numpy()
    return features


@torch.inference_mode()
def encode_text(model: Model, encoder: TextEncoder, text: ProductText) -> npt.NDArray[np.float32]:
    """One product's text → float32 [D]; without padding, which changes nothing."""
    (tokens,) = encoder.encode([parse_product(json.dumps(text.record("text")).encode(), 1 << 20)])
    length = int(tokens.mask.sum())
    ids, mask = (torch.from_numpy(array[None, :length]) for array in (tokens.ids, tokens.mask))
    features: npt.NDArray[np.float32] = model.text_encoder(ids, mask)[0].numpy()
    return features
