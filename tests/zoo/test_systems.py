"""What every system of the report must do, shown on its preset for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import CanonicalSpec
from adgauge.models.layers.attention import MultiHeadAttention
from adgauge.models.layers.normalize import Normalize
from adgauge.models.registry import MODELS, SYSTEMS, TINY, Model, build, system

MODEL_FILES = Path(__file__).resolve().parents[2] / "src" / "adgauge" / "models"
NO_MODELS = {"__init__", "interface", "registry"}
NAMES = sorted(TINY)
TOKENIZER = TokenizerFile("tokenizer.json", "0" * 64)
# The report names the authors of six systems; the rows of PinCO and skywalker5165 are the same model.
SECTIONS = {"4.1", "4.2", "4.3", "4.4", "4.5", "4.6"}


def spec_of(name: str) -> CanonicalSpec:
    return system(name).canonical(TOKENIZER)


def ready(name: str, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    return build(name).eval()


def inputs(name: str, rows: int, seed: int = 7) -> dict[str, Tensor]:
    """Products that differ in everything; texts of every length from two tokens to the longest."""
    spec, generator = spec_of(name), torch.Generator().manual_seed(seed)
    tokens = spec.text.ladder[-1]
    lengths = torch.randint(2, tokens + 1, (rows, 1), generator=generator)
    lengths[0] = tokens
    mask = (torch.arange(tokens) < lengths).long()
    vocabulary = 100
    ids = torch.randint(3, vocabulary, (rows, tokens), generator=generator)
    made = {
        "image": torch.randint(0, 256, (rows, *spec.image.shape), dtype=torch.uint8, generator=generator),
        "has_image": torch.ones(rows, spec.image.count),
        "input_ids": ids * mask + spec.text.pad_id % vocabulary * (1 - mask),
        "attention_mask": mask,
    }
    if spec.categories:
        made["category_id"] = torch.randint(0, len(spec.categories) + 1, (rows, 1), generator=generator)
    if spec.numeric:
        made["numeric"] = torch.rand(rows, len(spec.numeric), generator=generator) * 5
    return made


def scores(model: Model, given: dict[str, Tensor]) -> Tensor:
    rating: Tensor = model(*given.values())
    return rating


def row(given: dict[str, Tensor], at: int) -> dict[str, Tensor]:
    return {name: tensor[at : at + 1] for name, tensor in given.items()}


def padded(given: dict[str, Tensor], name: str, by: int) -> dict[str, Tensor]:
    pad_id = spec_of(name).text.pad_id % 100
    ids = torch.nn.functional.pad(given["input_ids"], (0, by), value=pad_id)
    mask = torch.nn.functional.pad(given["attention_mask"], (0, by))
    return {**given, "input_ids": ids, "attention_mask": mask}


def shortened(given: dict[str, Tensor], tokens: int) -> dict[str, Tensor]:
    mask = given["attention_mask"].clone()
    mask[:, tokens:] = 0
    return {**given, "attention_mask": mask}


def test_every_section_of_the_report_has_its_system_and_a_small_one() -> None:
    assert {each.section for each in SYSTEMS.values()} == SECTIONS
    assert {type(build(name)) for name in TINY} == {type(_on_meta(name)) for name in SYSTEMS}


def _on_meta(name: str) -> Model:
    with torch.device("meta"):
        return build(name)


def test_every_model_file_is_one_page() -> None:
    pages = [path for path in MODEL_FILES.glob("*.py") if "class Config" in path.read_text()]
    assert len(pages) == len({type(build(name)) for name in TINY}) == 5
    assert {path.stem: lines for path in pages if (lines := len(path.read_text().splitlines())) >= 220} == {}


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_has_the_same_shape(name: str) -> None:
    model = _on_meta(name)
    assert {"image_encoder", "text_encoder", "fusion", "head"} == {
        child for child, _ in model.named_children()
    }
    assert model.limits.tokens >= spec_of(name).text.token_limit
    height, width = spec_of(name).image.shape[-2:]
    assert (height % model.limits.patch, width % model.limits.patch) == (0, 0)
    assert model.limits.size in (None, (height, width))
    given = tuple(tensor.to("meta") for tensor in inputs(name, 1).values())
    assert model(*given).shape == (1, 1)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_what_is_frozen_exists(name: str) -> None:
    parameters = [parameter for parameter, _ in _on_meta(name).named_parameters()]
    modules = {module for module, _ in _on_meta(name).named_modules()}
    for prefix in system(name).frozen:
        assert any(parameter.startswith(prefix) for parameter in parameters), prefix
    assert {path for path in system(name).encoders if path not in modules} == set()


@pytest.mark.parametrize("name", NAMES)
def test_tiny_models_have_less_than_a_million_parameters(name: str) -> None:
    assert sum(parameter.numel() for parameter in ready(name).parameters()) < 1_000_000


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_scores_are_one_number_a_row_in_the_range_and_not_all_alike(name: str) -> None:
    made = scores(ready(name), inputs(name, 8))
    assert (made.shape, made.dtype) == ((8, 1), torch.float32)
    assert ((made >= 1) & (made <= 5)).all()
    assert made.std() > 1e-6
    assert 2 < made.mean() < 4


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_batch_mates_do_not_change_a_score(name: str) -> None:
    model, given = ready(name), inputs(name, 6)
    alone = torch.cat([scores(model, row(given, at)) for at in range(6)])
    torch.testing.assert_close(scores(model, given), alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("length", [2, 7])
@torch.no_grad()
def test_padding_does_not_change_a_score(name: str, length: int) -> None:
    model, limit = ready(name), spec_of(name).text.token_limit
    given = inputs(name, 3)
    cut = {
        key: tensor[:, :length] if key in ("input_ids", "attention_mask") else tensor
        for key, tensor in given.items()
    }
    cut["attention_mask"] = torch.ones_like(cut["attention_mask"])
    longer = padded(cut, name, limit - length)
    torch.testing.assert_close(scores(model, longer), scores(model, cut), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_tokens_behind_the_mask_do_not_matter(name: str) -> None:
    model, given = ready(name), shortened(inputs(name, 3), 5)
    pad_id = spec_of(name).text.pad_id % 100
    ids = torch.where(given["attention_mask"].bool(), given["input_ids"], pad_id)
    others = torch.where(given["attention_mask"].bool(), given["input_ids"], pad_id + 1)
    first = scores(model, {**given, "input_ids": ids})
    torch.testing.assert_close(scores(model, {**given, "input_ids": others}), first, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_text_and_pictures_both_matter(name: str) -> None:
    model, given = ready(name), inputs(name, 2)
    first = scores(model, given)
    assert not torch.equal(scores(model, {**given, "image": 255 - given["image"]}), first)
    assert not torch.equal(scores(model, {**given, "input_ids": given["input_ids"].flip(0)}), first)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_without_a_picture_the_pixels_do_not_matter(name: str) -> None:
    model, given = ready(name), inputs(name, 3)
    absent = {**given, "has_image": torch.zeros_like(given["has_image"])}
    inverted = {**absent, "image": 255 - given["image"]}
    assert torch.equal(scores(model, absent), scores(model, inverted))
    assert torch.isfinite(scores(model, absent)).all()
    assert not torch.equal(scores(model, absent), scores(model, given))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_finite_and_reach_every_trained_parameter(name: str) -> None:
    model = ready(name).train()
    for parameter, tensor in model.named_parameters():
        tensor.requires_grad_(not parameter.startswith(system(name).frozen or ("-",)))
    torch.autograd.backward(scores(model, inputs(name, 4)).square().sum())
    trained = {parameter: tensor for parameter, tensor in model.named_parameters() if tensor.requires_grad}
    assert len(trained) > 0
    sound = [
        key for key, tensor in trained.items() if tensor.grad is not None and tensor.grad.isfinite().all()
    ]
    assert sound == list(trained)
    assert {key for key, tensor in model.named_parameters() if tensor.grad is not None} == set(trained)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_parameter_that_is_not_frozen_is_read_and_so_are_the_frozen_ones_but_three(name: str) -> None:
    model = _on_meta(name).train()
    given = tuple(tensor.to("meta") for tensor in inputs(name, 2).values())
    torch.autograd.backward(model(*given).sum())
    unread = {key for key, parameter in model.named_parameters() if parameter.grad is None}
    assert {key for key in unread if not key.startswith(system(name).frozen or ("-",))} == set()
    assert unread <= UNREAD


# Counted all the same: they are in the published checkpoints, and P is what is stored.
UNREAD = {
    "text_encoder.backbone.pooler.dense.weight",  # EffiMiniVLM's BERT
    "text_encoder.backbone.pooler.dense.bias",
    "image_encoder.backbone.embeddings.mask_token",  # DINOv2's, for its own pretraining
}


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_state_dict_carries_all_of_the_model(name: str) -> None:
    first, other, given = ready(name), ready(name, seed=1), inputs(name, 2)
    assert not torch.equal(scores(other, given), scores(first, given))
    other.load_state_dict(first.state_dict())
    assert torch.equal(scores(other, given), scores(first, given))


SECOND_PROCESS = """
import json, torch
from tests.zoo.test_systems import NAMES, inputs, ready, scores
with torch.no_grad():
    print(json.dumps({name: scores(ready(name), inputs(name, 3)).flatten().tolist() for name in NAMES}))
