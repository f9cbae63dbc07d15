import hashlib
import json
import shutil
from pathlib import Path

import pytest

from adgauge.adapters.triton.configuration import write_configs
from adgauge.cli import main
from adgauge.contract import load_contract


@pytest.fixture
def model_dir(brightness_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(brightness_dir, tmp_path / "brightness" / "1"))


def test_a_model_as_it_was_exported_is_confirmed(model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", "verify", str(model_dir)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "ok   tokenizer.json"
    assert shown[-1].startswith("brightness version 1, contract digest ")


def test_a_changed_file_is_named_with_both_digests(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model_dir / "tokenizer.json").write_text("{}")

    assert main(["models", "verify", str(model_dir)]) == 1
    found = hashlib.sha256(b"{}").hexdigest()
    assert f"FAIL tokenizer.json — sha256 is {found}, the contract says " in capsys.readouterr().out


def test_a_missing_weight_is_named(model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = model_dir / "contract.json"
    contract = json.loads(path.read_text())
    path.write_text(json.dumps(contract | {"weights": {"model.onnx": "0" * 64}}, indent=2) + "\n")

    assert main(["models", "verify", str(model_dir), "--json"]) == 1
    (verdict,) = json.loads(capsys.readouterr().out)["versions"]
    assert (verdict["model"], verdict["files"]) == ("brightness", 2)
    assert verdict["wrong"] == {
        "model.onnx": "cannot be read: No such file or directory; assemble or export the model again"
    }


def test_a_contract_that_cannot_be_read_is_one_line(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model_dir / "contract.json").write_text("{}")

    assert main(["models", "verify", str(model_dir)]) == 1
    assert capsys.readouterr().err == f"adgauge: {model_dir}/contract.json: name: Field required\n"


def test_a_changed_byte_of_the_contract_that_no_digest_covers_is_noticed(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_dir / "contract.json"
    write_configs(model_dir.parent)
    assert main(["models", "verify", str(model_dir.parent)]) == 0
    capsys.readouterr()
    path.write_text(path.read_text().replace('"counter": "by hand"', '"counter": "by hard"'))

    assert main(["models", "verify", str(model_dir.parent)]) == 1
    assert "FAIL config.pbtxt — is not what the contracts give: " in capsys.readouterr().out


@pytest.mark.parametrize("changed", [b"\xff", b"\r"])
def test_any_changed_byte_of_the_configuration_is_noticed_and_mended(
    changed: bytes, model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_configs(model_dir.parent)
    path = model_dir.parent / "config.pbtxt"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"\n", changed, 1))

    assert main(["models", "verify", str(model_dir.parent)]) == 1
    assert "FAIL config.pbtxt — is not what the contracts give: " in capsys.readouterr().out
    assert main(["models", "configure", str(model_dir.parent)]) == 0
    assert path.read_bytes() == good


def test_a_changed_end_of_a_line_of_the_contract_is_noticed(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_dir / "contract.json"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r", 1))

    assert main(["models", "verify", str(model_dir)]) == 1
    assert "FAIL contract.json — is not written as an export writes it" in capsys.readouterr().out


def test_a_contract_that_is_written_otherwise_is_noticed(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = model_dir / "contract.json"
    path.write_text(path.read_text() + " ")

    assert main(["models", "verify", str(model_dir)]) == 1
    assert "FAIL contract.json — is not written as an export writes it" in capsys.readouterr().out


def test_the_folder_of_a_model_says_which_versions_can_be_named(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ces", "--plcc", "0.3", "--model", str(model_dir.parent)]) == 1
    expected = f"contract.json does not exist; name a version's folder: {model_dir}\n"
    assert capsys.readouterr().err.endswith(expected)


def test_a_removed_version_is_taken_out_of_the_configuration(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contract = load_contract(model_dir)
    second = Path(shutil.copytree(model_dir, model_dir.parent / "2"))
    (second / "contract.json").write_text(contract.model_copy(update={"version": 2}).to_json())
    write_configs(model_dir.parent)
    shutil.rmtree(model_dir)

    assert main(["models", "verify", str(model_dir.parent)]) == 1
    assert main(["models", "configure", str(model_dir.parent)]) == 0
    assert capsys.readouterr().out.endswith(
        "brightness is configured with its versions 2: `adgauge models load brightness`\n"
    )
    assert main(["models", "verify", str(model_dir.parent)]) == 0
    assert "versions: [ 2 ]" in (model_dir.parent / "config.pbtxt").read_text()
