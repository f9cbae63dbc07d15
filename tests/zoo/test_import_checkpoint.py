"""A checkpoint of EffiMiniVLM's public code scores as that code does once it is imported."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import BertConfig, BertModel

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.presets import TokenizerFile, effimini_vlm
from adgauge.cli import main
from adgauge.contract import file_sha256
from adgauge.models.packaged import MINILM_TOKENIZER
from adgauge.models.registry import IMPORTED, SYSTEMS, Model, build
from adgauge.product import parse_product
from adgauge.training.checkpoint import WEIGHTS_FILE, load_checkpoint, load_state

State = dict[str, Any]
TOLERANCE = 1e-5

# The public architecture in plain torch, with torchvision's names; nothing of ours.
STAGES = (  # expansion, kernel, stride, inputs, outputs, blocks
    (1, 3, 1, 32, 16, 1),
    (6, 3, 2, 16, 24, 2),
    (6, 5, 2, 24, 40, 2),
    (6, 3, 2, 40, 80, 3),
    (6, 5, 1, 80, 112, 3),
    (6, 5, 2, 112, 192, 4),
    (6, 3, 1, 192, 320, 1),
)


def convolution(
    inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True
) -> nn.Sequential:
    filters = nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(filters, nn.BatchNorm2d(outputs), *([nn.SiLU()] if act else []))


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.fc2(nn.functional.silu(self.fc1(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(scale)


class MBConv(nn.Module):
    def __init__(self, expansion: int, kernel: int, stride: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.block = nn.Sequential(
            *([convolution(inputs, wide)] if expansion > 1 else []),
            convolution(wide, wide, kernel, stride, groups=wide),
            SqueezeExcitation(wide, inputs // 4),
            convolution(wide, outputs, act=False),
        )
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


def stage(expansion: int, kernel: int, stride: int, inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    first = MBConv(expansion, kernel, stride, inputs, outputs)
    return nn.Sequential(first, *(MBConv(expansion, kernel, 1, outputs, outputs) for _ in range(blocks - 1)))


class PublicEffiMini(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        stem, last = convolution(3, 32, 3, 2), convolution(320, 1280)
        features = nn.Sequential(stem, *(stage(*numbers) for numbers in STAGES), last)
        self.image_backbone = nn.Sequential(features, nn.AdaptiveAvgPool2d(1))
        self.text_backbone = BertModel(
            BertConfig(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536)
        )
        self.head = nn.Sequential(
            *(nn.Linear(1664, 512), nn.LayerNorm(512), nn.GELU(), nn.Dropout(0.1)),
            *(nn.Linear(512, 256), nn.LayerNorm(256), nn.GELU(), nn.Linear(256, 1)),
        )

    def forward(self, image: Tensor, has_image: Tensor, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (image / 255 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        seen = self.image_backbone(pixels).flatten(1) * has_image
        read = self.text_backbone(input_ids=input_ids, attention_mask=attention_mask)
        rating: Tensor = self.head(torch.cat((seen, read.last_hidden_state[:, 0]), dim=1))
        return rating.clamp(1, 5)


def products(rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Pictures of patches in random colours and texts of random lengths; every third has no picture."""
    generator = torch.Generator().manual_seed(11)
    patches = torch.rand(rows, 3, 14, 14, generator=generator)
    image = (255 * nn.functional.interpolate(patches, (224, 224), mode="bicubic")).clamp(0, 255).byte()
    has_image = (torch.arange(rows) % 3 != 2).float().view(rows, 1)
    mask = (torch.arange(64) < torch.randint(2, 65, (rows, 1), generator=generator)).long()
    ids = torch.randint(1000, 30_522, (rows, 64), generator=generator) * mask
    return image, has_image, ids, mask


