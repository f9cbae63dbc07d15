"""LoViFModel: transformers' and torch's own modules give its numbers, and what is not there is zero."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionModel, RobertaConfig

from adgauge.models.interface import Limits
from adgauge.models.layers.attention import EncoderLayer
from adgauge.models.lovif import LoViF, TokenFusion, lovif_tiny
from adgauge.models.registry import build, system
from tests.zoo.formula import fill_by_formula, scatter

IMAGE_TOKENS, TOKENS, WIDTH = 5, 32, 16  # of the tiny preset


def on_meta(name: str) -> LoViF:
    with torch.device("meta"):
        model = build(name).eval()
    assert isinstance(model, LoViF)
    return model


def with_clip() -> LoViF:
    torch.manual_seed(0)
    return LoViF(lovif_tiny()).eval()


def with_roberta() -> LoViF:
    roberta = RobertaConfig(
        vocab_size=100,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=34,
        type_vocab_size=1,
    )
    torch.manual_seed(0)
    return LoViF(replace(lovif_tiny(), text_encoder=roberta)).eval()


def inputs(rows: int, tokens: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (rows, 3, 64, 64), dtype=torch.uint8, generator=generator)
    ids = torch.randint(3, 100, (rows, tokens), generator=generator)
    mask = (torch.arange(tokens) < torch.randint(2, tokens + 1, (rows, 1), generator=generator)).long()
    return image, torch.ones(rows, 1), torch.where(mask.bool(), ids, 1), mask


@pytest.mark.parametrize(
    ("name", "total", "trained"),
    [("lovif_clip", 174_229_761, 33_850_625), ("lovif_roberta", 235_249_921, 37_916_161)],
)
def test_parameters_are_those_of_the_description(name: str, total: int, trained: int) -> None:
    sizes = {parameter: tensor.numel() for parameter, tensor in on_meta(name).named_parameters()}
    thawed = [size for parameter, size in sizes.items() if not parameter.startswith(system(name).frozen)]
    assert (sum(sizes.values()), sum(thawed)) == (total, trained)


@pytest.mark.parametrize(("name", "gflops"), [("lovif_clip", 16.553), ("lovif_roberta", 23.913)])
def test_flops_at_77_tokens_are_those_of_the_description(name: str, gflops: float) -> None:
    ids = torch.ones(1, 77, dtype=torch.int64, device="meta")
    image = torch.ones(1, 3, 224, 224, dtype=torch.uint8, device="meta")
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        on_meta(name)(image, torch.ones(1, 1, device="meta"), ids, ids)
    assert round(counter.get_total_flops() / 1e9, 3) == gflops


@pytest.mark.parametrize("name", ["lovif_clip", "lovif_roberta"])
def test_only_the_last_layer_of_each_tower_is_trained(name: str) -> None:
    trained = [
        parameter.split(".")
        for parameter, _ in on_meta(name).named_parameters()
        if not parameter.startswith(system(name).frozen)
    ]
    inside = {".".join(path[:5]) for path in trained if path[1:3] == ["backbone", "encoder"]}
    layers = "layers" if name == "lovif_clip" else "layer"
    assert inside == {
        "image_encoder.backbone.encoder.layers.11",
        f"text_encoder.backbone.encoder.{layers}.11",
    }
    others = {path[2] for path in trained if path[1] == "backbone" and path[2] != "encoder"}
    assert others == {"post_layernorm"} | ({"final_layer_norm"} if name == "lovif_clip" else set())


def test_it_sees_one_size_and_reads_as_far_as_the_head_has_weights() -> None:
    assert on_meta("lovif_clip").limits == Limits(tokens=77, patch=32, size=(224, 224))
    assert on_meta("lovif_roberta").limits == Limits(tokens=77, patch=32, size=(224, 224))
    assert on_meta("lovif_clip").head[0].in_features == (50 + 77) * 512


def torch_layer(layer: EncoderLayer) -> nn.TransformerEncoderLayer:
    """torch's own with the same weights."""
    theirs = nn.TransformerEncoderLayer(WIDTH, layer.attention.heads, 32, batch_first=True).eval()
    projections = [layer.attention.query, layer.attention.key, layer.attention.value]
    theirs.self_attn.in_proj_weight.copy_(torch.cat([each.weight for each in projections]))
    theirs.self_attn.in_proj_bias.copy_(torch.cat([each.bias for each in projections]))
    for name, ours in (
        ("self_attn.out_proj", layer.attention.output),
        ("norm1", layer.attention_norm),
        ("linear1", layer.feedforward[0]),
        ("linear2", layer.feedforward[3]),
        ("norm2", layer.feedforward_norm),
    ):
        theirs.get_submodule(name).load_state_dict(ours.state_dict())
    return theirs


