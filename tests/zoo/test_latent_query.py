"""LatentQuery Fusion: the report's figures, stock modules' numbers, and pictures that are missing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import Dinov2Model, DistilBertModel

from adgauge.models.interface import Limits
from adgauge.models.latent_query import LatentQuery, QueryLayer, QueryWeightedMLP, latent_query_tiny
from adgauge.models.layers.attention import MultiHeadAttention
from adgauge.models.lora import add_lora
from adgauge.models.registry import build, system
from tests.zoo.formula import fill_by_formula, scatter


def on_meta(name: str, *, adapted: bool) -> LatentQuery:
    with torch.device("meta"):
        model = build(name).eval()
    assert isinstance(model, LatentQuery)
    lora = system(name).lora
    if adapted and lora is not None:
        add_lora(model, lora.targets, lora.rank, lora.alpha)
    return model


def tiny() -> LatentQuery:
    torch.manual_seed(0)
    return LatentQuery(latent_query_tiny()).eval()


def inputs(rows: int, pictures: int = 2, tokens: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """By formula; the texts get shorter from row to row."""
    shape = (rows, pictures, 3, 28, 28)
    image = (255 * scatter(torch.Size(shape).numel(), seed=1).view(shape).abs()).to(torch.uint8)
    mask = (torch.arange(tokens) < torch.arange(tokens, tokens - 3 * rows, -3).view(-1, 1)).long()
    ids = (30_000 * scatter(rows * tokens, seed=2).view(rows, tokens).abs()).long()
    return image, torch.ones(rows, pictures), ids * mask, mask


@pytest.mark.parametrize("name", ["latent_query", "latent_query_k1"])
def test_the_frozen_part_is_that_of_the_report(name: str) -> None:
    """186.09 M in all, 33.15 M trained: 152.94 M frozen. Of the trained part, 2.72 M are not described."""
    frozen, trained = 0, 0
    for parameter, tensor in on_meta(name, adapted=True).named_parameters():
        added = parameter.endswith((".down.weight", ".up.weight"))
        if parameter.startswith(system(name).frozen) and not added:
            frozen += tensor.numel()
        else:
            trained += tensor.numel()
    assert (frozen, trained) == (152_943_360, 30_428_932)
    assert sum(tensor.numel() for tensor in on_meta(name, adapted=False).parameters()) == 182_487_556


def gflops(name: str, shape: tuple[int, ...], *, adapted: bool) -> tuple[float, float]:
    """In all, and with attention products left out."""
    model = on_meta(name, adapted=adapted)
    ids = torch.ones(1, 256, dtype=torch.int64, device="meta")
    image = torch.ones(1, *shape, dtype=torch.uint8, device="meta")
    has_image = torch.ones(1, 1 if len(shape) == 3 else shape[0], device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image, has_image, ids, ids)
    products = counter.get_flop_counts()["Global"][torch.ops.aten.bmm]
    total = counter.get_total_flops()
    return round(total / 1e9, 2), round((total - products) / 1e9, 2)


def test_flops_are_those_of_the_description_for_one_picture_and_for_two() -> None:
    one, two = (3, 224, 224), (2, 3, 224, 224)
    assert gflops("latent_query_k1", one, adapted=True) == (74.11, 70.42)
    assert gflops("latent_query", two, adapted=True) == (122.57, 116.43)
    # An adaptation that is merged costs nothing.
    assert gflops("latent_query_k1", one, adapted=False) == (73.65, 69.97)
    assert gflops("latent_query", two, adapted=False) == (121.81, 115.68)


def test_it_sees_any_size_of_whole_patches_and_reads_512_tokens() -> None:
    assert on_meta("latent_query", adapted=False).limits == Limits(tokens=512, patch=14, size=None)


def torch_attention(ours: MultiHeadAttention, theirs: nn.MultiheadAttention) -> None:
    projections = [ours.query, ours.key, ours.value]
    theirs.in_proj_weight.copy_(torch.cat([each.weight for each in projections]))
    theirs.in_proj_bias.copy_(torch.cat([each.bias for each in projections]))
    theirs.out_proj.load_state_dict(ours.output.state_dict())


def torch_layer(layer: QueryLayer) -> nn.TransformerDecoderLayer:
    """torch's own with the same weights."""
    theirs = nn.TransformerDecoderLayer(16, layer.attention.heads, 32, batch_first=True).eval()
    torch_attention(layer.attention, theirs.self_attn)
    torch_attention(layer.reading.attention, theirs.multihead_attn)
    for name, ours in (
        ("norm1", layer.attention_norm),
        ("norm2", layer.reading.attention_norm),
        ("linear1", layer.reading.feedforward[0]),
        ("linear2", layer.reading.feedforward[3]),
        ("norm3", layer.reading.feedforward_norm),
    ):
        theirs.get_submodule(name).load_state_dict(ours.state_dict())
    return theirs


