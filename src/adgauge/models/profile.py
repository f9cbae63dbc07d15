"""What a system of the report costs, part by part, without its weights: P and F of the metric CES."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import CanonicalSpec
from adgauge.errors import ConfigurationError
from adgauge.models.cost import dummy_inputs
from adgauge.models.flops import Macs, count_macs
from adgauge.models.lora import add_lora
from adgauge.models.registry import Model, System, build, system
from adgauge.models.runtime import Runtime, measure

Size = tuple[int, int]
"""Height and width of the picture that a model is shown, in pixels."""


@dataclass(frozen=True)
class Part:
    """One of `image_encoder`, `text_encoder`, `fusion`, `head`."""

    params: int  # as it is served: adaptations are folded into what they adapt
    trainable: int  # adaptations included
    macs: Macs


@dataclass(frozen=True)
class Profile:
    """P and F of a system, at the size and the number of tokens that it was counted with."""

    section: str  # of the report
    tokens: int
    images: int  # pictures that are shown
    size: Size
    parts: Mapping[str, Part]
    encoders: Mapping[str, int]  # module that starts from published weights → its parameters

    @property
    def params(self) -> int:
        """P, of the model as it is served."""
        return sum(part.params for part in self.parts.values())

    @property
    def trainable(self) -> int:
        """The parameters that its team trained."""
        return sum(part.trainable for part in self.parts.values())

    @property
    def macs(self) -> Macs:
        """Of the whole model; F is twice their total."""
        return sum((part.macs for part in self.parts.values()), Macs())


def profile_system(name: str, tokens: int | None = None, size: Size | None = None) -> Profile:
    """Count a system at other than its own limit or size where these are given.

    Raises ConfigurationError for a name that is not registered and for what the model cannot be given.
    """
    known = system(name)
    model, spec = on_meta(known), spec_of(known)
    spec = changed(spec, tokens, size)
    check_limits(name, model, spec, tokens="--tokens", size="--size")
    macs, trainable = _counted(name, model, spec), trained(known)
    return Profile(
        section=known.section,
        tokens=spec.text.token_limit,
        images=spec.image.count,
        size=picture_size(spec),
        parts={
            part: Part(parameters(module), trainable[part], macs.get(part, Macs()))
            for part, module in model.named_children()
        },
        encoders={path: parameters(model.get_submodule(path)) for path in known.encoders},
    )


def _counted(name: str, model: Model, spec: CanonicalSpec) -> dict[str, Macs]:
    with torch.device("meta"):
        inputs = dummy_inputs(spec, 1, spec.text.token_limit)
    try:
        return count_macs(model, inputs)
    except RuntimeError as exc:  # torch's, for shapes that do not fit: filters wider than the picture
        height, width = picture_size(spec)
        raise ConfigurationError(f"--size {height}x{width}: {name} cannot see it: {exc}") from exc


def time_system(name: str, tokens: int | None = None, size: Size | None = None) -> Runtime:
    """Time a system with random weights on this machine; raises as `profile_system`."""
    model, spec = build(name), changed(spec_of(system(name)), tokens, size)
    check_limits(name, model, spec, tokens="--tokens", size="--size")
    return measure(model, dummy_inputs(spec, 1, spec.text.token_limit))


def on_meta(known: System) -> Model:
    """The model with shapes and without numbers: it takes no memory and no time."""
    with torch.device("meta"):
        return known.build().eval()


def spec_of(known: System) -> CanonicalSpec:
    """Its canonicalization, with a tokenizer that is nowhere: only shapes are wanted."""
    return known.canonical(TokenizerFile("tokenizer.json", "0" * 64))


def parameters(module: nn.Module) -> int:
    """Elements of all parameters; of buffers none."""
    return sum(parameter.numel() for parameter in module.parameters())


def trained(known: System) -> dict[str, int]:
    """Part → elements of the parameters that its team trained, with the adaptations of frozen ones."""
    model = on_meta(known)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(known.frozen))
    if known.lora is not None:
        with torch.device("meta"):
            add_lora(model, known.lora.targets, known.lora.rank, known.lora.alpha)
    return {
        part: sum(each.numel() for each in module.parameters() if each.requires_grad)
        for part, module in model.named_children()
    }


def picture_size(spec: CanonicalSpec) -> Size:
    """Of what the model is shown: of the collage where there is one."""
    return spec.image.shape[-2], spec.image.shape[-1]


def changed(spec: CanonicalSpec, tokens: int | None, size: Size | None) -> CanonicalSpec:
    """The same canonicalization with another token limit or picture size; None leaves it as it is."""
    if tokens is not None:
        text = spec.text.model_copy(update={"token_limit": tokens, "ladder": (tokens,)})
        spec = spec.model_copy(update={"text": text})
    if size is None or size == picture_size(spec):
        return spec
    if spec.image.collage:
        height, width = picture_size(spec)
        raise ConfigurationError(f"--size: the collage is {height}x{width} and has no other size")
    return spec.model_copy(
        update={"image": spec.image.model_copy(update={"height": size[0], "width": size[1]})}
    )


def check_limits(
    name: str, model: Model, spec: CanonicalSpec, *, tokens: str = "token_limit", size: str = "image"
) -> None:
    """Raise ConfigurationError unless a model can be given what a canonicalization makes.

    `tokens` and `size` are what the one who chose them calls them.
    """
    limits, limit, (height, width) = model.limits, spec.text.token_limit, picture_size(spec)
    if limit > limits.tokens:
        raise ConfigurationError(
            f"{tokens} {limit}: {name} reads at most {limits.tokens} tokens; choose 1 to {limits.tokens}"
        )
    if limits.size is not None and (height, width) != limits.size:
        allowed = f"{limits.size[0]}x{limits.size[1]}"
        raise ConfigurationError(f"{size} {height}x{width}: {name} sees {allowed} only")
    if height % limits.patch or width % limits.patch:
        raise ConfigurationError(
            f"{size} {height}x{width}: {name} sees patches of {limits.patch} pixels;"
            f" choose multiples of {limits.patch}"
        )
    _check_columns(name, "categories", 1 + len(spec.categories) if spec.categories else 0, limits.categories)
    _check_columns(name, "numeric", len(spec.numeric), limits.numeric)


def _check_columns(name: str, field: str, made: int, taken: int) -> None:
    if made != taken:
        unknown = " (one of them for unknown)" if field == "categories" and taken else ""
        raise ConfigurationError(f"{field}: {made}, but {name} takes {taken}{unknown}")
