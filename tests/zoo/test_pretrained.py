"""Published weights find their places in every system, or one line says why they do not."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    BertForPreTraining,
    BertModel,
    CLIPConfig,
    CLIPModel,
    DebertaV2ForMaskedLM,
    Dinov2ForImageClassification,
    DistilBertForMaskedLM,
    EfficientNetConfig,
    EfficientNetForImageClassification,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
    SmolVLMConfig,
    SmolVLMForConditionalGeneration,
    Swinv2ForImageClassification,
)

from adgauge.errors import ConfigurationError
from adgauge.models.effimini import EffiMini, effimini_tiny
from adgauge.models.lovif import LoViF, lovif_tiny
from adgauge.models.packaged import LITE0, MINILM, PACKAGED, load_packaged
from adgauge.models.pretrained import RANDOM, Loaded, from_pretrained, load_system
from adgauge.models.registry import SYSTEMS, TINY, Model, System
from adgauge.models.smolvlm import used_positions
from tests.zoo.test_systems import inputs, scores

ROOT = Path(__file__).resolve().parents[2]
EFFICIENTNET = "google/efficientnet-b0"
MINILM_BERT = "nreimers/MiniLMv2-L6-H384-distilled-from-BERT-Large"
CLIP = "openai/clip-vit-base-patch32"
SMOLVLM = "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
SWIN = "microsoft/swinv2-tiny-patch4-window8-256"
DEBERTA = "microsoft/deberta-v3-small"

Stock = Callable[[Model], PreTrainedModel]


@dataclass(frozen=True)
class Case:
    """A system of a size for tests that starts from the weights that its full size starts from."""

    known: System
    tiny: str  # whose inputs it takes
    stock: Mapping[str, Stock]  # hub id → transformers' own model, of the sizes of a model's encoders
    inside: Mapping[str, str]  # encoder → the same module inside of the stock model


def config(model: Model, encoder: str) -> Any:
    return model.get_submodule(encoder).config


def clip(model: Model) -> PreTrainedModel:
    """Both towers; where only the image's is used, with any text tower."""
    text = config(model, "text_encoder.backbone")
    tower = text if text.model_type == "clip_text_model" else lovif_tiny().text_encoder
    vision = config(model, "image_encoder.backbone")
    return CLIPModel(CLIPConfig(vision_config=vision.to_dict(), text_config=tower.to_dict()))


def smolvlm(model: Model) -> PreTrainedModel:
    return SmolVLMForConditionalGeneration(
        SmolVLMConfig(
            vision_config=config(model, "image_encoder.vision_model").to_dict(),
            text_config=config(model, "fusion.text_model").to_dict(),
            scale_factor=4,
        )
    )


def stock(kind: Callable[..., PreTrainedModel], encoder: str) -> Stock:
    return lambda model: kind(config(model, encoder))


def efficientnet_system() -> System:
    image = EfficientNetConfig(
        image_size=64, width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, dropout_rate=0.1
    )
    tiny = replace(effimini_tiny(), image_encoder=image, pooler=True)
    known = replace(TINY["effimini_tiny"], build=lambda: EffiMini(tiny))
    return replace(known, encoders=SYSTEMS["effimini_vlm"].encoders)