def stock_memory(model: LatentQuery, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Tokens of transformers' encoders as they come, picture by picture → [B, K · P + T, width]."""
    config = latent_query_tiny()
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.mean, config.std))
    vision, text = Dinov2Model(config.image_encoder), DistilBertModel(config.text_encoder).train(False)
    vision.load_state_dict(model.image_encoder.backbone.state_dict())
    text.load_state_dict(model.text_encoder.backbone.state_dict())
    seen = [vision(pixel_values=(each / 255 - mean) / std).last_hidden_state for each in image.unbind(1)]
    read = text(input_ids=ids, attention_mask=mask).last_hidden_state
    return torch.cat((*seen, model.text_encoder.projection(read)), dim=1)


@torch.no_grad()
def test_numbers_are_those_of_stock_modules_put_together() -> None:
    """Weights by formula; the encoders are transformers', the layers of the queries torch's decoder's."""
    model = tiny()
    fill_by_formula(model)
    image, has_image, ids, mask = inputs(3)
    has_image[1, 1] = 0
    memory = stock_memory(model, image, ids, mask)
    patches = (memory.shape[1] - mask.shape[1]) // 2
    absent = torch.cat((has_image.repeat_interleave(patches, dim=1), mask), dim=1) == 0
    states = model.fusion.queries.weight.repeat(3, 1, 1)
    for layer in model.fusion.layers:
        assert isinstance(layer, QueryLayer)
        states = torch_layer(layer)(states, memory, memory_key_padding_mask=absent)
    expected = 1 + 4 * torch.sigmoid(model.head(states))
    made = model(image, has_image, ids, mask)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(made[:, 0], torch.tensor([3.16584, 2.95054, 2.89029]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_the_head_weighs_the_rating_of_each_query_and_calibrates_the_sum() -> None:
    head = QueryWeightedMLP(2, 2, dropout=0.1).eval()
    rating = nn.Linear(2, 1, bias=False)
    rating.weight.copy_(torch.tensor([[1.0, 0.0]]))
    head.rating = nn.Sequential(rating)
    head.weight.weight.copy_(torch.tensor([[0.0, 1.0]]))
    head.weight.bias.zero_()
    # Ratings 4 and 8; weights softmax(0, ln 3) = 1/4 and 3/4.
    states = torch.tensor([[[4.0, 0.0], [8.0, torch.tensor(3.0).log()]]])
    torch.testing.assert_close(head(states), torch.tensor([[7.0]]))
    head.calibration.weight.fill_(2)
    head.calibration.bias.fill_(-1)
    torch.testing.assert_close(head(states), torch.tensor([[13.0]]))


@torch.no_grad()
def test_a_picture_that_is_not_there_does_not_matter_wherever_it_stands() -> None:
    model, (image, has_image, ids, mask) = tiny(), inputs(3)
    both = model(image, has_image, ids, mask)
    for missing in (0, 1):
        present, other = has_image.clone(), image.clone()
        present[:, missing] = 0
        other[:, missing] = 255 - other[:, missing]
        without = model(image, present, ids, mask)
        assert torch.equal(model(other, present, ids, mask), without)
        assert not torch.equal(without, both)
        alone = model(image[:, 1 - missing], torch.ones(3, 1), ids, mask)
        torch.testing.assert_close(without, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_order_of_pictures_does_not_matter() -> None:
    model, (image, has_image, ids, mask) = tiny(), inputs(3)
    turned = model(image.flip(1), has_image, ids, mask)
    torch.testing.assert_close(turned, model(image, has_image, ids, mask), atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_row_of_one_picture_and_a_picture_without_a_row_are_the_same() -> None:
    model, (image, has_image, ids, mask) = tiny(), inputs(2, pictures=1)
    assert torch.equal(model(image[:, 0], has_image, ids, mask), model(image, has_image, ids, mask))


@torch.no_grad()
def test_three_pictures_are_as_good_as_two() -> None:
    assert tiny()(*inputs(2, pictures=3)).shape == (2, 1)