@torch.no_grad()
def trained_alike() -> PublicEffiMini:
    """Random weights whose batch norms have the statistics of pictures, and scores all over the range."""
    torch.manual_seed(3)
    model = PublicEffiMini()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.weight.uniform_(0.5, 1.5)
        norm.bias.normal_(std=0.2)
    model.train()(*products(8))
    model.eval()
    last = model.head[-1]
    assert isinstance(last, nn.Linear)
    last.weight.mul_(2)
    last.bias.fill_(3.0)
    return model


@pytest.fixture(scope="module")
def public() -> PublicEffiMini:
    return trained_alike()


@pytest.fixture
def state(public: PublicEffiMini) -> State:
    return dict(public.state_dict())


@pytest.fixture
def file(state: State, tmp_path: Path) -> Path:
    path = tmp_path / "best.pt"
    torch.save(state, path)
    return path


@torch.no_grad()
def scores(model: nn.Module, rows: int = 9) -> Tensor:
    made: Tensor = model.eval()(*products(rows))
    return made


def loaded(folder: Path) -> Model:
    checkpoint = load_checkpoint(folder)
    model = build(checkpoint.made_for)
    load_state(model, checkpoint.state, made_for=checkpoint.made_for, untrained=())
    return model


def imported(file: Path, out: Path, *arguments: str) -> Path:
    assert main(["import-checkpoint", str(file), "--out", str(out), *arguments]) == 0
    return out


def refusal(capsys: pytest.CaptureFixture[str], file: Path, out: Path, *arguments: str) -> str:
    """What is said of a file, in one line; nothing may be written."""
    before = sorted(out.parent.rglob("*")) if out.parent.is_dir() else None
    assert main(["import-checkpoint", str(file), "--out", str(out), *arguments]) == 1
    assert (sorted(out.parent.rglob("*")) if out.parent.is_dir() else None) == before
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    return shown.err.removeprefix("adgauge: ").rstrip("\n")