def roberta_system() -> System:
    text = RobertaConfig(
        vocab_size=120, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    tiny = replace(lovif_tiny(), text_encoder=text)
    known = replace(TINY["lovif_tiny"], build=lambda: LoViF(tiny))
    return replace(known, encoders=SYSTEMS["lovif_roberta"].encoders)


CASES: Mapping[str, Case] = {
    "effimini_vlm": Case(
        efficientnet_system(),
        "effimini_tiny",
        {
            EFFICIENTNET: stock(EfficientNetForImageClassification, "image_encoder.backbone"),
            MINILM_BERT: stock(BertForPreTraining, "text_encoder.backbone"),
        },
        {"image_encoder.backbone": "efficientnet", "text_encoder.backbone": "bert"},
    ),
    "lovif_clip": Case(
        replace(TINY["lovif_tiny"], encoders=SYSTEMS["lovif_clip"].encoders),
        "lovif_tiny",
        {CLIP: clip},
        {"image_encoder.backbone": "vision_model", "text_encoder.backbone": "text_model"},
    ),
    "lovif_roberta": Case(
        roberta_system(),
        "lovif_tiny",
        {CLIP: clip, "FacebookAI/roberta-base": stock(RobertaForMaskedLM, "text_encoder.backbone")},
        {"image_encoder.backbone": "vision_model", "text_encoder.backbone": "roberta"},
    ),
    "smolvlm_wleach": Case(
        replace(TINY["smolvlm_tiny"], encoders=SYSTEMS["smolvlm_wleach"].encoders),
        "smolvlm_tiny",
        {SMOLVLM: smolvlm},
        {
            "image_encoder.vision_model": "model.vision_model",
            "image_encoder.connector": "model.connector",
            "text_encoder.embed_tokens": "model.text_model.embed_tokens",
            "fusion.text_model": "model.text_model",
        },
    ),
    "latent_query": Case(
        replace(TINY["latent_query_tiny"], encoders=SYSTEMS["latent_query"].encoders),
        "latent_query_tiny",
        {
            "facebook/dinov2-base": stock(Dinov2ForImageClassification, "image_encoder.backbone"),
            "distilbert/distilbert-base-uncased": stock(DistilBertForMaskedLM, "text_encoder.backbone"),
        },
        {"image_encoder.backbone": "dinov2", "text_encoder.backbone": "distilbert"},
    ),
    "pinco": Case(
        replace(TINY["pinco_tiny"], encoders=SYSTEMS["pinco"].encoders),
        "pinco_tiny",
        {
            SWIN: stock(Swinv2ForImageClassification, "image_encoder.backbone"),
            DEBERTA: stock(DebertaV2ForMaskedLM, "text_encoder.backbone"),
        },
        {"image_encoder.backbone": "swinv2", "text_encoder.backbone": "deberta"},
    ),
}


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def publish(case: Case, folder: Path, layout: str = "--") -> dict[str, PreTrainedModel]:
    """Save transformers' own models with weights of their own into a folder, as a download leaves them."""
    torch.manual_seed(11)
    made = {}
    for published, build in case.stock.items():
        made[published] = build(case.known.build())
        scatter(made[published])
        made[published].save_pretrained(folder / published.replace("/", layout))
    return made


@torch.no_grad()
def scatter(module: nn.Module) -> None:
    """No two tensors alike: fresh norms and biases are ones and zeros everywhere."""
    for tensor in module.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) * 0.5 + 0.1)


def load(case: Case, source: Path | None, name: str = "tested") -> Loaded:
    torch.manual_seed(5)
    return load_system(name, case.known, source)


def fresh(case: Case) -> Mapping[str, Tensor]:
    torch.manual_seed(5)
    return case.known.build().state_dict()


def test_every_published_checkpoint_of_the_registry_is_tested() -> None:
    registered = {published for known in SYSTEMS.values() for published in known.encoders.values()}
    tested = {published for case in CASES.values() for published in case.stock}
    assert registered == tested | set(PACKAGED)
    assert {name: case.known.encoders for name, case in CASES.items()} == {
        name: SYSTEMS[name].encoders for name in CASES
    }


@pytest.mark.parametrize("name", CASES)
def test_encoders_get_every_tensor_of_the_published_model_and_the_rest_stays_as_it_was(
    name: str, tmp_path: Path
) -> None:
    case = CASES[name]
    made, loaded, before = publish(case, tmp_path), load(case, tmp_path), fresh(case)
    state = loaded.model.state_dict()
    filled = set()
    for encoder, published in case.known.encoders.items():
        theirs = made[published].get_submodule(case.inside[encoder]).state_dict()
        for key in loaded.model.get_submodule(encoder).state_dict():
            assert torch.equal(state[f"{encoder}.{key}"], theirs[key]), key
            filled.add(f"{encoder}.{key}")
    assert {key for key in state if torch.equal(state[key], before[key])} == {
        key for key in state if key not in filled or key.endswith("num_batches_tracked")
    }
    assert loaded.origins == {
        encoder: str(tmp_path / published.replace("/", "--"))
        for encoder, published in case.known.encoders.items()
    }


