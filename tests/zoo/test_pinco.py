"""PinCO: its five tokens against torch's own layers, its collage, and the report's figures."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from adgauge.canonical import presets
from adgauge.canonical.presets import TokenizerFile
from adgauge.models.interface import Limits
from adgauge.models.layers.attention import EncoderLayer
from adgauge.models.pinco import PinCO, pinco
from adgauge.models.registry import build
from tests.zoo.formula import fill_by_formula, scatter
from tests.zoo.torch_layers import torch_attention, torch_layer

CELLS = ((0, 0, 64, 64), (0, 64, 32, 32), (32, 64, 32, 32))
PIXEL_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
PIXEL_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
Inputs = dict[str, Tensor]


def built(name: str) -> PinCO:
    model = build(name).eval()
    assert isinstance(model, PinCO)
    return model


@pytest.fixture(scope="module")
def tiny() -> PinCO:
    model = built("pinco_tiny")
    fill_by_formula(model)
    return model


def inputs(rows: int, tokens: int = 12) -> Inputs:
    generator = torch.Generator().manual_seed(7)
    lengths = torch.randint(2, tokens + 1, (rows, 1), generator=generator)
    return {
        "image": torch.randint(0, 256, (rows, 3, 64, 96), dtype=torch.uint8, generator=generator),
        "has_image": torch.ones(rows, 3),
        "input_ids": torch.randint(1, 128_100, (rows, tokens), generator=generator),
        "attention_mask": (torch.arange(tokens) < lengths).long(),
        "category_id": torch.randint(0, 34, (rows, 1), generator=generator),
        "numeric": 5 * torch.rand(rows, 3, generator=generator),
    }


def scores(model: PinCO, given: Inputs) -> Tensor:
    rating: Tensor = model(*given.values())
    return rating


def inverted(image: Tensor, cell: tuple[int, int, int, int]) -> Tensor:
    top, left, height, width = cell
    changed = image.clone()
    changed[..., top : top + height, left : left + width] ^= 255
    return changed


def five_tokens(model: PinCO, row: Inputs) -> Tensor:
    """[1, 5, 16] of one product without padding, by transformers' encoders and torch's attention."""
    image, text, fusion = model.image_encoder, model.text_encoder, model.fusion
    pixels = (row["image"].float() / 255 - PIXEL_MEAN) / PIXEL_STD
    vision = image.projection(image.backbone(pixel_values=pixels).last_hidden_state)
    words = text.projection(text.backbone(input_ids=row["input_ids"]).last_hidden_state)
    cross = fusion.cross
    looked = cross.attention_norm(words + torch_attention(cross.attention)(words, vision, vision)[0])
    looked = cross.feedforward_norm(looked + cross.feedforward(looked))
    category = fusion.category.weight[row["category_id"][0]]
    numeric = fusion.numeric(row["numeric"])
    return torch.cat((vision.mean(1), words[:, 0], looked.mean(1), category, numeric))[None]


def rated(model: PinCO, tokens: Tensor) -> Tensor:
    for layer in model.fusion.layers:
        assert isinstance(layer, EncoderLayer)
        tokens = torch_layer(layer)(tokens)
    rating: Tensor = 1 + 4 * torch.sigmoid(model.head(tokens.mean(1)))
    return rating


@torch.no_grad()
def test_scores_are_those_of_torch_layers_on_each_product_alone(tiny: PinCO) -> None:
    given, expected = inputs(4), []
    for at, length in enumerate(given["attention_mask"].sum(1).tolist()):
        row = {name: tensor[at : at + 1] for name, tensor in given.items()}
        row["input_ids"] = row["input_ids"][:, :length]
        expected.append(rated(tiny, five_tokens(tiny, row)))
    torch.testing.assert_close(scores(tiny, given), torch.cat(expected), atol=1e-5, rtol=0)


def by_formula(*shape: int, below: int) -> Tensor:
    """Whole numbers from 0 that no generator decides."""
    wave = (scatter(torch.Size(shape).numel(), seed=below) + 1) / 2
    return (wave * below).long().clamp(max=below - 1).view(shape)


@torch.no_grad()
def test_weights_by_formula_give_the_reference_scores(tiny: PinCO) -> None:
    """As `five_tokens` and `rated` gave them with torch 2.13 and transformers 5.23."""
    given = {
        "image": by_formula(3, 3, 64, 96, below=256).to(torch.uint8),
        "has_image": torch.ones(3, 3),
        "input_ids": by_formula(3, 20, below=128_100),
        "attention_mask": torch.ones(3, 20, dtype=torch.int64),
        "category_id": by_formula(3, 1, below=34),
        "numeric": by_formula(3, 3, below=7).float(),
    }
    expected = torch.tensor([[3.4139], [3.0073], [3.3887]])
    torch.testing.assert_close(scores(tiny, given), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("missing", [0, 1, 2])
@torch.no_grad()
def test_pixels_of_a_missing_picture_do_not_matter(tiny: PinCO, missing: int) -> None:
    given = inputs(3)
    changed = {**given, "image": inverted(given["image"], CELLS[missing])}
    assert not torch.equal(scores(tiny, changed), scores(tiny, given))
    absent = torch.ones(3, 3)
    absent[:, missing] = 0
    expected = scores(tiny, {**given, "has_image": absent})
    assert torch.equal(scores(tiny, {**changed, "has_image": absent}), expected)
    others = inverted(given["image"], CELLS[missing - 1])
    assert not torch.equal(scores(tiny, {**given, "image": others, "has_image": absent}), expected)


@torch.no_grad()
def test_a_missing_picture_is_a_black_one_unless_all_are_missing(tiny: PinCO) -> None:
    given = inputs(2)
    top, left, height, width = CELLS[1]
    black = given["image"].clone()
    black[..., top : top + height, left : left + width] = 0
    absent = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 1.0]])
    assert torch.equal(scores(tiny, {**given, "has_image": absent}), scores(tiny, {**given, "image": black}))
    nothing, dark = torch.zeros(2, 3), torch.zeros_like(black)
    assert not torch.equal(
        scores(tiny, {**given, "has_image": nothing}), scores(tiny, {**given, "image": dark})
    )


@torch.no_grad()
def test_without_pictures_text_looks_at_zeros(tiny: PinCO) -> None:
    given = inputs(2)
    words = tiny.text_encoder(given["input_ids"], given["attention_mask"])
    known = given["attention_mask"], given["category_id"], given["numeric"]
    image = torch.rand(2, 96, 16)
    found = tiny.fusion(image, torch.zeros(2, 3), words, *known)
    assert torch.equal(found, tiny.fusion(torch.zeros_like(image), torch.ones(2, 3), words, *known))


@torch.no_grad()
def test_exactly_five_tokens_meet(tiny: PinCO) -> None:
    shapes = []
    hook = tiny.fusion.layers[0].register_forward_hook(lambda _, given, __: shapes.append(given[0].shape))
    scores(tiny, inputs(2, tokens=12))
    scores(tiny, inputs(2, tokens=30))
    hook.remove()
    assert shapes == [(2, 5, 16), (2, 5, 16)]


@pytest.mark.parametrize("name", ["category_id", "numeric"])
@torch.no_grad()
def test_what_else_is_known_of_a_product_matters(tiny: PinCO, name: str) -> None:
    given = inputs(3)
    other = {**given, name: (given[name] + 1) % 34}
    assert (scores(tiny, other) != scores(tiny, given)).all()


def test_the_layout_is_that_of_the_canonicalization() -> None:
    spec = presets.pinco(TokenizerFile("tokenizer.json", "0" * 64))
    image, model = spec.image, on_meta()
    cells = [(c.top, c.left, image.height // c.shrink, image.width // c.shrink) for c in image.collage]
    assert list(pinco().cells) == cells
    assert model.limits == Limits(tokens=512, patch=1, size=(256, 384), categories=34, numeric=3)
    assert image.shape == (3, 256, 384)
    assert model.fusion.category.num_embeddings == len(spec.categories) + 1
    assert model.fusion.numeric.in_features == len(spec.numeric)


def on_meta() -> PinCO:
    with torch.device("meta"):
        return built("pinco")


def test_parameters_are_those_of_the_report() -> None:
    parts = {part: sum(p.numel() for p in each.parameters()) for part, each in on_meta().named_children()}
    assert parts == {
        "image_encoder": 27_971_882,
        "text_encoder": 141_698_048,
        "fusion": 9_476_608,
        "head": 65_793,
    }
    assert round(sum(parts.values()) / 1e6, 2) == 179.21


def test_the_reported_cost_is_multiply_accumulates_of_256_tokens() -> None:
    text = torch.ones(1, 256, dtype=torch.int64, device="meta")
    image = torch.zeros(1, 3, 256, 384, dtype=torch.uint8, device="meta")
    known = torch.zeros(1, 1, dtype=torch.int64, device="meta"), torch.zeros(1, 3, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        on_meta()(image, torch.ones(1, 3, device="meta"), text, text, *known)
    assert counter.get_total_flops() == 52_560_733_440
    assert counter.get_total_flops() / 2 == pytest.approx(26.33e9, rel=0.01)
