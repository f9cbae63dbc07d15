"""P and F of every system, counted by formulas, are those that torch's own counter finds."""

from __future__ import annotations

from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from adgauge.errors import ConfigurationError
from adgauge.models.cost import count_cost, dummy_inputs
from adgauge.models.flops import ATTENTION, Macs, count_macs
from adgauge.models.profile import check_limits, on_meta, profile_system, spec_of
from adgauge.models.registry import MODELS, SYSTEMS, build, system
from adgauge.models.runtime import ENOUGH_S, MOST_RUNS, cpu_name, measure

NAMES = sorted(MODELS)
counted = cache(profile_system)
PARTS = {"image_encoder", "text_encoder", "fusion", "head"}


@cache
def torch_counts(name: str) -> dict[str, dict[Any, int]]:
    """Module path → operation → FLOPs, of eager attention on the meta device."""
    known = system(name)
    model, spec = on_meta(known).requires_grad_(False), spec_of(known)
    with torch.device("meta"):
        inputs = dummy_inputs(spec, 1, spec.text.token_limit)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return {path: dict(counts) for path, counts in counter.get_flop_counts().items()}


@pytest.mark.parametrize("name", NAMES)
def test_flops_are_those_of_torchs_counter(name: str) -> None:
    profile, counts = counted(name), torch_counts(name)
    assert 2 * profile.macs.total == sum(counts["Global"].values())
    model = type(on_meta(system(name))).__name__
    by_part = {part: sum(counts.get(f"{model}.{part}", {}).values()) for part in PARTS}
    assert {part: 2 * costs.macs.total for part, costs in profile.parts.items()} == by_part


@pytest.mark.parametrize("name", NAMES)
def test_products_of_attention_are_those_of_activations_in_torch(name: str) -> None:
    """Layers are `mm`, `addmm` and `convolution`; batched products are attention's alone."""
    batched = torch_counts(name)["Global"].get(torch.ops.aten.bmm, 0)
    assert 2 * counted(name).macs.attention == batched


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_counted_once_and_all_belong_to_a_part(name: str) -> None:
    profile = counted(name)
    assert set(profile.parts) == PARTS
    assert profile.params == sum(tensor.numel() for tensor in on_meta(system(name)).parameters())
    assert 0 < profile.trainable <= profile.params
    assert sum(profile.encoders.values()) <= profile.params


@pytest.mark.parametrize("name", NAMES)
def test_a_contracts_cost_is_the_profile_at_its_limit(name: str) -> None:
    cost, profile = count_cost(on_meta(system(name)), spec_of(system(name))), counted(name)
    assert (cost.params, cost.flops) == (profile.params, 2 * profile.macs.total)