@torch.no_grad()
def rated(source: Path) -> dict[str, list[float]]:
    """Scores of every case, its weights from a folder."""
    made = {}
    for name, case in CASES.items():
        model = load(case, source / name).model.eval()
        made[name] = scores(model, inputs(case.tiny, 3)).flatten().tolist()
    return made


SECOND_PROCESS = """
import json, sys
from pathlib import Path
from tests.zoo.test_pretrained import rated
print(json.dumps(rated(Path(sys.argv[1]))))
"""


def run(program: str, *arguments: str, **environment: str) -> Any:
    told = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
    )
    return json.loads(told.stdout.splitlines()[-1])


def test_a_second_process_rates_alike_with_the_same_folder(tmp_path: Path) -> None:
    for name, case in CASES.items():
        publish(case, tmp_path / name)
    assert run(SECOND_PROCESS, str(tmp_path)) == rated(tmp_path)


@pytest.mark.parametrize("layout", ["--", "/", "only the name"])
def test_a_folder_may_be_named_in_three_ways(layout: str, tmp_path: Path) -> None:
    case = CASES["lovif_clip"]
    publish(case, tmp_path, "--" if layout == "only the name" else layout)
    if layout == "only the name":
        (tmp_path / CLIP.replace("/", "--")).rename(tmp_path / CLIP.partition("/")[2])
    (folder,) = {Path(origin) for origin in load(case, tmp_path).origins.values()}
    assert (folder / "config.json").is_file()
    assert folder.is_relative_to(tmp_path)


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """The folder of a text encoder whose system starts from nothing else."""
    publish(BERT, tmp_path)
    return tmp_path / MINILM_BERT.replace("/", "--")


BERT = Case(
    replace(efficientnet_system(), encoders={"text_encoder.backbone": MINILM_BERT}),
    "effimini_tiny",
    {MINILM_BERT: stock(BertForPreTraining, "text_encoder.backbone")},
    {"text_encoder.backbone": "bert"},
)


def text_encoder(folder: Path) -> Mapping[str, Tensor]:
    return load(BERT, folder.parent).model.text_encoder.state_dict()


