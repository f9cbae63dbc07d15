"""Low-rank adaptation: Hu et al. 2021, section 4.1."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adgauge.errors import ConfigurationError
from adgauge.models.lora import Lora, LoraLinear, add_lora, merge_lora
from adgauge.models.registry import MODELS, SYSTEMS, Model, build, system

NAME = "latent_query_tiny"


def lora_of(name: str) -> Lora:
    lora = system(name).lora
    assert lora is not None
    return lora


def adapt(model: Model) -> int:
    lora = lora_of(NAME)
    return add_lora(model, lora.targets, lora.rank, lora.alpha)


def ready() -> Model:
    torch.manual_seed(0)
    return build(NAME).eval()


def frozen() -> Model:
    """As its team trains it: frozen first, adapted then."""
    model = ready()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(system(NAME).frozen))
    adapt(model)
    return model


def inputs(rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (rows, 2, 3, 28, 28), dtype=torch.uint8, generator=generator)
    ids = torch.randint(3, 30_000, (rows, 6), generator=generator)
    return image, torch.ones(rows, 2), ids, torch.ones_like(ids)


@torch.no_grad()
def disturb(model: nn.Module) -> None:
    """B is zero at first; give it values as training would."""
    for layer in model.modules():
        if isinstance(layer, LoraLinear):
            layer.up.weight.normal_()


@torch.no_grad()
def test_the_product_of_both_matrices_is_added_scaled_by_alpha_over_rank() -> None:
    base = nn.Linear(3, 2)
    base.weight.copy_(torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]]))
    base.bias.copy_(torch.tensor([0.5, -0.5]))
    layer = LoraLinear(base, rank=2, alpha=6)
    layer.down.weight.copy_(torch.tensor([[1.0, 1.0, 0.0], [0.0, 2.0, -1.0]]))
    layer.up.weight.copy_(torch.tensor([[1.0, 0.0], [2.0, -1.0]]))
    states = torch.tensor([[1.0, 2.0, 3.0]])
    # Wx + b = (7.5, 0.5); Ax = (3, 1); BAx = (3, 5); 6 / 2 = 3.
    assert torch.equal(layer(states), torch.tensor([[7.5 + 9.0, 0.5 + 15.0]]))
    merged = layer.merged()
    assert torch.equal(merged.weight, torch.tensor([[4.0, 3.0, 2.0], [6.0, -1.0, 4.0]]))
    assert torch.equal(merged(states), torch.tensor([[16.5, 15.5]]))


@torch.no_grad()
def test_an_adapted_model_first_scores_as_before() -> None:
    model, given = ready(), inputs(3)
    before = model(*given)
    # Query and value of two layers in each of two encoders.
    assert adapt(model) == 8
    assert torch.equal(model(*given), before)


@torch.no_grad()
def test_a_merged_model_scores_as_the_adapted_one_and_looks_as_the_first() -> None:
    model, given = ready(), inputs(3)
    names, before = list(model.state_dict()), model(*given)
    adapt(model)
    disturb(model)
    adapted = model(*given)
    assert (adapted - before).abs().max() > 1e-4
    assert merge_lora(model) == 8
    torch.testing.assert_close(model(*given), adapted, atol=1e-6, rtol=0)
    assert list(model.state_dict()) == names
    assert [layer for layer in model.modules() if isinstance(layer, LoraLinear)] == []
    assert merge_lora(model) == 0


def test_only_the_adaptation_and_what_is_not_frozen_is_trained() -> None:
    model = frozen().train()
    disturb(model)
    torch.autograd.backward(model(*inputs(4)).sum())
    reached = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert reached == {
        name
        for name, _ in model.named_parameters()
        if name.endswith((".down.weight", ".up.weight")) or not name.startswith(system(NAME).frozen)
    }
    assert len([name for name in reached if "backbone" in name]) == 2 * 8


def test_at_first_the_gradient_reaches_b_which_is_zero() -> None:
    model = frozen().train()
    torch.autograd.backward(model(*inputs(4)).sum())
    for layer in model.modules():
        if isinstance(layer, LoraLinear):
            assert layer.up.weight.grad is not None
            assert layer.up.weight.grad.abs().max() > 0


def test_an_adaptation_has_the_type_of_its_layer() -> None:
    layer = LoraLinear(nn.Linear(4, 3, dtype=torch.bfloat16), rank=2, alpha=2)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.bfloat16}
    assert layer(torch.ones(1, 4, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_target_that_names_no_layer_lists_those_there_are() -> None:
    model = nn.ModuleDict({"query": nn.Linear(2, 2), "key": nn.Linear(2, 2)})
    with pytest.raises(
        ConfigurationError, match="lora target 'value' names no linear layer; there are key, query"
    ):
        add_lora(model, ("query", "value"), rank=1, alpha=1)
    assert type(model["query"]) is nn.Linear


def test_a_name_is_matched_whole() -> None:
    model = nn.ModuleDict({"query": nn.Linear(2, 2), "subquery": nn.Linear(2, 2)})
    assert add_lora(model, ("query",), rank=1, alpha=1) == 1
    assert type(model["subquery"]) is nn.Linear


@pytest.mark.parametrize("rank", [0, -1])
def test_a_rank_below_one_is_refused(rank: int) -> None:
    with pytest.raises(ConfigurationError, match=f"lora rank is {rank}; it must be at least 1"):
        add_lora(ready(), ("q_lin",), rank, alpha=1)


def test_registered_adaptations_name_layers_of_their_model() -> None:
    adapted = {name: each.lora for name, each in MODELS.items() if each.lora is not None}
    assert set(adapted) & set(SYSTEMS) == {"latent_query", "latent_query_k1"}
    for name, lora in adapted.items():
        with torch.device("meta"):
            assert add_lora(build(name), lora.targets, lora.rank, lora.alpha) > 0
