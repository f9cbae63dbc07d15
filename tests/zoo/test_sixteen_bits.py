"""Models, and graphs that are converted, in float16 and bfloat16: nothing overflows, and scores stay near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from adgauge.export.onnx import export_graph
from adgauge.models.layers.masks import NOT_ATTENDED, causal_mask, padding_mask
from adgauge.models.layers.normalize import Normalize
from adgauge.models.layers.rating import masked_mean
from adgauge.models.registry import TINY, build
from adgauge.models.smolvlm import SmolVLM
from tests.contracts import contract
from tests.zoo.test_systems import inputs, ready, scores, spec_of

SIXTEEN = [torch.float16, torch.bfloat16]
MASK = torch.tensor([[1, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
@pytest.mark.parametrize("name", sorted(TINY))
@torch.no_grad()
def test_scores_are_float32_and_near_those_of_float32(name: str, dtype: torch.dtype) -> None:
    """Inputs are those of float32, since contracts have no others; two products have no picture."""
    given = inputs(name, 8)
    given["has_image"][2:4] = 0
    expected = scores(ready(name), given)
    made = scores(ready(name).to(dtype), given)
    assert made.dtype == torch.float32
    torch.testing.assert_close(made, expected, atol=0.002 if dtype == torch.float16 else 0.03, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, *SIXTEEN], ids=str)
def test_masks_are_of_the_dtype_of_scores_and_a_row_of_padding_makes_no_nan(dtype: torch.dtype) -> None:
    padding, causal = padding_mask(MASK, dtype), causal_mask(MASK, dtype)
    assert (padding.dtype, causal.dtype) == (dtype, dtype)
    low = torch.tensor(NOT_ATTENDED, dtype=dtype).item()
    assert padding[:, 0, 0].tolist() == [[0, 0, low], [low, low, low]]
    assert causal[0, 0].tolist() == [[0, low, low], [0, 0, low], [0, 0, low]]
    assert (causal[1] == low).all()
    scores_of_both = torch.tensor([300.0, -300.0, 300.0], dtype=dtype)
    assert (scores_of_both + padding).softmax(-1)[0, 0, 0].tolist() == [1, 0, 0]
    assert torch.isfinite((scores_of_both + causal).softmax(-1)).all()


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_a_mean_of_many_large_states_does_not_overflow(dtype: torch.dtype) -> None:
    states = torch.full((1, 2560, 2), 300.0, dtype=dtype)
    mean = masked_mean(states, torch.ones(1, 2560, dtype=torch.int64))
    assert (mean.dtype, mean.tolist()) == (dtype, [[300, 300]])


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_pixels_are_normalised_before_they_are_rounded(dtype: torch.dtype) -> None:
    image = torch.arange(256, dtype=torch.uint8).view(1, 1, 1, -1).expand(1, 3, 1, 256)
    exact = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))(image)
    made = Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)).to(dtype)(image)
    assert made.dtype == dtype
    torch.testing.assert_close(made.float(), exact, atol=0.01, rtol=0)


@pytest.mark.parametrize("dtype", SIXTEEN, ids=str)
def test_the_last_position_of_a_long_text_turns_as_in_float32(dtype: torch.dtype) -> None:
    """Frequencies in 16 bits would be off by radians there."""
    model, states, last = build("smolvlm_tiny"), torch.zeros(1, 1, 1), torch.tensor([[8191]])
    assert isinstance(model, SmolVLM)
    exact = model.fusion.text_model.rotary_emb(states, last)
    made = model.to(dtype).fusion.text_model.rotary_emb(states.to(dtype), last)
    for ours, theirs in zip(made, exact, strict=True):
        assert ours.dtype == dtype
        torch.testing.assert_close(ours.float(), theirs, atol=0.004, rtol=0)


@pytest.mark.parametrize("name", sorted(TINY))
def test_no_number_of_a_graph_overflows_float16(name: str) -> None:
    """But the one that DeBERTa fills scores with: there every row has a token that is not filled."""
    spec = spec_of(name)
    made = contract(Path("nowhere"), text=spec.text)
    made = made.model_copy(update={"spec": spec, "inputs": spec.tensors()})
    graph = export_graph(build(name), made)
    beyond = {float(each) for array in numbers(graph) for each in array[np.abs(array) > 65504]}
    assert beyond == ({float(np.finfo(np.float32).min)} if name == "pinco_tiny" else set())


def numbers(graph: onnx.ModelProto) -> list[NDArray[np.float32]]:
    """Every float32 tensor that a graph holds."""
    constants = [a.t for node in graph.graph.node if node.op_type == "Constant" for a in node.attribute]
    held = [*graph.graph.initializer, *constants]
    return [onnx.numpy_helper.to_array(each) for each in held if each.data_type == onnx.TensorProto.FLOAT]


@torch.no_grad()
def test_padding_of_pinco_sees_the_text_so_that_no_row_is_filled_altogether() -> None:
    model, given = ready("pinco_tiny"), inputs("pinco_tiny", 3)
    rows: list[Tensor] = []
    attention = model.get_submodule("text_encoder.backbone.encoder.layer.0.attention.self")
    hook = attention.register_forward_pre_hook(lambda _, given: rows.append(given[1].bool().any(-1)))
    scores(model, given)
    hook.remove()
    assert len(rows) == 1
    assert rows[0].all()