def same(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def rewrite(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize("form", ["shards", "pickle", "pickled shards"])
def test_shards_and_pickles_read_as_one_file_does(form: str, bert: Path) -> None:
    expected = text_encoder(bert)
    tensors = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    half = dict(list(tensors.items())[::2]), dict(list(tensors.items())[1::2])
    name, save = ("model.safetensors", save_file) if form == "shards" else ("pytorch_model.bin", torch.save)
    if form == "pickle":
        torch.save(tensors, bert / name)
    else:
        places = {key: f"part-{part}-of-{name}" for part in (0, 1) for key in half[part]}
        (bert / f"{name}.index.json").write_text(json.dumps({"weight_map": places}))
        for part in (0, 1):
            save(half[part], bert / f"part-{part}-of-{name}")
    assert same(text_encoder(bert), expected)


def test_names_from_tensorflow_and_stored_buffers_are_understood(bert: Path) -> None:
    expected = text_encoder(bert)

    def age(tensors: dict[str, Tensor]) -> None:
        for key in list(tensors):
            old = key.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
                "LayerNorm.bias", "LayerNorm.beta"
            )
            tensors[old] = tensors.pop(key)
        tensors["bert.embeddings.position_ids"] = torch.arange(512)

    rewrite(bert, age)
    assert same(text_encoder(bert), expected)


def test_weights_may_be_stored_in_sixteen_bits(bert: Path) -> None:
    exact = text_encoder(bert)
    rewrite(bert, lambda tensors: tensors.update({key: each.half() for key, each in tensors.items()}))
    halved = text_encoder(bert)
    assert {each.dtype for each in halved.values()} == {each.dtype for each in exact.values()}
    for key, tensor in exact.items():
        torch.testing.assert_close(halved[key], tensor, rtol=1e-3, atol=0)


def test_a_pooler_that_nobody_reads_may_be_lacking(bert: Path) -> None:
    exact = text_encoder(bert)
    rewrite(bert, lambda tensors: [tensors.pop(key) for key in list(tensors) if "pooler" in key])
    lacking = text_encoder(bert)
    differing = {key for key, tensor in exact.items() if not torch.equal(lacking[key], tensor)}
    assert differing == {"backbone.pooler.dense.weight", "backbone.pooler.dense.bias"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda t: t.pop("bert.encoder.layer.1.output.dense.bias"),
            "lacks encoder.layer.1.output.dense.bias",
        ),
        (lambda t: t.update(extra=torch.zeros(1)), "no place for extra"),
        (
            lambda t: t.update({"bert.encoder.layer.2.output.dense.bias": torch.zeros(16)}),
            r"no place for bert\.encoder\.layer\.2\.output\.dense\.bias",
        ),
        (
            lambda t: t.update({"bert.embeddings.LayerNorm.bias": torch.zeros(17)}),
            r"bert\.embeddings\.LayerNorm\.bias is float32 \[17\], "
            r"must be float32, float16 or bfloat16 \[16\]",
        ),
        (
            lambda t: t.update({"bert.embeddings.LayerNorm.bias": torch.zeros(16, dtype=torch.int8)}),
            r"bert\.embeddings\.LayerNorm\.bias is int8 \[16\], must be",
        ),
        (
            lambda t: t.update({"bert.embeddings.LayerNorm.bias": torch.full((16,), torch.nan)}),
            "holds 16 values that are not finite",
        ),
        (lambda t: t.clear(), r"lacks embeddings\..* and \d+ more"),
    ],
)
def test_tensors_that_do_not_fit_are_named(
    change: Callable[[dict[str, Tensor]], object], said: str, bert: Path
) -> None:
    rewrite(bert, change)
    refused(bert, said)


def refused(folder: Path, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        load(BERT, folder.parent)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": 32}, "hidden_size is 32, must be 16"),
        ({"num_hidden_layers": 12}, "num_hidden_layers is 12, must be 2"),
        ({"vocab_size": 28996}, "vocab_size is 28996, must be 30522"),
        ({"hidden_act": "relu"}, "hidden_act is 'relu', must be 'gelu'"),
        ({"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05, must be 1e-12"),
        ({"model_type": "roberta"}, "model_type is 'roberta', must be 'bert'"),
        ({"model_type": "resnet"}, "model_type is 'resnet', must be 'bert'"),
        ({"model_type": None}, "model_type is None, must be 'bert'"),
        ({"model_type": ["bert"]}, r"model_type is \['bert'\], must be 'bert'"),
        ({"hidden_size": "wide"}, "no BertConfig: .*hidden_size"),
        ({"id2label": 3}, "no BertConfig"),
    ],
)
def test_a_configuration_of_another_network_is_refused_by_the_field(
    changes: dict[str, object], said: str, bert: Path
) -> None:
    published = json.loads((bert / "config.json").read_text())
    (bert / "config.json").write_text(json.dumps(published | changes))
    refused(bert, said)


