"""EffiMiniVLM and EffiMini-Lite0: shapes, gradients, numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from adgauge.errors import ConfigurationError
from adgauge.models.effimini import EffiMini, effimini_tiny
from adgauge.models.interface import Limits
from adgauge.models.layers.efficientnet_lite import EfficientNetLite, lite0
from adgauge.models.registry import MODELS, build


@pytest.fixture(scope="module")
def tiny() -> EffiMini:
    torch.manual_seed(0)
    return EffiMini(effimini_tiny()).eval()


def inputs(rows: int, tokens: int = 12) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (rows, 3, 64, 64), dtype=torch.uint8, generator=generator)
    ids = torch.randint(0, 30_522, (rows, tokens), generator=generator)
    mask = (torch.arange(tokens) < torch.randint(2, tokens + 1, (rows, 1), generator=generator)).long()
    return image, torch.ones(rows, 1), ids, mask


def scatter(count: int) -> Tensor:
    """Numbers between -1 and 1 without a pattern."""
    return 2 * (torch.sin(12.9898 * torch.arange(count, dtype=torch.float64)) * 43758.5453).frac().abs() - 1


def fill_by_formula(module: torch.nn.Module) -> None:
    """Weights that depend on nothing but their position: no generator whose stream may change."""
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                wave = scatter(tensor.numel()).view(tensor.shape)
                scale = (6 / tensor[0].numel()) ** 0.5 if tensor.dim() > 1 else 0.1
                positive = name.endswith(("running_var", "2.weight"))
                tensor.copy_(1 + 0.1 * wave if positive else scale * wave)


def test_tiny_presets_have_less_than_a_million_parameters(tiny: EffiMini) -> None:
    assert sum(parameter.numel() for parameter in tiny.parameters()) < 1_000_000


@torch.no_grad()
def test_scores_are_one_number_a_row_in_the_range(tiny: EffiMini) -> None:
    scores = tiny(*inputs(5))
    assert scores.shape == (5, 1)
    assert ((scores >= 1) & (scores <= 5)).all()


@torch.no_grad()
def test_scores_outside_the_range_are_clamped() -> None:
    model = EffiMini(effimini_tiny()).eval()
    last = model.head[-1]
    assert isinstance(last, torch.nn.Linear)
    for bias, bound in ((100.0, 5.0), (-100.0, 1.0)):
        last.bias.fill_(bias)
        assert torch.equal(model(*inputs(3)), torch.full((3, 1), bound))


@torch.no_grad()
def test_batch_mates_do_not_change_a_score(tiny: EffiMini) -> None:
    together = tiny(*inputs(6))
    alone = torch.cat([tiny(*(tensor[row : row + 1] for tensor in inputs(6))) for row in range(6)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@torch.no_grad()
def test_padding_does_not_change_a_score(tiny: EffiMini) -> None:
    image, has_image, ids, mask = inputs(3)
    longer = (torch.nn.functional.pad(tensor, (0, 20)) for tensor in (ids, mask))
    torch.testing.assert_close(
        tiny(image, has_image, *longer), tiny(image, has_image, ids, mask), atol=1e-5, rtol=0
    )


@torch.no_grad()
def test_without_a_picture_the_pixels_do_not_matter(tiny: EffiMini) -> None:
    image, has_image, ids, mask = inputs(4)
    absent = torch.zeros_like(has_image)
    assert torch.equal(tiny(image, absent, ids, mask), tiny(255 - image, absent, ids, mask))
    assert not torch.equal(tiny(image, has_image, ids, mask), tiny(image, absent, ids, mask))


def test_gradients_reach_every_parameter() -> None:
    torch.manual_seed(0)
    model = build("effimini_tiny").train()
    torch.autograd.backward(model(*inputs(4)).sum())
    untouched = [name for name, tensor in model.named_parameters() if tensor.grad is None]
    assert untouched == []


@torch.no_grad()
def test_a_state_dict_carries_all_of_the_model(tiny: EffiMini) -> None:
    torch.manual_seed(1)
    other = build("effimini_tiny").eval()
    assert not torch.equal(other(*inputs(2)), tiny(*inputs(2)))
    other.load_state_dict(tiny.state_dict())
    assert torch.equal(other(*inputs(2)), tiny(*inputs(2)))


@torch.no_grad()
def test_lite0_gives_the_reference_numbers() -> None:
    """Weights by formula; timm 1.0.31's `tf_efficientnet_lite0` gives these numbers on the same weights."""
    network = EfficientNetLite(lite0()).eval()
    fill_by_formula(network)
    picture = scatter(3 * 224 * 224).view(1, 3, 224, 224).float()
    features = network(picture)
    assert features.shape == (1, 1280)
    expected = torch.tensor([1.9981, 0.51757, 0.0, 1.98121, 1.78683, 4.53378, 1.02275, 2.91315])
    torch.testing.assert_close(features[0, ::160], expected, atol=1e-3, rtol=1e-3)


class SamePadding(nn.Module):
    """TensorFlow's `SAME` at stride 2, whatever the size: as few zeros as ceil(n / 2) features need."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] → [B, C, H + zeros, W + zeros]."""
        height, width = (max(2 * ((side - 1) // 2) + self.kernel - side, 0) for side in x.shape[-2:])
        ends = width // 2, width - width // 2, height // 2, height - height // 2
        return nn.functional.pad(x, ends)


def pad_as_tensorflow(network: nn.Module) -> None:
    """In place: paddings and strided convolutions of ours follow each other."""
    padding = ""
    for path, module in list(network.named_modules()):
        if isinstance(module, nn.ZeroPad2d):
            padding = path
        elif isinstance(module, nn.Conv2d) and module.stride == (2, 2):
            network.set_submodule(padding, SamePadding(module.kernel_size[0]))


def differences(name: str, size: tuple[int, int]) -> float:
    """Between the features of our padding and those of TensorFlow's, with random weights."""
    torch.manual_seed(0)
    encoder = build(name).eval().image_encoder
    generator = torch.Generator().manual_seed(7)
    image = torch.randint(0, 256, (1, 3, *size), dtype=torch.uint8, generator=generator)
    ours = encoder(image)
    pad_as_tensorflow(encoder)
    return float((encoder(image) - ours).norm() / ours.norm())


@pytest.mark.parametrize(
    ("name", "patch"), [("effimini_lite0", 32), ("effimini_vlm", 32), ("effimini_tiny", 4)]
)
@torch.no_grad()
def test_pictures_are_padded_as_in_tensorflow_at_every_size_that_is_allowed(name: str, patch: int) -> None:
    assert build(name).limits == Limits(tokens=512, patch=patch, size=None)
    assert differences(name, (2 * patch, 3 * patch)) == 0
    assert differences(name, (2 * patch, 3 * patch - patch // 2)) > 1e-3


def test_pictures_of_any_size_are_padded_as_in_torchvision() -> None:
    with torch.device("meta"):
        assert build("effimini_vlm_torchvision").limits == Limits(tokens=512, patch=1, size=None)


@pytest.mark.parametrize(("name", "millions"), [("effimini_vlm", 27.706), ("effimini_lite0", 26.922)])
def test_parameter_counts_are_those_of_the_report(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = build(name)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == millions


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="effimini_lite0"):
        build("resnet")
    assert set(MODELS) >= {"effimini_vlm", "effimini_lite0", "effimini_tiny"}
