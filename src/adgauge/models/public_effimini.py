"""The weights of team Double Y's public code, by the names that ours have.

Its model is torchvision's `efficientnet_b0().features` and a pooling in a Sequential, `image_backbone`;
transformers' BertModel, `text_backbone`; and our `head`, whose layers stand at the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor
from transformers import EfficientNetConfig

from adgauge.errors import ConfigurationError
from adgauge.models.effimini import EffiMini, torchvision_b0
from adgauge.models.tensors import first_few, misfit

PUBLIC = "effimini_vlm_torchvision"
"""The registered model that computes what the public code does."""

# transformers before 2023 stored what it can compute.
_COMPUTED = ("text_backbone.embeddings.position_ids", "text_backbone.embeddings.token_type_ids")

_IMAGE, _TEXT = "image_encoder.backbone.", "text_encoder.backbone."
_EXPAND = {"0": "expansion.expand_conv", "1": "expansion.expand_bn"}
_BLOCK = (
    {"0": "depthwise_conv.depthwise_conv", "1": "depthwise_conv.depthwise_norm"},
    {"fc1": "squeeze_excite.reduce", "fc2": "squeeze_excite.expand"},
    {"0": "projection.project_conv", "1": "projection.project_bn"},
)


def public_state(model: EffiMini, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All of the model's tensors, taken from those of the public code.

    Raises ConfigurationError that names the first tensors that are missing, have no place, are not of the
    model's shape or kind, or are not finite.
    """
    needed, names = model.state_dict(), public_names(model)
    if missing := [theirs for theirs in names.values() if theirs not in given]:
        raise ConfigurationError(f"it lacks {first_few(missing)}")
    places = {*names.values(), *_COMPUTED}
    if unexpected := [theirs for theirs in given if theirs not in places]:
        raise ConfigurationError(f"there is no place for {first_few(unexpected)}")
    for ours, theirs in names.items():
        if (wrong := misfit(given[theirs], needed[ours])) is not None:
            raise ConfigurationError(f"{theirs} {wrong}")
    return {ours: given[theirs] for ours, theirs in names.items()}


def public_names(model: EffiMini) -> dict[str, str]:
    """Our name of each tensor → the public code's."""
    modules = dict(_image_modules(torchvision_b0()))
    return {name: _public_name(name, modules) for name in model.state_dict()}


def _public_name(name: str, image_modules: Mapping[str, str]) -> str:
    if name.startswith(_TEXT):
        return f"text_backbone.{name.removeprefix(_TEXT)}"
    if name.startswith(_IMAGE):
        module, _, tensor = name.removeprefix(_IMAGE).rpartition(".")
        return f"image_backbone.0.{image_modules[module]}.{tensor}"
    return name


def _image_modules(encoder: EfficientNetConfig) -> Iterator[tuple[str, str]]:
    """Of each layer of EfficientNet the name in transformers, and in torchvision's `features`."""
    yield from {"embeddings.convolution": "0.0", "embeddings.batchnorm": "0.1"}.items()
    block = 0
    stages = zip(encoder.num_block_repeats, encoder.expand_ratios, strict=True)
    for stage, (repeats, ratio) in enumerate(stages, start=1):
        parts = _BLOCK if ratio == 1 else (_EXPAND, *_BLOCK)
        for repeat in range(repeats):
            for part, layers in enumerate(parts):
                for theirs, ours in layers.items():
                    yield f"encoder.blocks.{block}.{ours}", f"{stage}.{repeat}.block.{part}.{theirs}"
            block += 1
    yield from {"encoder.top_conv": "8.0", "encoder.top_bn": "8.1"}.items()
