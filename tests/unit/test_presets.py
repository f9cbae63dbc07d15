"""Each preset through the canonicalizer: the arrays of a product that is written down here."""

from __future__ import annotations

import inspect
import math
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from adgauge.canonical import presets
from adgauge.canonical.canonicalizer import Canonicalizer, category_key
from adgauge.canonical.presets import AMAZON_CATEGORIES, TokenizerFile, shrunk
from adgauge.contract import CanonicalSpec, ImageSpec
from adgauge.product import ProductRecord
from adgauge.records import CanonicalInput, Flag, ImageMissing
from tests.contracts import TOKENIZER_FILE, WORDS, contract, write_tokenizer

Preset = Callable[[TokenizerFile], CanonicalSpec]
ANY_TOKENIZER = TokenizerFile(TOKENIZER_FILE, "0" * 64)


@dataclass(frozen=True)
class Expected:
    """What a preset makes of `PRODUCT`."""

    image: tuple[int, ...]
    ladder: tuple[int, ...]
    text: str
    pad_id: int = 0
    references: int = 1


PRODUCT = ProductRecord.model_validate(
    {
        "parent_asin": "B01",
        "main_category": "Books",
        "title": "The <b>red</b> bag",
        "features": ["blue", "the shoe"],
        "description": ["bag &amp; shoe", "red"],
        "store": "Acme",
        "categories": ["Books", "Bags"],
        "details": {"Brand": "Acme", "Pages": 9},
        "price": "$12.50",
        "images": ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg"],
    }
)
SHORT = "The red bag bag & shoe red"
LABELLED = "Main category: Books\nTitle: The red bag\nFeatures: blue | the shoe\nDescription: bag & shoe red"
PROMPT = (
    "Look at the picture and read the listing of this product. Predict the average rating, from 1.0 to 5.0,"
    " that its buyers gave it.\nTitle: The red bag\nMain category: Books\nCategories: Books > Bags\n"
    "Store: Acme\nPrice: 12.50\nFeatures: blue | the shoe\nDetails: Brand: Acme; Pages: 9\n"
    "Description: bag & shoe red"
)
EXPECTED: Mapping[str, Expected] = {
    "effimini_vlm": Expected((3, 224, 224), (32, 64, 128, 256), LABELLED),
    "effimini_lite0": Expected((3, 224, 224), (32, 64, 128, 256), LABELLED),
    "lovif_clip": Expected((3, 224, 224), (16, 32, 77), SHORT, pad_id=49407),
    "lovif_roberta": Expected((3, 224, 224), (16, 32, 77), SHORT, pad_id=1),
    "smolvlm_olacnqoddchl": Expected((3, 384, 384), (128, 256, 512, 1024, 2524), PROMPT, pad_id=2),
    "smolvlm_wleach": Expected((3, 384, 384), (16, 32, 76), SHORT, pad_id=2),
    "pinco": Expected((3, 256, 384), (32, 64, 128, 256), LABELLED, references=3),
    "latent_query": Expected((2, 3, 224, 224), (32, 64, 128, 256), LABELLED, references=4),
    "latent_query_k1": Expected((3, 224, 224), (32, 64, 128, 256), LABELLED, references=4),
}


def preset(name: str) -> Preset:
    made: Preset = getattr(presets, name)
    return made


def tokens(text: str) -> list[int]:
    """As the tests' tokenizer has them: words that it knows, the rest by letters."""
    letters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *letters, *(f"##{letter}" for letter in letters)]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    found = [numbers["[CLS]"]]
    for word in re.findall(r"\w+|[^\w\s]", text.lower()):
        start = next((known for known in WORDS if word.startswith(known)), word[0])
        found += [numbers[start], *(numbers[f"##{letter}"] for letter in word[len(start) :])]
    return [*found, numbers["[SEP]"]]


def canonicalizer(spec: CanonicalSpec, folder: Path) -> Canonicalizer:
    made = contract(folder).model_copy(update={"spec": spec, "inputs": spec.tensors()})
    return Canonicalizer(made, folder)


def with_tokenizer(name: str, folder: Path) -> CanonicalSpec:
    return preset(name)(TokenizerFile(TOKENIZER_FILE, write_tokenizer(folder)))


def pictures(spec: ImageSpec) -> list[npt.NDArray[np.uint8]]:
    """One a candidate; stripes: of the third there is most to see, then of the first."""
    contrasts = [60, 10, 90, 20][: spec.candidates]
    stripes = np.arange(spec.width) // 2 % 2
    rows = [np.broadcast_to(100 + stripes * contrast, (3, spec.height, spec.width)) for contrast in contrasts]
    return [row.astype(np.uint8) for row in rows]


def made(name: str, folder: Path) -> tuple[CanonicalInput, list[npt.NDArray[np.uint8]]]:
    spec = with_tokenizer(name, folder)
    images = pictures(spec.image)
    (only,) = canonicalizer(spec, folder).canonicalize([PRODUCT], [images])
    assert isinstance(only, CanonicalInput)
    return only, images


def test_every_preset_is_here() -> None:
    functions = inspect.getmembers(presets, inspect.isfunction)
    public = {
        name for name, made in functions if not name.startswith("_") and made.__module__ == presets.__name__
    }

    assert public - {"shrunk"} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_states_sizes_and_limits(name: str) -> None:
    spec, expected = preset(name)(ANY_TOKENIZER), EXPECTED[name]

    assert spec.image.shape == expected.image
    assert spec.image.candidates == expected.references
    assert spec.text.ladder == expected.ladder
    assert spec.text.token_limit == expected.ladder[-1]
    assert (spec.text.pad_id, spec.image.required) == (expected.pad_id, False)
    assert CanonicalSpec.model_validate_json(spec.model_dump_json()) == spec


