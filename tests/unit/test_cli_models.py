import hashlib
import json
import shutil
from pathlib import Path

import pytest

from adgauge.cli import main


@pytest.fixture
def model_dir(brightness_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(brightness_dir, tmp_path / "brightness"))


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
    path.write_text(json.dumps(contract | {"weights": {"1/model.onnx": "0" * 64}}))

    assert main(["models", "verify", str(model_dir), "--json"]) == 1
    verdict = json.loads(capsys.readouterr().out)
    assert (verdict["model"], verdict["files"]) == ("brightness", 2)
    assert verdict["wrong"] == {
        "1/model.onnx": "cannot be read: No such file or directory; assemble or export the model again"
    }


def test_a_contract_that_cannot_be_read_is_one_line(
    model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model_dir / "contract.json").write_text("{}")

    assert main(["models", "verify", str(model_dir)]) == 1
    assert capsys.readouterr().err == f"adgauge: {model_dir}/contract.json: name: Field required\n"
