"""The golden products use everything that the systems' contracts ask for, and are the same every time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import CanonicalSpec
from adgauge.export.golden_products import golden_inputs, golden_products
from adgauge.models.packaged import MINILM_TOKENIZER
from adgauge.models.registry import MODELS
from adgauge.records import CanonicalInput, Flag
from tests.contracts import contract

TOKENIZER = TokenizerFile("tokenizer.json", MINILM_TOKENIZER.sha256)


def inputs(spec: CanonicalSpec, folder: Path) -> list[CanonicalInput]:
    (folder / TOKENIZER.name).write_bytes(MINILM_TOKENIZER.find().read_bytes())
    return golden_inputs(
        contract(folder, text=spec.text).model_copy(update={"spec": spec, "inputs": spec.tensors()}), folder
    )


def column(made: list[CanonicalInput], name: str) -> np.ndarray:
    return np.stack([one.arrays[name] for one in made])


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_rung_of_every_system_is_reached(name: str, tmp_path: Path) -> None:
    spec = MODELS[name].canonical(TOKENIZER)
    made = inputs(spec, tmp_path)
    assert {one.rung for one in made} == set(spec.text.ladder)
    assert {Flag.NO_IMAGE, Flag.NO_TEXT, Flag.TEXT_CUT} <= {flag for one in made for flag in one.flags}


def test_all_some_and_none_of_the_pictures_are_there(tmp_path: Path) -> None:
    collage = column(inputs(MODELS["pinco"].canonical(TOKENIZER), tmp_path), "has_image")
    assert {tuple(row) for row in collage.tolist()} >= {(1, 1, 1), (1, 1, 0), (0, 1, 1), (1, 0, 0), (0, 0, 0)}
    salient = column(inputs(MODELS["latent_query"].canonical(TOKENIZER), tmp_path), "has_image")
    assert {tuple(row) for row in salient.tolist()} == {(1, 1), (1, 0), (0, 0)}


def test_categories_are_known_from_the_department_from_the_tree_and_unknown(tmp_path: Path) -> None:
    spec = MODELS["pinco"].canonical(TOKENIZER)
    found = {
        spec.categories[at - 1] if at else None for at in column(inputs(spec, tmp_path), "category_id")[:, 0]
    }
    assert found == {"Sports & Outdoors", "Clothing, Shoes & Jewelry", None}


def test_prices_and_counts_are_there_and_missing(tmp_path: Path) -> None:
    price, pictures, features = column(inputs(MODELS["pinco"].canonical(TOKENIZER), tmp_path), "numeric").T
    assert price.min() == 0
    assert price.max() == pytest.approx(np.log1p(1299), rel=1e-6)
    assert set(pictures) == {0, 1, 2, 3, 5}
    assert set(features) == {0, 1, 2, 12}


def test_they_are_the_same_every_time_and_small_enough_for_git() -> None:
    made = golden_products()
    assert made == golden_products()
    assert len({each["parent_asin"] for each in made}) == len(made)
    assert len(json.dumps(made)) < 160_000
