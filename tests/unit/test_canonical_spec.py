"""Which canonicalizations a contract may ask for, and which arrays they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from adgauge.contract import CanonicalSpec, Cell, ImageSpec, Protocol, TextSpec
from tests.contracts import image_spec, text_spec


def image(**changes: Any) -> ImageSpec:
    return ImageSpec.model_validate(dict(image_spec(count=2)) | changes)


def cells(*places: tuple[int, int, int]) -> tuple[Cell, ...]:
    return tuple(Cell(top=top, left=left, shrink=shrink) for top, left, shrink in places)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"candidates": 1}, "candidates must equal count"),
        ({"candidates": 3}, "candidates must equal count, or exceed it where the salient ones are selected"),
        ({"candidates": 1, "selection": "salient"}, "candidates must equal count"),
        ({"selection": "best"}, "'first' or 'salient'"),
        ({"collage": cells((0, 0, 1))}, "collage must have one cell a picture"),
        ({"collage": cells((0, 0, 1), (0, 32, 3))}, "shrink of each cell of collage must divide"),
        ({"collage": cells((0, 0, 1), (0, 31, 2))}, "cells of collage must not overlap"),
        ({"collage": cells((0, 0, 1), (31, 0, 2))}, "cells of collage must not overlap"),
        ({"collage": cells((0, 0, 1), (8, 8, 4))}, "cells of collage must not overlap"),
        ({"collage": cells((8, 8, 4), (0, 0, 1))}, "cells of collage must not overlap"),
        ({"collage": cells((0, 0, 2), (0, 0, 2))}, "cells of collage must not overlap"),
        ({"count": 0}, "greater than 0"),
    ],
)
def test_pictures_that_do_not_fit_together_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        image(**changes)


@pytest.mark.parametrize(
    ("changes", "shape"),
    [
        ({}, (2, 3, 32, 32)),
        ({"count": 1, "candidates": 1}, (3, 32, 32)),
        ({"count": 1, "candidates": 4, "selection": "salient"}, (3, 32, 32)),
        ({"candidates": 2, "selection": "salient"}, (2, 3, 32, 32)),
        ({"height": 16}, (2, 3, 16, 32)),
        ({"collage": cells((0, 0, 1), (0, 32, 2))}, (3, 32, 48)),
        ({"collage": cells((0, 0, 1), (32, 0, 2))}, (3, 48, 32)),
        ({"collage": cells((0, 0, 2), (16, 16, 2))}, (3, 32, 32)),
        ({"collage": cells((5, 7, 4), (0, 0, 8))}, (3, 13, 15)),
    ],
)
def test_the_array_of_pictures_has_the_shape_of_what_is_put_together(
    changes: dict[str, Any], shape: tuple[int, ...]
) -> None:
    assert image(**changes).shape == shape


@pytest.mark.parametrize("instruction", ["two\nlines", "caf\u00e9", "tab\t"])
def test_an_instruction_is_one_line_of_ascii(instruction: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="instruction"):
        TextSpec.model_validate(dict(text_spec(tmp_path)) | {"instruction": instruction})


@pytest.mark.parametrize("ladder", [(), (8, 16), (8, 8, 64), (16, 8, 64), (64, 128)])
def test_a_ladder_ascends_to_the_token_limit(ladder: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="ladder must ascend and end at token_limit"):
        TextSpec.model_validate(dict(text_spec(tmp_path)) | {"ladder": ladder})


def test_a_model_is_given_only_what_its_spec_makes(tmp_path: Path) -> None:
    text = text_spec(tmp_path)
    plain = CanonicalSpec(image=image_spec(), text=text, categories=(), numeric=())
    full = CanonicalSpec(
        image=image(), text=text, categories=("Books",), numeric=("image_count", "log1p_price")
    )

    assert [(tensor.name, tensor.dtype, tensor.shape) for tensor in plain.tensors()] == [
        ("image", "uint8", (3, 32, 32)),
        ("has_image", "float32", (1,)),
        ("input_ids", "int64", (-1,)),
        ("attention_mask", "int64", (-1,)),
    ]
    assert [(tensor.name, tensor.holds, tensor.shape) for tensor in full.tensors()] == [
        ("image", "image", (2, 3, 32, 32)),
        ("has_image", "has_image", (2,)),
        ("input_ids", "token_ids", (-1,)),
        ("attention_mask", "token_mask", (-1,)),
        ("category_id", "category_id", (1,)),
        ("numeric", "numeric", (2,)),
    ]


def test_each_broken_rule_of_the_protocol_is_named() -> None:
    canonical = Protocol(
        fixed_size=True,
        fixed_token_limit=True,
        single_forward=True,
        test_time_augmentation=False,
        ensemble=False,
    )
    broken = canonical.model_copy(update={"fixed_size": False, "ensemble": True})

    assert canonical.breaches() == ()
    assert broken.breaches() == ("fixed_size = false", "ensemble = true")