@pytest.mark.parametrize("name", EXPECTED)
def test_the_text_of_a_product(name: str, tmp_path: Path) -> None:
    found, _ = made(name, tmp_path)
    expected = EXPECTED[name]
    ids = tokens(expected.text)
    rung = next(rung for rung in expected.ladder if rung >= len(ids))
    padding = rung - len(ids)

    assert found.rung == rung
    assert found.arrays["input_ids"].tolist() == ids + [expected.pad_id] * padding
    assert found.arrays["attention_mask"].tolist() == [1] * len(ids) + [0] * padding
    assert found.flags == frozenset()


@pytest.mark.parametrize("name", EXPECTED)
def test_as_many_pictures_are_asked_for_as_it_chooses_from(name: str, tmp_path: Path) -> None:
    found = canonicalizer(with_tokenizer(name, tmp_path), tmp_path).image_references(PRODUCT)

    assert found == ("0.jpg", "1.jpg", "2.jpg", "3.jpg")[: EXPECTED[name].references]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_bare_product_is_black_unknown_and_flagged(name: str, tmp_path: Path) -> None:
    spec = with_tokenizer(name, tmp_path)
    bare = ProductRecord(parent_asin="B01")
    (found,) = canonicalizer(spec, tmp_path).canonicalize([bare], [[ImageMissing("tls", "no")]])

    assert isinstance(found, CanonicalInput)
    assert found.flags == {Flag.NO_IMAGE, Flag.NO_TEXT}
    assert found.arrays["attention_mask"].sum() == len(tokens(spec.text.instruction))
    others = {name for name in found.arrays if name not in ("input_ids", "attention_mask")}
    assert not any(found.arrays[name].any() for name in others)


ONE_PICTURE = [name for name in EXPECTED if EXPECTED[name].references == 1]


@pytest.mark.parametrize("name", ONE_PICTURE)
def test_a_model_of_one_picture_sees_it_and_no_more_inputs(name: str, tmp_path: Path) -> None:
    found, (picture,) = made(name, tmp_path)

    assert list(found.arrays) == ["image", "has_image", "input_ids", "attention_mask"]
    assert np.array_equal(found.arrays["image"], picture)
    assert found.arrays["has_image"].tolist() == [1.0]


def test_the_collage_of_pinco_has_the_main_picture_left_and_two_small_ones_right(tmp_path: Path) -> None:
    found, (main, second, third) = made("pinco", tmp_path)
    image = found.arrays["image"]

    assert np.array_equal(image[:, :, :256], main)
    # Stripes two pixels wide: half as large they are one pixel wide.
    assert np.array_equal(image[:, :128, 256:], second[:, :128, ::2][:, :, :128])
    assert np.array_equal(image[:, 128:, 256:], third[:, :128, ::2][:, :, :128])
    assert found.arrays["has_image"].tolist() == [1.0, 1.0, 1.0]


def test_pinco_is_told_the_category_and_three_numbers(tmp_path: Path) -> None:
    found, _ = made("pinco", tmp_path)

    assert found.arrays["category_id"].tolist() == [AMAZON_CATEGORIES.index("Books") + 1] == [8]
    assert found.arrays["numeric"].dtype == np.float32
    assert found.arrays["numeric"].tolist() == pytest.approx([math.log(13.5), 5.0, 2.0])


def test_of_four_pictures_latent_query_is_shown_the_most_salient(tmp_path: Path) -> None:
    two, candidates = made("latent_query", tmp_path)
    one, _ = made("latent_query_k1", tmp_path)

    assert np.array_equal(two.arrays["image"], np.stack([candidates[0], candidates[2]]))
    assert two.arrays["has_image"].tolist() == [1.0, 1.0]
    assert np.array_equal(one.arrays["image"], candidates[2])
    assert one.arrays["has_image"].tolist() == [1.0]


def test_there_are_33_categories_and_no_two_are_one() -> None:
    assert len({category_key(name) for name in AMAZON_CATEGORIES}) == len(AMAZON_CATEGORIES) == 33


@pytest.mark.parametrize("name", EXPECTED)
def test_a_small_one_asks_for_the_same_in_a_small_size(name: str, tmp_path: Path) -> None:
    whole = with_tokenizer(name, tmp_path)
    small = shrunk(whole, side=32, token_limit=8)
    scale = 32 / whole.image.height

    assert small.image.shape[-2:] == tuple(round(side * scale) for side in whole.image.shape[-2:])
    assert small.image.shape[:-2] == whole.image.shape[:-2]
    assert small.text.ladder == (4, 8)
    assert whole.text.instruction.startswith(small.text.instruction)
    assert (small.categories, small.numeric) == (whole.categories, whole.numeric)
    (found,) = canonicalizer(small, tmp_path).canonicalize([PRODUCT], [pictures(small.image)])
    assert isinstance(found, CanonicalInput)
    assert found.arrays["image"].shape == small.image.shape
    assert found.flags == {Flag.TEXT_CUT}


def test_a_size_that_a_collage_cannot_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="shrink of each cell of collage must divide"):
        shrunk(presets.pinco(ANY_TOKENIZER), side=33, token_limit=16)