def test_counting_leaves_a_model_as_it_was() -> None:
    model, spec = build("effimini_tiny").eval(), spec_of(system("effimini_tiny"))
    inputs = dummy_inputs(spec, 2, 8)
    with torch.no_grad():
        before = model(*inputs)
        first = count_macs(model, inputs)
        assert count_macs(model, inputs) == first
        assert torch.equal(model(*inputs), before)
    count_cost(model, spec)
    assert {tensor.device.type for tensor in chain(model.parameters(), model.buffers())} == {"cpu"}
    assert all(tensor.requires_grad for tensor in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_flops_are_per_product() -> None:
    model, spec = on_meta(system("effimini_tiny")), spec_of(system("effimini_tiny"))
    with torch.device("meta"):
        one, three = (count_macs(model, dummy_inputs(spec, rows, 8)) for rows in (1, 3))
    assert {part: 3 * macs.total for part, macs in one.items()} == {
        part: macs.total for part, macs in three.items()
    }


def test_attention_grows_with_the_square_of_the_tokens_and_layers_with_their_number() -> None:
    one, two = (counted("effimini_vlm", tokens).parts["text_encoder"].macs for tokens in (64, 128))
    width, layers = 384, 6
    assert one.attention == layers * 2 * 64**2 * width
    assert two.attention == 4 * one.attention
    pooler = width**2
    assert two.layers - pooler == 2 * (one.layers - pooler)


def test_costs_at_another_size_are_counted_at_that_size() -> None:
    small, large = (counted("effimini_lite0", size=(side, side)) for side in (224, 448))
    assert (large.size, large.params) == ((448, 448), small.params)
    pictures = [each.parts["image_encoder"].macs.total for each in (small, large)]
    assert 3.9 < pictures[1] / pictures[0] < 4.1
    assert large.parts["text_encoder"] == small.parts["text_encoder"]


class Scale(nn.Module):
    """A module of our own that nobody wrote a formula for."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        """[N, 4] → [N, 4]."""
        return x @ self.weight


class NewAttention(nn.Module):
    """Attention whose parameters are all in layers that are known."""

    def __init__(self) -> None:
        super().__init__()
        self.query = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 4] → [N, 4]."""
        attended: Tensor = self.query(x).softmax(-1) @ x.T @ x
        return attended


@pytest.mark.parametrize(
    ("module", "kind"),
    [
        (Scale(), "Scale"),
        (NewAttention(), "NewAttention"),
        (nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (nn.LSTM(4, 4), "LSTM"),
    ],
)
def test_what_has_no_formula_is_refused(module: nn.Module, kind: str) -> None:
    message = f"^1 is a {kind}, whose FLOPs are not known; give it a formula in adgauge.models.flops$"
    with pytest.raises(ConfigurationError, match=message):
        count_macs(nn.Sequential(nn.ReLU(), module), [torch.ones(2, 4)])


def test_a_layer_of_a_changed_kind_is_not_taken_for_the_known_one() -> None:
    class Sparse(nn.Linear):
        pass

    with pytest.raises(ConfigurationError, match="is a Sparse"):
        count_macs(nn.Sequential(Sparse(4, 4)), [torch.ones(2, 4)])


def test_convolutions_count_their_groups_and_their_stride() -> None:
    model = nn.Sequential(nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=4), nn.Conv2d(16, 2, 1))
    expected = {"0": Macs(layers=16 * 4 * 5 * 2 * 9), "1": Macs(layers=2 * 4 * 5 * 16)}
    assert count_macs(model, [torch.ones(1, 8, 8, 10)]) == expected


def test_every_formula_of_attention_is_used_by_a_system() -> None:
    used = {type(module) for known in SYSTEMS.values() for module in on_meta(known).modules()}
    assert set(ATTENTION) - used == set()


def test_effimini_costs_what_the_report_says() -> None:
    profile = counted("effimini_vlm")
    assert profile.tokens == 256
    assert profile.params == pytest.approx(27.706e6, abs=0.01e6)
    assert 2 * profile.macs.total == pytest.approx(6.811e9, rel=0.005)


@pytest.mark.parametrize("name", ["effimini_vlm", "effimini_vlm_torchvision"])
def test_effiminis_pooler_is_counted_but_not_trained(name: str) -> None:
    profile, pooler = counted(name), 384 * 384 + 384
    assert profile.params - profile.trainable == pooler
    assert profile.parts["text_encoder"].params - profile.parts["text_encoder"].trainable == pooler


def test_smolvlm_has_the_parameters_of_the_report_and_as_many_layer_macs() -> None:
    """Its 61.44 GFLOPs are MACs, and leave the products of attention out."""
    profile = counted("smolvlm_wleach")
    assert profile.params == pytest.approx(227.92e6, abs=0.1e6)
    assert profile.macs.layers == pytest.approx(61.44e9, rel=0.01)
    assert 2 * profile.macs.total == pytest.approx(135.9e9, rel=0.005)


def test_smolvlm_at_its_full_length_is_far_over_the_budget() -> None:
    profile = counted("smolvlm_olacnqoddchl")
    assert 2 * profile.macs.total == pytest.approx(1107.8e9, rel=0.005)
    floor = counted("smolvlm_olacnqoddchl", tokens=1)
    assert 2 * floor.macs.total == pytest.approx(119.2e9, rel=0.005)


def test_pinco_has_the_parameters_of_the_text_and_as_many_macs() -> None:
    """Its 26.33 GFLOPs are MACs, attention included."""
    profile = counted("pinco")
    assert profile.params == pytest.approx(179.21e6, abs=0.1e6)
    assert profile.macs.total == pytest.approx(26.33e9, rel=0.01)


def test_hope_has_the_frozen_encoders_of_the_report_and_trains_nearly_as_much() -> None:
    """33.15 M are reported as trained; sizes that the report leaves open are our reading."""
    profile = counted("latent_query_k1")
    assert sum(profile.encoders.values()) == pytest.approx(152.94e6, abs=0.05e6)
    assert profile.trainable == pytest.approx(30.43e6, abs=0.01e6)
    adapted = 2 * 16 * 2 * 768  # query and value of one layer: A and B of rank 16 each
    others = profile.params - sum(profile.encoders.values())
    assert profile.trainable == others + (12 + 6) * adapted


def test_hope_costs_what_the_report_says_with_one_picture_and_without_attention() -> None:
    one, two = counted("latent_query_k1"), counted("latent_query")
    assert 2 * one.macs.layers == pytest.approx(70.4e9, rel=0.01)
    assert 2 * one.macs.total == pytest.approx(73.65e9, rel=0.005)
    assert 2 * two.macs.total == pytest.approx(121.8e9, rel=0.005)
    assert one.params == two.params


def test_lovif_costs_what_it_does_as_described() -> None:
    """145.14 M and 29.00 G are reported; neither follows from the description."""
    profile = counted("lovif_clip")
    assert profile.params == pytest.approx(174.2e6, abs=0.1e6)
    assert 2 * profile.macs.total == pytest.approx(16.5e9, rel=0.005)
    last = 12 * 768**2 + 13 * 768, 12 * 512**2 + 13 * 512  # the layers that are trained
    assert profile.trainable >= sum(last) + profile.parts["fusion"].params + profile.parts["head"].params


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet", {}, "there is no model 'resnet'; there are effimini_vlm, "),
        (
            "effimini_vlm",
            {"tokens": 600},
            "--tokens 600: effimini_vlm reads at most 512 tokens; choose 1 to 512",
        ),
        (
            "lovif_clip",
            {"tokens": 600},
            "--tokens 600: lovif_clip reads at most 77 tokens; choose 1 to 77",
        ),
        (
            "lovif_clip",
            {"size": (256, 256)},
            "--size 256x256: lovif_clip sees 224x224 only",
        ),
        ("effimini_vlm", {"size": (0, 0)}, "--size 0x0: effimini_vlm cannot see it: "),
        (
            "effimini_lite0",
            {"size": (224, 240)},
            "--size 224x240: effimini_lite0 sees patches of 32 pixels; choose multiples of 32",
        ),
        ("pinco", {"size": (256, 256)}, "--size: the collage is 256x384 and has no other size"),
        (
            "latent_query",
            {"size": (225, 224)},
            "--size 225x224: latent_query sees patches of 14 pixels; choose multiples of 14",
        ),
    ],
)
def test_what_a_model_cannot_be_given_is_refused(name: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        profile_system(name, **arguments)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize("name", NAMES)
def test_every_canonicalization_is_within_its_models_limits(name: str) -> None:
    check_limits(name, on_meta(system(name)), spec_of(system(name)))


@pytest.mark.parametrize("name", NAMES)
def test_one_token_too_many_is_refused_and_the_most_are_not(name: str) -> None:
    most = on_meta(system(name)).limits.tokens
    assert profile_system(name, tokens=most).tokens == most
    with pytest.raises(ConfigurationError, match=f"^--tokens {most + 1}: {name} .*; choose 1 to {most}$"):
        profile_system(name, tokens=most + 1)


def test_a_contract_is_told_of_its_own_fields() -> None:
    spec = spec_of(system("effimini_tiny"))
    long = spec.model_copy(update={"text": spec.text.model_copy(update={"token_limit": 9999})})
    with pytest.raises(ConfigurationError, match=r"^token_limit 9999: effimini_tiny reads at most "):
        check_limits("effimini_tiny", on_meta(system("effimini_tiny")), long)


def test_categories_and_numbers_are_those_that_the_model_takes() -> None:
    model, spec = on_meta(system("pinco_tiny")), spec_of(system("pinco_tiny"))
    check_limits("pinco_tiny", model, spec)
    fewer = spec.model_copy(update={"categories": spec.categories[:5]})
    with pytest.raises(ConfigurationError, match=r"^categories: 6, but pinco_tiny takes 34 \(one"):
        check_limits("pinco_tiny", model, fewer)
    with pytest.raises(ConfigurationError, match=r"^numeric: 0, but pinco_tiny takes 3$"):
        check_limits("pinco_tiny", model, spec.model_copy(update={"numeric": ()}))
    with pytest.raises(ConfigurationError, match=r"^categories: 34, but effimini_tiny takes 0$"):
        check_limits("effimini_tiny", on_meta(system("effimini_tiny")), spec)


class Clock:
    """Each of a model's calls takes the next of these times."""

    def __init__(self, *seconds: float) -> None:
        self.readings = [time for each in seconds for time in (0.0, each)]

    def __call__(self) -> float:
        """The next reading."""
        return self.readings.pop(0)


def test_a_quick_model_runs_ten_times_after_warming_up() -> None:
    times = [9.0, *(0.1 * (run + 1) for run in range(MOST_RUNS))]
    runtime = measure(nn.Linear(2, 2), [torch.ones(1, 2)], Clock(*times))
    assert (runtime.runs, runtime.fastest_s, runtime.slowest_s) == (MOST_RUNS, 0.1, 1.0)
    assert runtime.median_s == pytest.approx(0.55)


def test_a_slow_model_runs_once_after_warming_up() -> None:
    runtime = measure(nn.Linear(2, 2), [torch.ones(1, 2)], Clock(30.0, ENOUGH_S + 1))
    assert (runtime.runs, runtime.median_s) == (1, ENOUGH_S + 1)


def test_the_cpu_is_named_as_linux_names_it(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert cpu_name(cpuinfo) != ""
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Example 9000 @ 3 GHz\nflags\t\t: fpu\n")
    assert cpu_name(cpuinfo) == "Example 9000 @ 3 GHz"
