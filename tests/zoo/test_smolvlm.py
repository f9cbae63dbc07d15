"""The SmolVLM regressor: transformers' own numbers, the report's figures, and pictures that are missing."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from transformers import LlamaConfig, SmolVLMConfig, SmolVLMModel, SmolVLMVisionConfig

from adgauge.models.interface import Limits
from adgauge.models.registry import build, system
from adgauge.models.smolvlm import SmolVLM, grid_positions

IMAGE_TOKENS, IMAGE_TOKEN_ID = 4, 49190
TABLE_SIDE = 11  # positions a side, of which the picture has 8


@pytest.fixture(scope="module")
def tiny() -> SmolVLM:
    torch.manual_seed(0)
    return smolvlm_built("smolvlm_tiny")


def smolvlm_built(name: str) -> SmolVLM:
    model = build(name).eval()
    assert isinstance(model, SmolVLM)
    return model


def inputs(rows: int, tokens: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (rows, 3, 32, 32), dtype=torch.uint8, generator=generator)
    ids = torch.randint(3, 49_000, (rows, tokens), generator=generator)
    mask = (torch.arange(tokens) < torch.randint(2, tokens + 1, (rows, 1), generator=generator)).long()
    return image, torch.ones(rows, 1), ids, mask


def published() -> SmolVLMModel:
    """transformers' model in the sizes of `smolvlm_tiny`, with a larger table of positions."""
    config = SmolVLMConfig(
        image_token_id=IMAGE_TOKEN_ID,
        scale_factor=4,
        vision_config=SmolVLMVisionConfig(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            patch_size=4,
            image_size=4 * TABLE_SIDE,
        ),
        text_config=LlamaConfig(
            vocab_size=49280,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            intermediate_size=32,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100000.0},
            pad_token_id=2,
        ),
    )
    torch.manual_seed(5)
    model = SmolVLMModel(config)
    model.train(False)
    model.set_attn_implementation("eager")
    torch.nn.init.normal_(model.vision_model.embeddings.position_embedding.weight)
    return model


def load(model: SmolVLM, theirs: SmolVLMModel) -> None:
    model.image_encoder.vision_model.load_state_dict(theirs.vision_model.state_dict())
    model.image_encoder.connector.load_state_dict(theirs.connector.state_dict())
    text = theirs.text_model.state_dict()
    model.text_encoder.embed_tokens.load_state_dict({"weight": text.pop("embed_tokens.weight")})
    model.fusion.text_model.load_state_dict(text)