@pytest.mark.parametrize("section", [None, "wide", {"hidden_size": 48, "num_attention_heads": 2}])
def test_a_part_of_another_size_is_refused_by_its_section(section: object, tmp_path: Path) -> None:
    case = CASES["lovif_clip"]
    publish(case, tmp_path)
    file = tmp_path / CLIP.replace("/", "--") / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"vision_config": section}))
    with pytest.raises(ConfigurationError, match=r"vision_config.* must be"):
        load(case, tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff\xfe", b"null"])
def test_a_configuration_that_is_none_is_refused(content: bytes, bert: Path) -> None:
    (bert / "config.json").write_bytes(content)
    refused(bert, r"config\.json")


@pytest.mark.parametrize("size", [0, 7, 8, 100, 5_000, 100_000])
def test_a_download_that_was_cut_off_is_refused(size: int, bert: Path) -> None:
    whole = (bert / "model.safetensors").read_bytes()
    (bert / "model.safetensors").write_bytes(whole[:size])
    refused(bert, r"model\.safetensors cannot be read as safetensors")


@pytest.mark.parametrize("size", [0, 7, 300, 5_000, 100_000])
def test_a_pickle_that_was_cut_off_is_refused(size: int, bert: Path) -> None:
    tensors = load_file(bert / "model.safetensors")
    (bert / "model.safetensors").unlink()
    torch.save(tensors, bert / "pytorch_model.bin")
    (bert / "pytorch_model.bin").write_bytes((bert / "pytorch_model.bin").read_bytes()[:size])
    refused(bert, r"pytorch_model\.bin cannot be read as tensors")


class Program:
    """What it unpickles to is a file that is written."""

    def __init__(self, written: Path) -> None:
        self.written = written

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.written,)


def test_a_pickle_that_holds_a_program_is_not_run(bert: Path, tmp_path: Path) -> None:
    (bert / "model.safetensors").unlink()
    torch.save({"weight": Program(tmp_path / "written")}, bert / "pytorch_model.bin")
    refused(bert, r"pytorch_model\.bin cannot be read as tensors")
    assert not (tmp_path / "written").exists()