def stock_tokens(model: LoViF, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Of transformers' towers as they come: their own masks, normalisation by hand → [B, I + T, width]."""
    config = lovif_tiny()
    assert isinstance(config.text_encoder, CLIPTextConfig)
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (config.mean, config.std))
    vision, text = CLIPVisionModel(config.image_encoder), CLIPTextModel(config.text_encoder)
    vision.load_state_dict(model.image_encoder.backbone.state_dict())
    text.load_state_dict(model.text_encoder.backbone.state_dict())
    seen = vision.post_layernorm(vision(pixel_values=(image / 255 - mean) / std).last_hidden_state)
    read = text(input_ids=ids, attention_mask=mask).last_hidden_state
    return torch.cat((model.image_encoder.projection(seen), model.text_encoder.projection(read)), dim=1)


def reference_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Pixels, ids and mask of three products, by formula; the texts have 32, 20 and 8 tokens."""
    image = (255 * scatter(3 * 3 * 64 * 64, seed=1).view(3, 3, 64, 64).abs()).to(torch.uint8)
    mask = (torch.arange(TOKENS) < torch.tensor([[TOKENS], [20], [8]])).long()
    ids = (49_000 * scatter(3 * TOKENS, seed=2).view(3, TOKENS).abs()).long()
    return image, torch.where(mask.bool(), ids, 49_407), mask


@torch.no_grad()
def test_numbers_are_those_of_stock_modules_put_together() -> None:
    """Weights by formula; the towers are transformers', the encoder torch's, both with their own masks."""
    model = with_clip()
    fill_by_formula(model)
    image, ids, mask = reference_inputs()
    states = stock_tokens(model, image, ids, mask)
    absent = torch.cat((torch.zeros(3, IMAGE_TOKENS), 1 - mask), dim=1)
    for layer in model.fusion.layers:
        assert isinstance(layer, EncoderLayer)
        states = torch_layer(layer)(states, src_key_padding_mask=absent.bool())
    expected = 1 + 4 * torch.sigmoid(model.head((states * (1 - absent).unsqueeze(-1)).flatten(1)))
    made = model(image, torch.ones(3, 1), ids, mask)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(made[:, 0], torch.tensor([3.80251, 4.00424, 3.32481]), atol=1e-4, rtol=0)


@torch.no_grad()
def test_cls_is_what_clip_calls_its_pooled_output() -> None:
    model, (image, *_) = with_clip(), inputs(2)
    backbone = model.image_encoder.backbone
    pooled = backbone(pixel_values=model.image_encoder.normalize(image)).pooler_output
    expected = model.image_encoder.projection(pooled)
    torch.testing.assert_close(model.image_encoder(image)[:, 0], expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_places_where_there_is_nothing_are_zero_and_nobody_looks_at_them() -> None:
    torch.manual_seed(0)
    fusion = TokenFusion(lovif_tiny()).eval()
    image, text = torch.randn(2, IMAGE_TOKENS, WIDTH), torch.randn(2, 4, WIDTH)
    has_image, mask = torch.tensor([[1.0], [0.0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])
    flat = fusion(image, has_image, text, mask)
    places = flat.unflatten(1, (IMAGE_TOKENS + TOKENS, WIDTH)).abs().sum(2) > 0
    expected = torch.cat((has_image.expand(2, IMAGE_TOKENS), mask, torch.zeros(2, TOKENS - 4)), dim=1)
    assert torch.equal(places, expected.bool())
    empty = expected[:, : IMAGE_TOKENS + 4] == 0
    changed = torch.where(empty.unsqueeze(-1), 9.0, torch.cat((image, text), dim=1))
    again = fusion(changed[:, :IMAGE_TOKENS], has_image, changed[:, IMAGE_TOKENS:], mask)
    assert torch.equal(again, flat)


@torch.no_grad()
def test_clip_reads_forward_and_roberta_both_ways() -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    other, mask = torch.tensor([[5, 6, 7, 9]]), torch.ones(1, 4, dtype=torch.int64)
    for model, forward in ((with_clip(), True), (with_roberta(), False)):
        first, second = model.text_encoder(ids, mask), model.text_encoder(other, mask)
        assert torch.equal(first[:, :3], second[:, :3]) is forward
        assert not torch.equal(first[:, 3], second[:, 3])


@torch.no_grad()
def test_with_roberta_too_neither_padding_nor_batch_mates_change_a_score() -> None:
    model, given = with_roberta(), inputs(4, 7)
    made = model(*given)
    image, has_image, ids, mask = given
    longer = nn.functional.pad(ids, (0, TOKENS - 7), value=1), nn.functional.pad(mask, (0, TOKENS - 7))
    torch.testing.assert_close(model(image, has_image, *longer), made, atol=1e-5, rtol=0)
    alone = torch.cat([model(*(tensor[row : row + 1] for tensor in given)) for row in range(4)])
    torch.testing.assert_close(alone, made, atol=1e-5, rtol=0)


def test_with_roberta_too_gradients_reach_every_trained_parameter() -> None:
    model = with_roberta().train()
    torch.autograd.backward(model(*inputs(4)).sum())
    untouched = [name for name, tensor in model.named_parameters() if tensor.grad is None]
    assert untouched == []
