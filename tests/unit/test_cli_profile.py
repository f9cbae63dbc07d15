"""`adgauge profile`: what it prints and what it refuses. That its numbers are right is shown in tests/zoo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adgauge.cli import main

DEFAULT = Path(__file__).resolve().parents[2] / "model_repository" / "effimini_lite0" / "1"


def profiled(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["profile", *arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["profile", *arguments]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    return shown.err.removeprefix("adgauge: ").rstrip("\n")


KEYS = {
    "section", "tokens", "images", "size", "params", "trainable", "flops", "macs", "flops_without_attention",
    "parts", "encoders_params",
}  # fmt: skip


def test_a_system_is_profiled_completely(capsys: pytest.CaptureFixture[str]) -> None:
    document = profiled(capsys, "effimini_vlm")
    assert set(document) == {"convention", "systems"}
    assert "2·MAC" in document["convention"]
    costs = document["systems"]["effimini_vlm"]
    assert set(costs) == KEYS
    assert (costs["section"], costs["tokens"], costs["images"], costs["size"]) == ("4.4", 256, 1, [224, 224])
    assert (costs["params"], costs["flops"], costs["macs"]) == (27706365, 6811128768, 3405564384)
    for cost in ("params", "trainable", "flops"):
        assert sum(part[cost] for part in costs["parts"].values()) == costs[cost]
    assert set(costs["encoders_params"]) == {"image_encoder.backbone", "text_encoder.backbone"}


def test_all_are_the_systems_of_the_report_without_the_small_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    systems = profiled(capsys, "all")["systems"]
    assert {costs["section"] for costs in systems.values()} == {"4.1", "4.2", "4.3", "4.4", "4.5", "4.6"}
    assert all(set(costs) == KEYS for costs in systems.values())
    assert not any("tiny" in name for name in systems)


def test_tokens_and_size_are_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    costs = profiled(capsys, "effimini_tiny", "--tokens", "7", "--size", "32x48")["systems"]["effimini_tiny"]
    assert (costs["tokens"], costs["size"]) == (7, [32, 48])


def test_people_get_a_table_and_parts_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "effimini_vlm", "--parts"]) == 0
    head, whole, *parts, convention = capsys.readouterr().out.splitlines()
    assert head.split()[:5] == ["system", "tokens", "images", "size", "P"]
    assert whole.split() == [
        "effimini_vlm", "256", "1", "224x224", "27.706", "27.559", "6.811", "3.406", "6.207"
    ]  # fmt: skip
    assert [part.split()[0] for part in parts] == ["image_encoder", "text_encoder", "fusion", "head"]
    assert convention.startswith("P: parameters")

    assert main(["profile", "effimini_vlm"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_a_runtime_says_where_and_how_often_it_was_measured(capsys: pytest.CaptureFixture[str]) -> None:
    document = profiled(capsys, "effimini_tiny", "--runtime")
    runtime = document["systems"]["effimini_tiny"]["runtime"]
    assert 0 < runtime["fastest_s"] <= runtime["median_s"] <= runtime["slowest_s"]
    assert runtime["runs"] == 10
    assert set(document["hardware"]) == {"device", "cores", "threads", "torch"}

    assert main(["profile", "effimini_tiny", "--runtime"]) == 0
    shown = capsys.readouterr().out
    assert "s/item" in shown.splitlines()[0]
    assert f"threads on {document['hardware']['device']}" in shown


def test_an_exported_model_is_compared_with_its_contract(capsys: pytest.CaptureFixture[str]) -> None:
    costs = profiled(capsys, str(DEFAULT))["systems"]["effimini_lite0"]
    assert set(costs) == KEYS | {"contract_cost", "equals_contract"}
    assert costs["equals_contract"] is True
    assert (costs["params"], costs["flops"]) == (26921985, 6809579456)
    assert (costs["trainable"], costs["parts"], costs["size"]) == (None, {}, [224, 224])

    assert main(["profile", str(DEFAULT)]) == 0
    assert "effimini_lite0: P and F are those of its contract\n" in capsys.readouterr().out


def test_a_contract_that_says_otherwise_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(DEFAULT / "model.onnx", tmp_path / "model.onnx")
    contract = json.loads((DEFAULT / "contract.json").read_text())
    contract["cost"]["flops"] = 6_000_000_000
    (tmp_path / "contract.json").write_text(json.dumps(contract))

    assert profiled(capsys, str(tmp_path))["systems"]["effimini_lite0"]["equals_contract"] is False
    assert main(["profile", str(tmp_path)]) == 0
    told = "effimini_lite0: its contract says otherwise: 26921985 parameters, 6000000000 FLOPs\n"
    assert told in capsys.readouterr().out


def test_fewer_tokens_than_the_contracts_are_not_compared(capsys: pytest.CaptureFixture[str]) -> None:
    costs = profiled(capsys, str(DEFAULT), "--tokens", "64")["systems"]["effimini_lite0"]
    assert (costs["tokens"], costs["equals_contract"]) == (64, None)
    assert costs["flops"] < costs["contract_cost"]["flops"]


def test_a_graph_alone_is_counted_with_the_tokens_that_are_chosen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    costs = profiled(capsys, str(DEFAULT / "model.onnx"), "--tokens", "256")["systems"]["model"]
    assert set(costs) == KEYS
    assert (costs["params"], costs["flops"], costs["size"]) == (26921985, 6809579456, [224, 224])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["lovif_clip", "--tokens", "600"],
            "--tokens 600: lovif_clip reads at most 77 tokens; choose 1 to 77",
        ),
        (["lovif_clip", "--size", "256x256"], "--size 256x256: lovif_clip sees 224x224 only"),
        (
            ["latent_query", "--size", "230x224"],
            "--size 230x224: latent_query sees patches of 14 pixels; choose multiples of 14",
        ),
        (
            [str(DEFAULT), "--tokens", "257"],
            "--tokens 257: effimini_lite0 reads at most 256 tokens; choose 1 to 256",
        ),
        (
            [str(DEFAULT), "--size", "64x64"],
            "--size: effimini_lite0 was exported for 224x224; leave it out",
        ),
        ([str(DEFAULT), "--runtime"], "--runtime: only systems are timed, not ONNX graphs; leave it out"),
        (
            [str(DEFAULT / "model.onnx")],
            "input_ids: the graph leaves its tokens open; choose with --tokens",
        ),
        (["missing.onnx"], "missing.onnx cannot be read: No such file or directory"),
    ],
)
def test_what_cannot_be_profiled_is_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refusal(capsys, *arguments) == message


def test_an_unknown_model_lists_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "resnet").startswith("there is no model 'resnet'; there are effimini_vlm, ")


def test_a_folder_without_a_contract_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = f"{tmp_path}/contract.json does not exist; export a model there first"
    assert refusal(capsys, str(tmp_path)) == expected


@pytest.mark.parametrize(
    ("content", "message"), [(b"\xff\xfe?", "is no ONNX file"), (b"", "is no ONNX model: there is no graph")]
)
def test_a_file_that_is_no_model_is_one_line(
    content: bytes, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    assert refusal(capsys, str(path)).startswith(f"{path} {message}")


@pytest.mark.parametrize("size", ["224", "0x224", "224x", "ax3", "-2x4"])
def test_a_size_is_height_x_width(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "effimini_vlm", f"--size={size}"])
    assert f"'{size}' is no size: height x width, such as 224x224" in capsys.readouterr().err


WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from adgauge.cli import main; sys.exit(main())"
PARSER = (
    "import sys; from adgauge.cli.parser import build_parser; build_parser(); print('torch' in sys.modules)"
)


@pytest.mark.parametrize(
    ("package", "what", "extra"),
    [("torch", "effimini_tiny", "train"), ("transformers", "all", "train"), ("onnx", str(DEFAULT), "export")],
)
def test_what_is_not_installed_is_named_with_the_remedy(package: str, what: str, extra: str) -> None:
    """In a process of its own, where nothing has imported it yet."""
    program = [sys.executable, "-c", WITHOUT, package, "profile", what]
    told = subprocess.run(program, capture_output=True, text=True, check=False)
    remedy = f"adgauge: {package} is not installed: run `pip install 'adgauge[{extra}]'`\n"
    assert (told.returncode, told.stderr) == (1, remedy)


def test_help_does_not_wait_for_torch() -> None:
    told = subprocess.run([sys.executable, "-c", PARSER], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


def test_a_graph_in_fewer_bits_is_not_counted_and_its_contract_is_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = json.loads((DEFAULT / "contract.json").read_text()) | {"precision": "int8"}
    (tmp_path / "contract.json").write_text(json.dumps(contract))

    assert main(["profile", str(tmp_path)]) == 1
    told = "is in int8, and graphs are counted in float32: its contract says 26921985 parameters and 68095"
    assert told in capsys.readouterr().err