def test_a_pickle_of_anything_but_tensors_is_refused(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    torch.save({"epoch": 3}, bert / "pytorch_model.bin")
    refused(bert, "must hold tensors by their names")


@pytest.mark.parametrize(
    ("places", "said"),
    [
        ({"weight": "../other.safetensors"}, "a file of the same folder"),
        ({"weight": "/etc/passwd"}, "a file of the same folder"),
        ({}, "a file of the same folder"),
        (["model.safetensors"], "a file of the same folder"),
        ({"weight": 3}, "cannot be read"),
        ({"weight": ""}, "a file of the same folder"),
        ({"weight": ".."}, "cannot be read"),
        ({"weight": "absent.safetensors"}, r"absent\.safetensors cannot be read"),
    ],
)
def test_shards_that_are_not_in_the_folder_are_refused(places: object, said: str, bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    (bert / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    refused(bert, said)


def test_a_folder_without_weights_says_what_it_must_hold(bert: Path) -> None:
    (bert / "model.safetensors").unlink()
    refused(bert, r"must hold model\.safetensors or pytorch_model\.bin")


def test_a_source_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"source: .*absent is no folder"):
        load(BERT, tmp_path / "absent")


@pytest.mark.parametrize("source", [True, False])
def test_random_weights_are_said_aloud(
    source: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    case = CASES["effimini_vlm"]
    with caplog.at_level(logging.WARNING, logger="adgauge"):
        loaded = load(case, tmp_path if source else None, name="effimini_vlm")
    assert loaded.origins == dict.fromkeys(case.known.encoders, RANDOM)
    assert same(loaded.model.state_dict(), fresh(case))
    told = [(record.name, record.getMessage()) for record in caplog.records]
    assert told == [
        (
            "adgauge",
            f"effimini_vlm: {encoder} has random weights instead of those of {published}: "
            f"run `hf download {published} --local-dir SOURCE/{published.replace('/', '--')}` "
            "and pass SOURCE, or allow the hub",
        )
        for encoder, published in case.known.encoders.items()
    ]


def test_what_a_folder_holds_is_used_though_another_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    publish(BERT, tmp_path)
    with caplog.at_level(logging.WARNING, logger="adgauge"):
        loaded = load(CASES["effimini_vlm"], tmp_path)
    assert [record.getMessage().split()[1] for record in caplog.records] == ["image_encoder.backbone"]
    assert loaded.origins["image_encoder.backbone"] == RANDOM
    assert loaded.origins["text_encoder.backbone"] != RANDOM


def test_lite0_has_packaged_weights(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(5)
    loaded = from_pretrained("effimini_lite0")
    torch.manual_seed(5)
    expected = SYSTEMS["effimini_lite0"].build()
    load_packaged(expected)
    assert same(loaded.model.state_dict(), expected.state_dict())
    assert loaded.origins == {
        "image_encoder.backbone": f"packaged {LITE0.distribution}",
        "text_encoder.backbone": f"packaged {MINILM.distribution}",
    }
    assert caplog.records == []


@torch.no_grad()
def test_a_checkpoint_as_it_was_published_reads_as_transformers_reads_it(tmp_path: Path) -> None:
    """The package holds all-MiniLM-L6-v2's folder of 2021: names without a prefix, positions, a pooler."""
    published = MINILM.find().parent
    (tmp_path / "all-MiniLM-L6-v2").symlink_to(published)
    loaded = from_pretrained("effimini_lite0", tmp_path)
    assert loaded.origins["text_encoder.backbone"] == str(tmp_path / "all-MiniLM-L6-v2")
    reference: nn.Module = BertModel.from_pretrained(published, attn_implementation="eager")
    ids = torch.tensor([[101, 2417, 6007, 102], [101, 4524, 102, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    expected = reference.eval()(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0]
    features = loaded.model.eval().text_encoder(ids, mask)
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(features[0, :3], torch.tensor([-0.4453, -0.3752, -0.1759]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_filled_encoders_give_the_features_of_the_published_model(tmp_path: Path) -> None:
    case = CASES["effimini_vlm"]
    made, model = publish(case, tmp_path), load(case, tmp_path).model.eval()
    given = inputs(case.tiny, 3)
    ids, mask = given["input_ids"], given["attention_mask"]
    bert = made[MINILM_BERT].get_submodule("bert").eval()
    torch.testing.assert_close(model.text_encoder(ids, mask), bert(ids, mask).last_hidden_state[:, 0])
    pixels = model.image_encoder.normalize(given["image"])
    network = made[EFFICIENTNET].get_submodule("efficientnet").eval()
    torch.testing.assert_close(model.image_encoder(given["image"]), network(pixels).pooler_output)


def test_packaged_weights_of_other_sizes_are_refused() -> None:
    known = replace(TINY["effimini_tiny"], encoders=SYSTEMS["effimini_lite0"].encoders)
    with pytest.raises(ConfigurationError, match=r"efficientnet-lite0.* has \d+ tensors, must have 294"):
        load_system("tiny", known)


BERT_SIZES = {
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
    "max_position_embeddings": 512,
    "vocab_size": 30522,
}


def test_smolvlm_takes_the_positions_it_uses_of_a_larger_table(tmp_path: Path) -> None:
    case = CASES["smolvlm_wleach"]

    def larger(model: Model) -> PreTrainedModel:
        vision = config(model, "image_encoder.vision_model").to_dict() | {"image_size": 44}
        text = config(model, "fusion.text_model").to_dict()
        sizes = SmolVLMConfig(vision_config=vision, text_config=text, scale_factor=4)
        return SmolVLMForConditionalGeneration(sizes)

    made = publish(replace(case, stock={SMOLVLM: larger}), tmp_path)[SMOLVLM]
    name = "embeddings.position_embedding.weight"
    table = made.get_submodule("model.vision_model").state_dict()[name]
    ours = load(case, tmp_path).model.get_submodule("image_encoder.vision_model").state_dict()[name]
    assert (len(table), len(ours)) == (11 * 11, 8 * 8)
    assert torch.equal(ours, used_positions(table, 8))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="lovif_clip"):
        from_pretrained("resnet")


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"{MINILM_BERT} cannot be had from the hub") as caught:
        load_system("tested", BERT.known, tmp_path, hub=True)
    assert "\n" not in str(caught.value)


FROM_THE_HUB = """
import json
from tests.zoo.test_pretrained import BERT, load_system
loaded = load_system("tested", BERT.known, hub=True)
norm = loaded.model.text_encoder.backbone.embeddings.LayerNorm.weight
print(json.dumps([loaded.origins, norm.tolist()]))
"""


@pytest.mark.parametrize("form", ["safetensors", "pickle"])
def test_what_the_hub_has_is_used_where_that_is_allowed(form: str, bert: Path, tmp_path: Path) -> None:
    """The hub's cache stands in for the hub."""
    norm = load_file(bert / "model.safetensors")["bert.embeddings.LayerNorm.weight"]
    if form == "pickle":
        torch.save(load_file(bert / "model.safetensors"), bert / "pytorch_model.bin")
        (bert / "model.safetensors").unlink()
    cached, revision = tmp_path / "cache" / f"models--{MINILM_BERT.replace('/', '--')}", "0" * 40
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(revision)
    (cached / "snapshots").mkdir()
    bert.rename(cached / "snapshots" / revision)
    told = run(FROM_THE_HUB, HF_HUB_CACHE=str(tmp_path / "cache"))
    assert told == [{"text_encoder.backbone": f"{MINILM_BERT}@{revision}"}, norm.tolist()]


PINNED = f"""
import json
from dataclasses import replace
from tests.zoo.test_pretrained import BERT, MINILM_BERT, load_system
found = []
for revision in ("{"1" * 40}", "{"2" * 40}"):
    known = replace(BERT.known, encoders={{"text_encoder.backbone": f"{{MINILM_BERT}}@{{revision}}"}})
    loaded = load_system("tested", known, hub=True)
    norm = loaded.model.text_encoder.backbone.embeddings.LayerNorm.weight
    found.append([loaded.origins["text_encoder.backbone"], norm.tolist()])
print(json.dumps(found))
"""


def test_a_revision_of_the_hub_can_be_pinned(bert: Path, tmp_path: Path) -> None:
    snapshots = tmp_path / "cache" / f"models--{MINILM_BERT.replace('/', '--')}" / "snapshots"
    norms = []
    for digit in ("1", "2"):
        rewrite(bert, lambda tensors: tensors["bert.embeddings.LayerNorm.weight"].mul_(2))
        norms.append(load_file(bert / "model.safetensors")["bert.embeddings.LayerNorm.weight"].tolist())
        shutil.copytree(bert, snapshots / (40 * digit))
    told = run(PINNED, HF_HUB_CACHE=str(tmp_path / "cache"))
    assert told == [[f"{MINILM_BERT}@{40 * digit}", norm] for digit, norm in zip("12", norms, strict=True)]
    assert norms[0] != norms[1]


def test_a_pinned_model_is_found_in_a_folder_and_how_to_get_it_is_said(
    bert: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = replace(BERT.known, encoders={"text_encoder.backbone": f"{MINILM_BERT}@1a2b"})
    assert load_system("tested", known, tmp_path).origins == {"text_encoder.backbone": str(bert)}
    load_system("tested", known)
    assert f"`hf download {MINILM_BERT} --revision 1a2b --local-dir SOURCE/{bert.name}`" in caplog.text


def test_weights_that_a_package_carries_are_not_asked_of_the_hub() -> None:
    origins = from_pretrained("effimini_lite0", hub=True).origins
    assert set(origins.values()) == {f"packaged {LITE0.distribution}", f"packaged {MINILM.distribution}"}


def test_a_system_without_published_weights_is_said_to_be_random(caplog: pytest.LogCaptureFixture) -> None:
    loaded = from_pretrained("effimini_tiny")
    assert loaded.origins == {}
    assert caplog.messages == [
        "effimini_tiny: no published weights are known for it; all of its weights are random"
    ]
