"""Exported graphs score as their models do, at every batch size and text length."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, ModelContract, load_contract
from adgauge.export.comparison import FP32_DELTA, compare
from adgauge.export.onnx import GRAPH_FILE, export_graph, export_model, externalize
from adgauge.export.parity import graph_run, run_all, torch_scores
from adgauge.export.source import trained_model
from adgauge.models.registry import Model, build
from adgauge.training.checkpoint import WEIGHTS_FILE, Checkpoint
from services.embedded.assemble import assemble

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "model_repository" / "effimini_lite0" / "1"
RECIPE = ROOT / "src/adgauge/training/recipes/effimini_lite0_head.toml"


@pytest.fixture(scope="module")
def contract() -> ModelContract:
    return load_contract(DEFAULT)


@pytest.fixture(scope="module")
def tiny() -> Model:
    torch.manual_seed(3)
    return build("effimini_tiny").eval()


@pytest.fixture(scope="module")
def session(
    tiny: Model, contract: ModelContract, tmp_path_factory: pytest.TempPathFactory
) -> onnxruntime.InferenceSession:
    folder = tmp_path_factory.mktemp("tiny")
    export_model(tiny, contract, folder)
    return onnxruntime.InferenceSession(folder / GRAPH_FILE, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize(("rows", "tokens"), [(1, 2), (1, 256), (3, 32), (8, 64), (32, 7)])
def test_any_number_of_rows_and_tokens_scores_as_in_torch(
    tiny: Model, session: onnxruntime.InferenceSession, rows: int, tokens: int
) -> None:
    generator = torch.Generator().manual_seed(rows * tokens)
    image = torch.randint(0, 256, (rows, 3, 224, 224), dtype=torch.uint8, generator=generator)
    has_image = torch.randint(0, 2, (rows, 1), generator=generator).float()
    ids = torch.randint(0, 30_522, (rows, tokens), generator=generator)
    mask = (torch.arange(tokens) <= torch.randint(1, tokens, (rows, 1), generator=generator)).long()
    named = {"image": image, "has_image": has_image, "input_ids": ids, "attention_mask": mask}
    (scores,) = session.run(["score"], {name: tensor.numpy() for name, tensor in named.items()})
    with torch.no_grad():
        expected = tiny(image, has_image, ids, mask).numpy()
    assert scores.shape == (rows, 1)
    assert compare(scores[:, 0], expected[:, 0]).max_delta <= FP32_DELTA


def test_a_graph_names_no_path_of_the_machine_that_exported_it(tiny: Model, contract: ModelContract) -> None:
    graph = export_graph(tiny, contract)
    externalize(graph, list(tiny.state_dict()), BytesIO())
    content = graph.SerializeToString()
    assert str(ROOT).encode() not in content
    assert b".py" not in content
    assert len(content) < 1 << 20


def test_weights_are_stored_aligned_and_without_overlap(tiny: Model, contract: ModelContract) -> None:
    file = BytesIO()
    stored = externalize(export_graph(tiny, contract), list(tiny.state_dict()), file)
    assert len(file.getvalue()) == stored[-1].offset + stored[-1].length
    state = tiny.state_dict()
    for place in stored:
        content = file.getvalue()[place.offset : place.offset + place.length]
        assert content == state[place.name].numpy().tobytes()
    assert all(place.offset % 64 == 0 for place in stored)
    ends = [place.offset + place.length for place in stored]
    assert all(end <= later.offset for end, later in zip(ends, stored[1:], strict=False))
    names = {place.name for place in stored}
    assert names == {name for name, tensor in tiny.state_dict().items() if tensor.is_floating_point()}


def test_the_assembled_default_model_scores_as_in_torch_and_as_recorded(contract: ModelContract) -> None:
    assemble(DEFAULT)
    records = load_golden(DEFAULT / GOLDEN_FILE)
    inputs = canonicalize_golden(Canonicalizer(contract, DEFAULT), records)
    assert [one.digest for one in inputs] == [record.digest for record in records]
    state = load_file(DEFAULT / WEIGHTS_FILE)
    model = trained_model(Checkpoint(state, contract, RECIPE.read_text(), {}))
    served = run_all(graph_run(DEFAULT, contract), inputs)
    assert compare(torch_scores(model, contract, inputs), served).max_delta <= FP32_DELTA
    recorded = np.array([record.score for record in records], dtype=np.float32)
    assert compare(recorded, served).max_delta <= FP32_DELTA
    assert len(records) == 23
