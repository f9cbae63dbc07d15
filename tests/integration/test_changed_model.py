"""A model that is not the one its contract describes scores nothing: files, contract, graph and weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import admit
from adgauge.adapters.triton import plain_triton
from adgauge.cli import main
from adgauge.contract import load_contract
from adgauge.errors import ContractMismatch
from adgauge.telemetry.metrics import Metrics
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import start_triton
from services.embedded.workspace import Workspace

MODEL = EmbeddedSettings().model_repository / "effimini_lite0"

Edit = Callable[[dict[str, Any]], object]
CHANGES: dict[str, Edit] = {
    "token limit": lambda spec: spec["text"].update(token_limit=32, ladder=[4, 16, 32]),
    "ladder": lambda spec: spec["text"].update(ladder=[8, 16]),
    "template": lambda spec: spec["text"]["parts"][0].update(prefix="Title: "),
    "interpolation": lambda spec: spec["image"].update(interpolation="bicubic"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_scorer_with_another_canonicalization_does_not_start_and_names_both_contracts(
    change: str, triton_url: str, brightness_dir: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(brightness_dir, tmp_path / "1"))
    document = json.loads((folder / "contract.json").read_text())
    CHANGES[change](document["spec"])
    (folder / "contract.json").write_text(json.dumps(document))

    with pytest.raises(ContractMismatch) as refused:
        admit(folder, plain_triton(triton_url, 10), Metrics(CollectorRegistry()), requests=1)
    served, ours = load_contract(brightness_dir).digest(), load_contract(folder).digest()
    assert served != ours
    assert served in str(refused.value)
    assert ours in str(refused.value)


def other_mean(folder: Path) -> None:
    """Shift what is taken from each pixel by 8 of 255."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    subtracted = {node.input[1] for node in graph.graph.node if node.op_type == "Sub"}
    (mean,) = (
        each
        for each in graph.graph.initializer
        if each.name in subtracted and 3 in each.dims and np.prod(each.dims) == 3
    )
    values = onnx.numpy_helper.to_array(mean)
    mean.CopyFrom(onnx.numpy_helper.from_array(values + values.dtype.type(8), mean.name))
    (folder / "model.onnx").write_bytes(graph.SerializeToString())


def other_weights(folder: Path) -> None:
    """Scale the last layer by 1.1."""
    graph = onnx.load(folder / "model.onnx", load_external_data=False)
    (last,) = (each for each in graph.graph.initializer if each.name == "head.7.weight")
    place = {entry.key: int(entry.value) for entry in last.external_data if entry.key != "location"}
    data = np.memmap(folder / "model.onnx.data", "<f4", "r+", place["offset"], (place["length"] // 4,))
    data *= np.float32(1.1)
    data.flush()


@pytest.mark.parametrize("change", [other_mean, other_weights])
def test_other_pixels_or_weights_under_the_same_contract_are_noticed_by_hash_and_by_score(
    change: Callable[[Path], None],
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = Path(shutil.copytree(MODEL, tmp_path / "repository" / MODEL.name))
    change(model / "1")

    assert main(["models", "verify", str(model / "1")]) == 1
    assert capsys.readouterr().out.count("FAIL") == 1
    venv = EmbeddedSettings().triton_venv
    triton = start_triton(workspace, venv=venv, repository=model.parent, models=[])
    try:
        triton.wait_until_ready()
        monkeypatch.setenv("ADGAUGE_TRITON_URL", triton.url)
        assert main(["models", "load", MODEL.name, "--model-dir", str(model / "1")]) == 1
        said = capsys.readouterr().err
        assert "no scorer may use it: Triton scores golden record GOLDEN-0" in said
        assert f"the served weights are not those of {load_contract(model / '1').digest()}" in said
    finally:
        triton.process.kill()