def test_an_imported_checkpoint_scores_as_the_public_code_does(
    public: PublicEffiMini, file: Path, tmp_path: Path
) -> None:
    expected = scores(public)
    assert expected.std() > 0.3
    assert ((expected > 1) & (expected < 5)).all()
    ours = scores(loaded(imported(file, tmp_path / "ours")))
    torch.testing.assert_close(ours, expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("wrapper", ["model_state_dict", "state_dict", "model"])
def test_a_training_checkpoint_may_hold_more_than_weights(
    wrapper: str, public: PublicEffiMini, state: State, tmp_path: Path
) -> None:
    old = {"text_backbone.embeddings.position_ids": torch.arange(512).view(1, -1)}
    held = {"epoch": 3, wrapper: state | old, "optimizer_state_dict": {"state": {}}, "best_plcc": 0.4}
    torch.save(held, tmp_path / "last.pth")
    ours = scores(loaded(imported(tmp_path / "last.pth", tmp_path / "ours")), 3)
    torch.testing.assert_close(ours, scores(public, 3), atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_in_16_bits_stay_so_and_score_as_the_public_code_with_them(
    dtype: torch.dtype, state: State, tmp_path: Path
) -> None:
    half = {name: each.to(dtype) if each.is_floating_point() else each for name, each in state.items()}
    torch.save(half, tmp_path / "half.pt")
    reference = PublicEffiMini()
    reference.load_state_dict(half)
    folder = imported(tmp_path / "half.pt", tmp_path / "ours")
    assert {t.dtype for t in load_checkpoint(folder).state.values()} == {dtype, torch.int64}
    torch.testing.assert_close(scores(loaded(folder)), scores(reference), atol=TOLERANCE, rtol=0)


def test_the_same_weights_padded_as_tensorflow_does_are_another_model(
    public: PublicEffiMini, file: Path, tmp_path: Path
) -> None:
    """Why there is a system of its own for imported checkpoints."""
    other = build("effimini_vlm")
    load_state(other, load_checkpoint(imported(file, tmp_path / "ours")).state, untrained=())
    assert (scores(other) - scores(public)).abs().max() > 100 * TOLERANCE


def test_the_imported_system_has_the_parameters_of_the_reports() -> None:
    with torch.device("meta"):
        ours, reports = (build(name) for name in ("effimini_vlm_torchvision", "effimini_vlm"))
    shapes = [{name: each.shape for name, each in one.named_parameters()} for one in (ours, reports)]
    assert shapes[0] == shapes[1]
    assert set(IMPORTED) & set(SYSTEMS) == set()


def test_the_contract_is_the_public_codes_canonicalization(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = imported(file, tmp_path / "new" / "ours", "--name", "theirs", "--json")
    checkpoint = load_checkpoint(folder)
    contract = checkpoint.contract
    assert contract.spec == effimini_vlm(TokenizerFile("tokenizer.json", MINILM_TOKENIZER.sha256))
    assert (contract.name, contract.target, contract.score_range) == ("theirs", "average_rating", (1, 5))
    assert (contract.cost.params, contract.cost.flops) == (27706365, 6811128768)
    assert contract.provenance.revision == f"best.pt, sha256 {file_sha256(file)}"
    assert checkpoint.made_for == "effimini_vlm_torchvision"
    assert contract.weights == {WEIGHTS_FILE: file_sha256(folder / WEIGHTS_FILE)}
    assert json.loads(capsys.readouterr().out) == {
        "checkpoint": str(folder),
        "name": "theirs",
        "model": "effimini_vlm_torchvision",
        "tensors": len(checkpoint.state),
        "params": 27706365,
        "source": contract.provenance.revision,
    }


def test_the_folder_has_what_canonicalizes_a_product(file: Path, tmp_path: Path) -> None:
    folder = imported(file, tmp_path / "ours")
    product = parse_product(json.dumps({"parent_asin": "B1", "title": "Café bag"}).encode(), 1 << 20)
    canonicalizer = Canonicalizer(load_checkpoint(folder).contract, folder)
    (draft,) = canonicalizer.draft([product])
    ids = draft.arrays["input_ids"].tolist()
    assert ids[:6] == [101, 2516, 1024, 7668, 4524, 102]
    assert set(ids[6:]) == {0}


def test_an_empty_folder_is_filled_and_people_are_told(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ours").mkdir(mode=0o755)
    folder = imported(file, tmp_path / "ours")
    files = {"contract.json", WEIGHTS_FILE, "metrics.json", "recipe.toml", "tokenizer.json"}
    assert {path.name for path in folder.iterdir()} == files
    told = capsys.readouterr().out
    assert told.startswith(f"{folder}: effimini_vlm, ")
    assert told.endswith(f", from best.pt, sha256 {file_sha256(file)}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "ours"]


STEM, NORM = "image_backbone.0.0.0.weight", "image_backbone.0.3.1.block.1.1.running_var"


def without(name: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if key != name}


def changed(name: str, change: Callable[[Tensor], object]) -> Callable[[State], State]:
    return lambda state: {**state, name: change(state[name])}


def not_a_number(tensor: Tensor) -> Tensor:
    bad = tensor.clone()
    bad.view(-1)[0] = float("nan")
    return bad


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (without(NORM), f"is no public EffiMiniVLM checkpoint: it lacks {NORM}"),
        (without("head.7.bias"), "is no public EffiMiniVLM checkpoint: it lacks head.7.bias"),
        (
            lambda state: {**state, "head.9.weight": torch.ones(1)},
            "is no public EffiMiniVLM checkpoint: there is no place for head.9.weight",
        ),
        (
            changed(STEM, lambda tensor: tensor[:, :, :2]),
            f"is no public EffiMiniVLM checkpoint: {STEM} is float32 [32, 3, 2, 3],"
            " must be float32, float16 or bfloat16 [32, 3, 3, 3]",
        ),
        (
            changed(STEM, lambda tensor: tensor.long()),
            f"is no public EffiMiniVLM checkpoint: {STEM} is int64 [32, 3, 3, 3],"
            " must be float32, float16 or bfloat16 [32, 3, 3, 3]",
        ),
        (
            changed(NORM, not_a_number),
            f"is no public EffiMiniVLM checkpoint: {NORM} holds 1 values that are not finite, must hold none",
        ),
        (
            lambda state: {"layer1.0.conv1.weight": state[STEM]},
            "is no public EffiMiniVLM checkpoint: it lacks image_backbone.0.0.0.weight,"
            " image_backbone.0.0.1.weight, image_backbone.0.0.1.bias and 468 more",
        ),
    ],
    ids=["norm", "head", "unexpected", "shape", "integers", "nan", "resnet"],
)
def test_a_checkpoint_of_another_model_is_refused(
    damage: Callable[[State], State],
    said: str,
    state: State,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    torch.save(damage(state), tmp_path / "bad.pt")
    told = refusal(capsys, tmp_path / "bad.pt", tmp_path / "ours")
    assert told == f"{tmp_path / 'bad.pt'} {said}"


NO_TENSOR = "is no plain tensor; weights are looked for at its top, else under"


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({}, " holds dict, must hold a state_dict()"),
        ([torch.ones(1)], " holds list, must hold a state_dict()"),
        (torch.ones(3), " holds Tensor, must hold a state_dict()"),
        ({"state_dict": {}}, " holds dict, must hold a state_dict()"),
        ({"net": {STEM: torch.ones(1)}}, f": 'net' {NO_TENSOR} model_state_dict, state_dict, model"),
        ({STEM: "weights"}, f": {STEM!r} {NO_TENSOR} model_state_dict, state_dict, model"),
        ({3: torch.ones(1)}, f": 3 {NO_TENSOR} model_state_dict, state_dict, model"),
        ({STEM: torch.ones(2, 2).to_sparse()}, f": {STEM!r} {NO_TENSOR} model_state_dict, state_dict, model"),
        ({STEM: torch.ones(2, device="meta")}, f": {STEM!r} {NO_TENSOR} model_state_dict, state_dict, model"),
    ],
    ids=["empty", "list", "tensor", "empty inside", "other key", "text", "number", "sparse", "meta"],
)
def test_what_is_no_state_dict_is_refused(
    held: object, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(held, tmp_path / "bad.pt")
    assert refusal(capsys, tmp_path / "bad.pt", tmp_path / "ours") == f"{tmp_path / 'bad.pt'}{said}"


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_text("weights"),
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        lambda path: path.write_bytes(pickle.dumps({STEM: 1.5})[:-3]),
        lambda path: path.write_bytes(MINILM_TOKENIZER.find().read_bytes()),
        lambda path: save_file({STEM: torch.ones(1)}, path),
    ],
    ids=["empty", "text", "zip", "cut off", "json", "safetensors"],
)
def test_what_is_no_torch_file_is_refused(
    write: Callable[[Path], object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "bad.pt")
    assert refusal(capsys, tmp_path / "bad.pt", tmp_path / "ours") == (
        f"{tmp_path / 'bad.pt'} cannot be read: it must be what torch.save writes of a state_dict()"
    )


def test_a_checkpoint_that_is_cut_off_is_refused(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.truncate(file, file.stat().st_size // 2)
    told = refusal(capsys, file, tmp_path / "ours")
    assert told == f"{file} cannot be read: it must be what torch.save writes of a state_dict()"


class Malicious:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (self.folder,)


@pytest.mark.parametrize("new_format", [True, False])
def test_code_in_a_checkpoint_is_refused_and_never_run(
    new_format: bool, state: State, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, trace = tmp_path / "bad.pt", tmp_path / "was_run"
    held = state | {"head.0.bias": Malicious(trace)}
    torch.save(held, bad, _use_new_zipfile_serialization=new_format)
    assert refusal(capsys, bad, tmp_path / "ours") == (
        f"{bad} is refused, nothing of it was run: it asks for posix.mkdir, which no weights need;"
        " save the model's state_dict() alone"
    )
    assert not trace.exists()


def test_a_whole_pickled_model_is_refused(
    public: PublicEffiMini, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(public.head, tmp_path / "model.pt")
    told = refusal(capsys, tmp_path / "model.pt", tmp_path / "ours")
    assert "it asks for torch.nn.modules.container.Sequential, which no weights need" in told


def test_files_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing, ours = tmp_path / "missing", tmp_path / "ours"
    assert refusal(capsys, missing, ours) == f"cannot read {missing}: No such file or directory"
    assert refusal(capsys, tmp_path, ours) == f"cannot read {tmp_path}: Is a directory"
    told = refusal(capsys, missing, ours, "--tokenizer", str(missing))
    assert told == f"cannot read {missing}: No such file or directory"


def cased(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer.lowercase = False


def larger(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens(["adgauge"])


@pytest.mark.parametrize("change", [cased, larger])
def test_another_tokenizer_is_refused(
    change: Callable[[Tokenizer], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer, path = Tokenizer.from_file(str(MINILM_TOKENIZER.find())), tmp_path / "tokenizer.json"
    change(tokenizer)
    tokenizer.save(str(path))
    told = refusal(capsys, tmp_path / "best.pt", tmp_path / "ours", "--tokenizer", str(path))
    assert told == f"{path} is another tokenizer than bert-base-uncased's, whose ids the model reads"


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "vocab.txt"
    path.write_text("[PAD]\n[UNK]\n")
    told = refusal(capsys, tmp_path / "best.pt", tmp_path / "ours", "--tokenizer", str(path))
    assert told.startswith(f"{path} is no tokenizer.json: ")


def test_a_bert_tokenizer_that_cuts_and_pads_otherwise_is_taken_as_it_is(file: Path, tmp_path: Path) -> None:
    tokenizer, path = Tokenizer.from_file(str(MINILM_TOKENIZER.find())), tmp_path / "bert.json"
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.save(str(path))
    folder = imported(file, tmp_path / "ours", "--tokenizer", str(path))
    assert (folder / "tokenizer.json").read_bytes() == path.read_bytes()
    assert load_checkpoint(folder).contract.spec.text.tokenizer_sha256 == file_sha256(path)


def test_a_folder_that_is_taken_stays_as_it_is(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "contract.json").write_text("{}")
    told = refusal(capsys, file, tmp_path / "ours")
    assert told == f"{tmp_path / 'ours'} is not empty; choose another folder"
    assert (tmp_path / "ours" / "contract.json").read_text() == "{}"


def test_a_folder_that_cannot_be_written_is_named(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, file, file) == f"cannot write {file}: Not a directory"
    assert refusal(capsys, file, file / "ours") == f"cannot write {file / 'ours'}: Not a directory"
    # Nobody can write there, root neither.
    assert main(["import-checkpoint", str(file), "--out", "/proc/ours"]) == 1
    assert capsys.readouterr().err == "adgauge: cannot write /proc/ours: No such file or directory\n"


@pytest.mark.parametrize("name", ["", "../up", ".hidden", "a b"])
def test_a_name_is_one_of_a_folder(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["import-checkpoint", "best.pt", "--out", "ours", "--name", name])
    assert stopped.value.code == 2
    assert "is no model's name" in capsys.readouterr().err


WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from adgauge.cli import main; sys.exit(main())"


def test_without_torch_the_remedy_is_named() -> None:
    """In a process of its own, where nothing has imported it yet."""
    program = [sys.executable, "-c", WITHOUT_TORCH, "import-checkpoint", "best.pt", "--out", "ours"]
    told = subprocess.run(program, capture_output=True, text=True, check=False)
    remedy = "adgauge: torch is not installed: run `pip install 'adgauge[train]'`\n"
    assert (told.returncode, told.stdout, told.stderr) == (1, "", remedy)