"""


@torch.no_grad()
def test_a_second_process_gives_the_same_scores() -> None:
    program = [sys.executable, "-c", SECOND_PROCESS]
    root = Path(__file__).resolve().parents[2]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=100, cwd=root)
    here = {name: scores(ready(name), inputs(name, 3)).flatten().tolist() for name in NAMES}
    assert json.loads(told.stdout) == here


def test_configurations_cannot_be_changed_by_accident() -> None:
    for name in SYSTEMS:
        each = system(name)
        with pytest.raises(AttributeError):
            setattr(each, fields(each)[0].name, None)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_ratings_keep_their_digits_under_autocast(name: str) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        made = scores(ready(name), inputs(name, 2))
    assert made.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(MODELS))
def test_batch_norms_remember_more_than_the_last_batch(name: str) -> None:
    norms = [each for each in _on_meta(name).modules() if isinstance(each, torch.nn.BatchNorm2d)]
    assert all(norm.momentum is not None and norm.momentum <= 0.1 for norm in norms)


@pytest.mark.parametrize("name", ["effimini_vlm", "effimini_vlm_torchvision"])
@torch.no_grad()
def test_a_large_model_with_random_weights_sees_pictures(name: str) -> None:
    encoder = ready(name).image_encoder
    image = torch.randint(
        0, 256, (1, 3, 224, 224), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    seen, inverted = encoder(image), encoder(255 - image)
    assert (seen - inverted).norm() > 1e-3 * seen.norm() > 0


# What neither P nor F shows: a wrong one would train and serve without a word.
PUBLISHED_STATISTICS = {
    "effimini_vlm": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "effimini_vlm_torchvision": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "effimini_lite0": ((0.498, 0.498, 0.498), (0.502, 0.502, 0.502)),
    "smolvlm_olacnqoddchl": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "smolvlm_wleach": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "lovif_clip": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "lovif_roberta": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "latent_query": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "latent_query_k1": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "pinco": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@pytest.mark.parametrize("name", sorted(set(MODELS) - set(TINY)))
def test_pixels_are_normalised_as_the_encoder_was_pretrained(name: str) -> None:
    means, deviations = PUBLISHED_STATISTICS[name]
    normalize = build_normalize(name)
    assert (normalize.mean.flatten() / 255).tolist() == pytest.approx(means, abs=1e-6)
    assert (normalize.std.flatten() / 255).tolist() == pytest.approx(deviations, abs=1e-6)


def build_normalize(name: str) -> Normalize:
    found = build(name).image_encoder.normalize
    assert isinstance(found, Normalize)
    return found


@pytest.mark.parametrize("name", ["lovif_clip", "lovif_roberta", "latent_query", "pinco"])
def test_fusions_have_eight_heads_and_drop_a_tenth(name: str) -> None:
    fusion = _on_meta(name).fusion
    attentions = [each for each in fusion.modules() if isinstance(each, MultiHeadAttention)]
    assert {each.heads for each in attentions} == {8}
    assert {each.p for each in fusion.modules() if isinstance(each, torch.nn.Dropout)} == {0.1}


def test_smolvlms_pictures_are_resized_bilinearly_and_category_ids_keep_their_order() -> None:
    resized = {name: spec_of(name).image.interpolation for name in SYSTEMS if name.startswith("smolvlm")}
    assert resized == {"smolvlm_olacnqoddchl": "bilinear", "smolvlm_wleach": "bilinear"}
    categories = spec_of("pinco").categories
    assert (len(categories), list(categories)) == (33, sorted(categories))
