"""The recipe of the head: examples, losses, training and what it leaves."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.models.registry import build
from adgauge.training.checkpoint import WEIGHTS_FILE, Checkpoint, load_checkpoint, load_state, save_checkpoint
from adgauge.training.creatives import LONG_SIDE, fit, render_creative
from adgauge.training.data import CLEAN, Groups, canonical_pixels, picture_groups, text_groups
from adgauge.training.finetune import contract_of, finetune, main
from adgauge.training.head import Standardizer, Variants, compose, fold
from adgauge.training.losses import difference_loss, level_loss, ranking_loss
from adgauge.training.picture_damages import PICTURE_DAMAGES, damage_picture
from adgauge.training.recipe import Recipe, load_recipe
from adgauge.training.text_damages import TEXT_DAMAGES, damage_text
from adgauge.training.texts import Grammar, ProductText
from tests.contracts import text_spec

RECIPES = Path(__file__).resolve().parents[2] / "src" / "adgauge" / "training" / "recipes"
VOCABULARY = ["ember", "harbor", "quill"]


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The default recipe for the tiny model, on a handful of examples."""
    default = load_recipe(RECIPES / "effimini_lite0_head.toml")
    data = default.data.model_copy(update={"creatives_per_photo": 2, "texts": 8, "held_out_every": 4})
    image = default.canonical.image.model_copy(update={"height": 32, "width": 32})
    canonical = default.canonical.model_copy(update={"text": text_spec(tmp_path), "image": image})
    lighter = {"feature_dropout": 0.0, "picture_shift": 0.5, "shared_noise": 0.1, "learning_rate": 5e-3}
    steps = {"epochs": 40, "groups_per_batch": 4}
    optimization = default.optimization.model_copy(update=lighter | steps)
    changes = {"model": "effimini_tiny", "data": data, "canonical": canonical, "optimization": optimization}
    return default.model_copy(update=changes)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Eight pictures of coloured noise and one with transparency, as photographs."""
    folder = tmp_path / "photos"
    folder.mkdir()
    generator = np.random.default_rng(2)
    for number in range(8):
        pixels = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        fit(Image.fromarray(pixels), 240).save(folder / f"{number}.png")
    ghost = Image.new("RGBA", (100, 80), (0, 0, 0, 0))
    ghost.paste((200, 30, 30, 255), (20, 10, 70, 60))
    ghost.save(folder / "ghost.png")
    return sorted(folder.iterdir())


def test_every_recipe_can_be_read() -> None:
    found = sorted(RECIPES.glob("**/*_head.toml"))
    assert [load_recipe(path).model for path in found] == ["effimini_lite0"]


@pytest.mark.parametrize(
    ("change", "named"),
    [("seed = 20", "seed"), ("epochs = 10", "optimization.epochs"), ("clean = 4.4", "targets.clean")],
)
def test_a_recipe_that_leaves_something_out_is_refused_by_name(
    tmp_path: Path, change: str, named: str
) -> None:
    text = (RECIPES / "effimini_lite0_head.toml").read_text()
    assert change in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(change, ""))
    with pytest.raises(ConfigurationError, match=named):
        load_recipe(path)


def test_one_seed_gives_the_same_creative_and_damage_again(photos: list[Path]) -> None:
    with Image.open(photos[0]) as file:
        photo = file.convert("RGB")
    first, second = (render_creative(random.Random(5), photo) for _ in range(2))
    assert first.picture.tobytes() == second.picture.tobytes()
    for kind in PICTURE_DAMAGES:
        one, other = (damage_picture(random.Random(6), first.picture, kind) for _ in range(2))
        assert one[0].tobytes() == other[0].tobytes()
        assert one[1] == other[1]


@pytest.mark.parametrize("kind", sorted(PICTURE_DAMAGES))
def test_each_damage_changes_the_picture_keeps_its_size_and_costs_points(
    photos: list[Path], kind: str
) -> None:
    with Image.open(photos[1]) as file:
        creative = render_creative(random.Random(1), file.convert("RGB")).picture
    damaged, drop = damage_picture(random.Random(2), creative, kind)
    assert (damaged.size, damaged.mode) == (creative.size, "RGB")
    assert damaged.tobytes() != creative.tobytes()
    assert drop > 0
    assert max(creative.size) == LONG_SIDE


@pytest.mark.parametrize("kind", sorted(TEXT_DAMAGES))
def test_each_damage_changes_the_text_and_costs_points(kind: str) -> None:
    text = Grammar(VOCABULARY).product(random.Random(4))
    damaged, drop = damage_text(random.Random(3), text, kind)
    assert damaged != text
    assert drop > 0


def test_garbling_keeps_the_letters_of_every_word() -> None:
    text = ProductText("Books", "The silent river", ("A quiet drama",), "Nobody believes the old captain.")
    garbled, _ = damage_text(random.Random(0), text, "garbled")
    before, after = (" ".join((t.title, *t.features, t.description)).split() for t in (text, garbled))
    assert [sorted(word) for word in after] == [sorted(word) for word in before]


def test_the_grammar_leaves_no_slot_unfilled_and_writes_both_products_and_stories() -> None:
    grammar = Grammar(VOCABULARY)
    texts = [grammar.product(random.Random(number)) for number in range(300)]
    assert not any(
        mark in json.dumps(text.record("x")) for text in texts for mark in ("{category}", "{vocab")
    )
    categories = {text.main_category for text in texts}
    assert {"Movies & TV", "Electronics", ""} <= categories


def test_difference_loss_ignores_what_all_variants_share() -> None:
    targets = torch.tensor([[4.0, 3.0, 2.0]])
    assert difference_loss(targets + 1.5, targets, beta=0.3).item() == pytest.approx(0)
    assert level_loss(targets + 1.5, targets, beta=0.3).item() == pytest.approx(1.35)


def test_ranking_loss_prefers_the_right_order_and_ignores_near_ties() -> None:
    targets = torch.tensor([[4.0, 3.0, 2.95]])
    right, wrong = torch.tensor([[3.0, 2.0, 2.0]]), torch.tensor([[2.0, 3.0, 3.0]])
    assert ranking_loss(right, targets) < ranking_loss(wrong, targets)
    assert ranking_loss(right, torch.full((1, 3), 2.0)).item() == 0


def test_folding_makes_the_head_take_raw_features() -> None:
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(5, 3), nn.GELU(), nn.Linear(3, 1))
    scales = [Standardizer(torch.randn(n), torch.rand(n) + 0.5) for n in (2, 3)]
    raw = torch.randn(7, 5)
    standardized = torch.cat((scales[0](raw[:, :2]), scales[1](raw[:, 2:])), dim=1)
    expected = head(standardized)
    fold(head, scales)
    torch.testing.assert_close(head(raw), expected, atol=1e-5, rtol=1e-5)


def test_a_product_has_rows_of_each_modality_damaged_of_both_and_without_a_picture(recipe: Recipe) -> None:
    still = {"picture_shift": 0.0, "text_shift": 0.0, "shared_noise": 0.0, "feature_dropout": 0.0}
    looks = Variants(torch.arange(6.0).view(1, 3, 2), torch.tensor([[0.0, 1.0, 2.0]]))
    reads = Variants(torch.arange(4.0).view(1, 2, 2) + 10, torch.tensor([[0.0, 0.5]]))
    optimization = recipe.optimization.model_copy(update=still)
    features, drops = compose(looks, reads, torch.full((2,), -1.0), recipe.targets, optimization)
    assert features.shape == (1, 3 + 2 + 4 + 1, 4)
    assert drops[0, :5].tolist() == [0, 1, 2, 0, 0.5]
    assert features[0, 1].tolist() == [2, 3, 10, 11]
    assert features[0, 4].tolist() == [0, 1, 12, 13]
    assert features[0, -1].tolist() == [-1, -1, 10, 11]
    assert drops[0, -1].item() == pytest.approx(recipe.targets.no_image)


def made_groups(recipe: Recipe, photos: list[Path], tmp_path: Path) -> tuple[Groups, Groups]:
    torch.manual_seed(recipe.seed)
    model = build(recipe.model).eval()
    pictures = picture_groups(model, recipe, photos, tmp_path / "cache", jobs=1)
    return pictures, text_groups(model, recipe, tmp_path, tmp_path / "cache")


def test_training_on_a_small_set_lowers_the_loss_and_is_the_same_every_time(
    recipe: Recipe, photos: list[Path], tmp_path: Path
) -> None:
    pictures, texts = made_groups(recipe, photos, tmp_path)
    assert pictures.features.shape == (18, 8, 32)
    assert texts.features.shape == (8, 6, 16)
    assert (pictures.kinds[:, 0] == CLEAN).all()
    assert not (pictures.kinds[:, 1:] == CLEAN).any()
    heads = []
    for _ in range(2):
        torch.manual_seed(recipe.seed)
        model = build(recipe.model).eval()
        metrics = finetune(recipe, model, pictures, texts)
        heads.append(model.head.state_dict())
    assert isinstance(metrics["last_loss"], float)
    assert isinstance(metrics["first_loss"], float)
    assert metrics["last_loss"] < 0.8 * metrics["first_loss"]
    assert all(torch.equal(heads[0][name], heads[1][name]) for name in heads[0])
    assert all(torch.equal(tensor, tensor.half().float()) for tensor in heads[0].values())


def test_features_are_computed_once_for_one_recipe(
    recipe: Recipe, photos: list[Path], tmp_path: Path
) -> None:
    first, _ = made_groups(recipe, photos[:2], tmp_path)
    model = build(recipe.model).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    again = picture_groups(model, recipe, photos[:2], tmp_path / "cache", jobs=1)
    np.testing.assert_array_equal(again.features, first.features)


def test_pixels_come_from_the_canonicalizer(recipe: Recipe) -> None:
    pixels = canonical_pixels(Image.new("RGB", (50, 90), (10, 20, 30)), recipe.canonical.image)
    assert pixels.shape == (3, 32, 32)
    assert [int(channel.mean()) for channel in pixels] == [10, 20, 30]


@pytest.fixture
def checkpoint(recipe: Recipe) -> Checkpoint:
    model = build(recipe.model)
    state = {f"head.{name}": tensor.half() for name, tensor in model.head.state_dict().items()}
    return Checkpoint(state, contract_of(recipe, "r.toml", model, "noise"), "seed = 1\n", {"last_loss": 0.5})


def test_a_checkpoint_reads_as_it_was_written(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(tmp_path / "made", checkpoint)
    read = load_checkpoint(tmp_path / "made")
    assert read.metrics == checkpoint.metrics
    assert read.recipe == checkpoint.recipe
    assert read.contract.spec == checkpoint.contract.spec
    assert all(torch.equal(read.state[name], tensor) for name, tensor in checkpoint.state.items())


def test_a_checkpoint_whose_weights_were_exchanged_is_refused(tmp_path: Path, checkpoint: Checkpoint) -> None:
    save_checkpoint(tmp_path / "made", checkpoint)
    (tmp_path / "made" / WEIGHTS_FILE).write_bytes(b"something else")
    with pytest.raises(ContractMismatch, match=WEIGHTS_FILE):
        load_checkpoint(tmp_path / "made")


def test_tensors_of_another_model_are_refused() -> None:
    with pytest.raises(ContractMismatch, match=r"tail\.weight"):
        load_state(build("effimini_tiny"), {"tail.weight": torch.zeros(1)})


def test_training_without_photographs_is_one_line_that_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = RECIPES / "effimini_lite0_head.toml"
    assert main([str(recipe), "--photos", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "make weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