def read(model: SmolVLM, image: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """The last hidden states, of a product with a picture."""
    embedded = torch.cat((model.image_encoder(image), model.text_encoder(ids)), dim=1)
    present = torch.ones(len(ids), IMAGE_TOKENS, dtype=torch.int64)
    states: Tensor = model.fusion.read(embedded, torch.cat((present, mask), dim=1))
    return states


@torch.no_grad()
def test_hidden_states_are_those_of_transformers_bit_by_bit() -> None:
    theirs, ours = published(), smolvlm_built("smolvlm_tiny")
    load(ours, theirs)
    image, _, ids, mask = inputs(3)
    expected = theirs(
        input_ids=torch.cat((torch.full((3, IMAGE_TOKENS), IMAGE_TOKEN_ID), ids), dim=1),
        attention_mask=torch.cat((torch.ones(3, IMAGE_TOKENS, dtype=torch.int64), mask), dim=1),
        pixel_values=ours.image_encoder.normalize(image)[:, None],
    ).last_hidden_state
    found = read(ours, image, ids, mask)
    assert torch.equal(found[:, :IMAGE_TOKENS], expected[:, :IMAGE_TOKENS])
    assert torch.equal(found[:, IMAGE_TOKENS:][mask == 1], expected[:, IMAGE_TOKENS:][mask == 1])
    assert expected.std() > 0.1


def test_of_a_larger_table_the_positions_of_a_full_picture_are_loaded() -> None:
    theirs, ours = published(), smolvlm_built("smolvlm_tiny")
    load(ours, theirs)
    table = theirs.vision_model.embeddings.position_embedding.weight
    loaded = ours.image_encoder.vision_model.embeddings.position_embedding.weight
    rows = [math.floor(row * TABLE_SIDE / 8) for row in range(8)]
    expected = table.view(TABLE_SIDE, TABLE_SIDE, -1)[rows][:, rows].flatten(0, 1)
    assert torch.equal(loaded, expected)


def test_a_table_that_is_too_small_is_refused() -> None:
    ours = smolvlm_built("smolvlm_tiny")
    state = ours.state_dict()
    state["image_encoder.vision_model.embeddings.position_embedding.weight"] = torch.zeros(49, 16)
    with pytest.raises(RuntimeError, match=r"size mismatch for .*position_embedding"):
        ours.load_state_dict(state)


def test_a_picture_of_384_uses_576_of_the_published_1024_positions() -> None:
    positions = grid_positions(24, 32)
    assert len(set(positions.tolist())) == 576
    steps = [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, 16, 17, 18, 20, 21, 22, 24, 25, 26, 28, 29, 30]
    assert positions[:24].tolist() == steps
    assert positions[::24].tolist() == [32 * step for step in steps]


@torch.no_grad()
def test_what_is_read_is_averaged_over_image_and_text_but_not_over_padding(tiny: SmolVLM) -> None:
    image, has_image, ids, mask = inputs(4)
    states = read(tiny, image, ids, mask)
    expected = torch.stack(
        [row[: IMAGE_TOKENS + length].mean(0) for row, length in zip(states, mask.sum(1), strict=True)]
    )
    found = tiny.fusion(tiny.image_encoder(image), has_image, tiny.text_encoder(ids), mask)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@torch.no_grad()
def test_without_a_picture_the_text_is_read_as_if_alone_but_where_it_was(tiny: SmolVLM) -> None:
    image, has_image, ids, _ = inputs(2)
    mask = torch.ones_like(ids)
    model = tiny.fusion.text_model
    positions = torch.arange(IMAGE_TOKENS, IMAGE_TOKENS + ids.shape[1])[None]
    expected = model(inputs_embeds=tiny.text_encoder(ids), position_ids=positions).last_hidden_state.mean(1)
    absent = torch.zeros_like(has_image)
    found = tiny.fusion(tiny.image_encoder(image), absent, tiny.text_encoder(ids), mask)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_a_later_token_does_not_change_what_was_read_before_it(tiny: SmolVLM) -> None:
    image, _, ids, _ = inputs(2)
    mask, other = torch.ones_like(ids), ids.clone()
    other[:, 6] += 1
    first, second = read(tiny, image, ids, mask), read(tiny, image, other, mask)
    assert torch.equal(first[:, : IMAGE_TOKENS + 6], second[:, : IMAGE_TOKENS + 6])
    assert not torch.equal(first[:, IMAGE_TOKENS + 6 :], second[:, IMAGE_TOKENS + 6 :])


def on_meta(name: str) -> SmolVLM:
    with torch.device("meta"):
        return smolvlm_built(name)


def counted(tokens: int) -> FlopCounterMode:
    """FLOPs of one product whose picture and text have so many tokens together."""
    text = torch.ones(1, tokens - 36, dtype=torch.int64, device="meta")
    image = torch.zeros(1, 3, 384, 384, dtype=torch.uint8, device="meta")
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        on_meta("smolvlm_wleach")(image, torch.ones(1, 1, device="meta"), text, text)
    return counter


@pytest.mark.parametrize("name", ["smolvlm_olacnqoddchl", "smolvlm_wleach"])
def test_parameters_are_those_of_the_report(name: str) -> None:
    model = on_meta(name)
    parts = {part: sum(p.numel() for p in module.parameters()) for part, module in model.named_children()}
    assert parts == {
        "image_encoder": 93_166_848,
        "text_encoder": 28_385_280,
        "fusion": 106_203_456,
        "head": 166_465,
    }
    assert round(sum(parts.values()) / 1e6, 2) == 227.92


def test_limits_are_those_of_the_positions() -> None:
    assert on_meta("smolvlm_wleach").limits == Limits(8192 - 36, patch=64, size=(384, 384))


def test_the_reported_cost_is_multiply_accumulates_of_112_tokens_without_attention_products() -> None:
    counter = counted(tokens=112)
    layers = sum(
        flops for operator, flops in counter.get_flop_counts()["Global"].items() if "bmm" not in str(operator)
    )
    assert layers / 2 == pytest.approx(61.44e9, rel=0.001)
    assert counter.get_total_flops() == 135_913_476_672


@pytest.mark.parametrize(("tokens", "gflops"), [(37, 119.2), (2560, 1107.8)])
def test_cost_grows_with_the_text(tokens: int, gflops: float) -> None:
    assert round(counted(tokens).get_total_flops() / 1e9, 1) == gflops


@pytest.mark.parametrize(("name", "millions"), [("smolvlm_olacnqoddchl", 141.8), ("smolvlm_wleach", 134.8)])
def test_teams_train_what_they_did_not_freeze(name: str, millions: float) -> None:
    trained = [p for key, p in on_meta(name).named_parameters() if not key.startswith(system(name).frozen)]
    assert round(sum(p.numel() for p in trained) / 1e6, 1) == millions
