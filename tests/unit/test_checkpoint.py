"""Checkpoints that are damaged, or of another model, are refused in one line that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from adgauge.contract import CONTRACT_FILE, file_sha256
from adgauge.errors import ContractMismatch
from adgauge.models.effimini import EffiMini, effimini_tiny
from adgauge.models.registry import TINY
from adgauge.training.checkpoint import (
    METRICS_FILE,
    RECIPE_FILE,
    WEIGHTS_FILE,
    Checkpoint,
    load_checkpoint,
    load_state,
    save_checkpoint,
)
from tests.contracts import contract

RECIPE = 'model = "effimini_tiny"\n'


@pytest.fixture(scope="module")
def model() -> EffiMini:
    torch.manual_seed(0)
    return EffiMini(effimini_tiny())


def head(model: torch.nn.Module) -> dict[str, Tensor]:
    return {name: each.half() for name, each in model.state_dict().items() if name.startswith("head.")}


@pytest.fixture(scope="module")
def made(model: EffiMini, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a sound checkpoint, whose files tests leave as they are."""
    folder = tmp_path_factory.mktemp("checkpoint")
    save_checkpoint(folder, Checkpoint(head(model), contract(folder), RECIPE, {"last_loss": 0.5}))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    for file in made.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def refused(folder: Path, said: str) -> None:
    with pytest.raises(ContractMismatch, match=said) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def mismatch(model: torch.nn.Module, state: Mapping[str, Tensor]) -> str:
    """What is said of a state; the model must be as it was."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ContractMismatch) as caught:
        load_state(model, state, made_for="pinco")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_trained_tensors_are_put_in_whatever_precision_they_are_stored_in(model: EffiMini) -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        other = EffiMini(effimini_tiny())
        stored = {name: tensor.to(dtype) for name, tensor in head(model).items()}
        load_state(other, stored)
        put = {name: other.state_dict()[name] for name in stored}
        assert {name: tensor.dtype for name, tensor in put.items()} == dict.fromkeys(stored, torch.float32)
        assert all(torch.equal(tensor, stored[name].float()) for name, tensor in put.items())


END = ": the checkpoint is for pinco, this is EffiMini"
FLOATS = "float32, float16 or bfloat16"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.update(tail=torch.zeros(1)), "the model has no tail"),
        (lambda t: t.update({"head\n": torch.zeros(1)}), "the model has no head"),
        (lambda t: t.pop("head.4.bias"), "the checkpoint lacks head.4.bias"),
        (
            lambda t: t.clear(),
            "the checkpoint lacks head.0.weight, head.0.bias, head.1.weight and 7 more",
        ),
        (
            lambda t: t.update({"head.7.weight": torch.zeros(1, 9)}),
            f"head.7.weight is float32 [1, 9], must be {FLOATS} [1, 8]",
        ),
        (
            lambda t: t.update({"head.7.bias": torch.zeros(())}),
            f"head.7.bias is float32 [], must be {FLOATS} [1]",
        ),
        (
            lambda t: t.update({"head.7.bias": torch.zeros(1, dtype=torch.float64)}),
            f"head.7.bias is float64 [1], must be {FLOATS} [1]",
        ),
        (
            lambda t: t.update({"head.7.bias": torch.zeros(1, dtype=torch.int8)}),
            f"head.7.bias is int8 [1], must be {FLOATS} [1]",
        ),
        (
            lambda t: t.update({"head.7.bias": torch.tensor([torch.nan])}),
            "head.7.bias holds 1 values that are not finite, must hold none",
        ),
        (
            lambda t: t.update({"head.0.bias": torch.full((16,), -torch.inf)}),
            "head.0.bias holds 16 values that are not finite, must hold none",
        ),
    ],
)
def test_the_first_tensor_that_does_not_fit_is_named(
    change: Callable[[dict[str, Tensor]], object], said: str, model: EffiMini
) -> None:
    state = head(model)
    change(state)
    assert mismatch(model, state) == said + END


@pytest.mark.parametrize("name", sorted(set(TINY) - {"effimini_tiny"}))
def test_a_head_of_another_architecture_is_refused(name: str, model: EffiMini) -> None:
    said = mismatch(model, head(TINY[name].build()))
    assert said.startswith(("the model has no head.", "head.0.weight is float16 ["))
    assert said.endswith(END)


def test_what_is_trained_must_be_there_encoders_included(model: EffiMini) -> None:
    state = model.state_dict()
    load_state(model, state, untrained=())
    with pytest.raises(ContractMismatch, match=r"lacks image_encoder\."):
        load_state(model, head(model), untrained=("text_encoder.",))


def test_a_checkpoint_says_which_model_it_is_for(made: Path) -> None:
    assert load_checkpoint(made).made_for == "effimini_tiny"


@pytest.mark.parametrize("recipe", ["", "model = 3", "model", "\x00"])
def test_a_recipe_that_names_no_model_is_refused(recipe: str, made: Path) -> None:
    found = load_checkpoint(made)
    with pytest.raises(ContractMismatch, match=RECIPE_FILE):
        _ = Checkpoint(found.state, found.contract, recipe, found.metrics).made_for


@pytest.mark.parametrize("name", [WEIGHTS_FILE, RECIPE_FILE, METRICS_FILE, CONTRACT_FILE])
def test_a_file_that_is_missing_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    refused(folder, name)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (METRICS_FILE, b"{", "train again"),
        (METRICS_FILE, b"[]", "must be a JSON object, is list"),
        (METRICS_FILE, b"\xff", "train again"),
        (RECIPE_FILE, b"\xff", "train again"),
        (CONTRACT_FILE, b"{}", "contract"),
        (WEIGHTS_FILE, b"", "is not the file its contract names"),
    ],
)
def test_a_file_that_is_damaged_is_refused(name: str, content: bytes, said: str, folder: Path) -> None:
    (folder / name).write_bytes(content)
    refused(folder, said)


def test_a_contract_that_does_not_vouch_for_the_weights_is_refused(folder: Path) -> None:
    vouch(folder, {})
    refused(folder, f"weights must name {WEIGHTS_FILE}")


def vouch(folder: Path, weights: Mapping[str, str]) -> None:
    text = json.loads((folder / CONTRACT_FILE).read_text())
    (folder / CONTRACT_FILE).write_text(json.dumps(text | {"weights": weights}))


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Cuts a file off, or flips some of its bits, in its header more often than not."""
    if draw(st.booleans()):
        share = draw(st.floats(0, 1, exclude_max=True))
        return lambda whole: whole[: int(len(whole) * share)]
    places = draw(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1))

    def flip(whole: bytes) -> bytes:
        damaged = bytearray(whole)
        for share, bit in places:
            damaged[int(len(whole) * share**2)] ^= 1 << bit
        return bytes(damaged)

    return flip


@given(damage=damages())
@settings(max_examples=300, deadline=None)
def test_damaged_weights_raise_our_error_even_where_the_contract_vouches_for_them(
    damage: Callable[[bytes], bytes], made: Path, model: EffiMini, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged", numbered=True)
    for file in made.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    whole = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(damaged := damage(whole))
    if damaged != whole:
        refused(folder, "is not the file its contract names")
    vouch(folder, {WEIGHTS_FILE: file_sha256(folder / WEIGHTS_FILE)})
    assert "\n" not in said_of(folder)


def said_of(folder: Path) -> str:
    """What is said of a checkpoint; nothing when it loads. Any other error comes through."""
    try:
        load_state(EffiMini(effimini_tiny()), load_checkpoint(folder).state)
    except ContractMismatch as error:
        return str(error)
    return ""
