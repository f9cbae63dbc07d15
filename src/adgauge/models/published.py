"""How published checkpoints of encoders are laid out: their names, sizes and what we leave in them.

A checkpoint holds more than we use: heads for the task it was trained on, or a second tower. What may be
left out is listed here, each with its reason; any other tensor that finds no place is an error, since it
would mean that the checkpoint is of another network than the one we build.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from transformers import PretrainedConfig

from adgauge.errors import ConfigurationError
from adgauge.models.smolvlm import used_positions
from adgauge.models.tensors import one_line

_LANGUAGE_HEAD = "predicts masked or next tokens; we rate"
_CLASSES = "predicts the classes of ImageNet; we rate"
_POOLER = "was trained to tell whether sentences follow each other; no system reads it"
_CONTRASTIVE = "compares pictures with texts; we read the states before it"


@dataclass(frozen=True)
class Layout:
    """The checkpoints whose `config.json` has one `model_type`."""

    parts: tuple[str, ...]  # what stands before an encoder's own names
    left_out: Mapping[str, str]  # prefix of names that we do not load → why
    sections: Mapping[str, str] = field(default_factory=dict)  # a part's model_type → its section
    may_lack: tuple[str, ...] = ()  # prefixes of names that stay random where a checkpoint lacks them
    tables: Mapping[str, Callable[[Tensor, int], Tensor]] = field(default_factory=dict)
    """Square tables of which we may use a part: the checkpoint's name → that part, side × side rows of it."""


LAYOUTS: Mapping[str, Layout] = {
    "efficientnet": Layout(parts=("efficientnet.", ""), left_out={"classifier.": _CLASSES}),
    "bert": Layout(
        parts=("bert.", ""),
        left_out={"cls.": _LANGUAGE_HEAD, "pooler.": _POOLER},
        may_lack=("pooler.",),
    ),
    "roberta": Layout(
        parts=("roberta.", ""),
        left_out={"lm_head.": _LANGUAGE_HEAD, "pooler.": _POOLER},
        may_lack=("pooler.",),
    ),
    "deberta-v2": Layout(
        parts=("deberta.", ""),
        left_out={
            "cls.": _LANGUAGE_HEAD,
            "lm_predictions.": _LANGUAGE_HEAD,
            "mask_predictions.": "tells tokens that a generator replaced; we rate",
            "embeddings.position_embeddings.": "positions are relative in version 3; these are not read",
        },
    ),
    "distilbert": Layout(
        parts=("distilbert.", ""),
        left_out={
            "vocab_transform.": _LANGUAGE_HEAD,
            "vocab_layer_norm.": _LANGUAGE_HEAD,
            "vocab_projector.": _LANGUAGE_HEAD,
        },
    ),
    "swinv2": Layout(parts=("swinv2.", ""), left_out={"classifier.": _CLASSES}),
    "dinov2": Layout(parts=("dinov2.", ""), left_out={"classifier.": _CLASSES}),
    "clip": Layout(
        parts=("vision_model.", "text_model."),
        left_out={
            "visual_projection.": _CONTRASTIVE,
            "text_projection.": _CONTRASTIVE,
            "logit_scale": _CONTRASTIVE,
        },
        sections={"clip_vision_model": "vision_config", "clip_text_model": "text_config"},
    ),
    "clip_vision_model": Layout(parts=("vision_model.", ""), left_out={"visual_projection.": _CONTRASTIVE}),
    "clip_text_model": Layout(parts=("text_model.", ""), left_out={"text_projection.": _CONTRASTIVE}),
    "smolvlm": Layout(
        parts=(
            "model.vision_model.",
            "model.connector.",
            "model.text_model.",
            "model.text_model.embed_tokens.",  # on its own: the text encoder is these alone
        ),
        left_out={"lm_head.": _LANGUAGE_HEAD},
        sections={"smolvlm_vision": "vision_config", "llama": "text_config"},
        tables={"model.vision_model.embeddings.position_embedding.weight": used_positions},
    ),
}
"""By the `model_type` of the published configuration."""

_LAYERS = ("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps")
_TEXT = (*_LAYERS, "intermediate_size", "vocab_size", "max_position_embeddings")
_VISION = (*_LAYERS, "intermediate_size", "patch_size", "num_channels")

FIELDS: Mapping[str, tuple[str, ...]] = {
    "efficientnet": (
        "width_coefficient",
        "depth_coefficient",
        "hidden_dim",
        "kernel_sizes",
        "in_channels",
        "out_channels",
        "strides",
        "num_block_repeats",
        "expand_ratios",
        "squeeze_expansion_ratio",
        "hidden_act",
        "batch_norm_eps",
    ),
    "bert": (*_TEXT, "type_vocab_size"),
    "roberta": (*_TEXT, "type_vocab_size"),
    "deberta-v2": (
        *_TEXT,
        "type_vocab_size",
        "relative_attention",
        "max_relative_positions",
        "position_buckets",
        "pos_att_type",
        "share_att_key",
        "norm_rel_ebd",
        "position_biased_input",
    ),
    "distilbert": (
        "dim",
        "n_layers",
        "n_heads",
        "hidden_dim",
        "activation",
        "vocab_size",
        "max_position_embeddings",
    ),
    "swinv2": (
        "embed_dim",
        "depths",
        "num_heads",
        "window_size",
        "pretrained_window_sizes",
        "mlp_ratio",
        "qkv_bias",
        "hidden_act",
        "layer_norm_eps",
        "patch_size",
        "num_channels",
        "use_absolute_embeddings",
    ),
    "dinov2": (
        *_LAYERS,
        "mlp_ratio",
        "image_size",
        "patch_size",
        "num_channels",
        "qkv_bias",
        "use_swiglu_ffn",
    ),
    "clip_vision_model": (*_VISION, "image_size"),
    "clip_text_model": _TEXT,
    "smolvlm_vision": _VISION,
    "llama": (
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "intermediate_size",
        "vocab_size",
        "hidden_act",
        "rms_norm_eps",
        "rope_parameters",
    ),
}
"""What must be equal, by the `model_type` of an encoder. Window and picture sizes that decide no weight of an
encoder are ours to choose, and dropout is training's."""

# transformers computes these; files from before 2023 hold them all the same.
_COMPUTED = ("position_ids", "token_type_ids", "inv_freq", "relative_position_index", "relative_coords_table")

_FORMERLY = (
    ("LayerNorm.weight", "LayerNorm.gamma"),  # BERT, from TensorFlow
    ("LayerNorm.bias", "LayerNorm.beta"),
    ("attention.q_proj", "attention.attention.query"),  # DINOv2, whose modules transformers 5 renamed
    ("attention.k_proj", "attention.attention.key"),
    ("attention.v_proj", "attention.attention.value"),
    ("attention.o_proj", "attention.output.dense"),
)
"""Ours, transformers' of today → as published."""


@dataclass(frozen=True)
class Match:
    """What a checkpoint has for an encoder."""

    found: Mapping[str, str]  # the encoder's name → the checkpoint's
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def match_names(layout: Layout, needed: Collection[str], given: Collection[str]) -> Match:
    """Find an encoder's names in a checkpoint, under the prefix that most of them are found under."""
    prefix, found = max(
        ((part, _under(part, needed, given)) for part in layout.parts), key=lambda each: len(each[1])
    )
    missing = (name for name in needed if name not in found and not name.startswith(layout.may_lack))
    rest = set(given) - set(found.values())
    unexpected = sorted(name for name in rest if not _is_left_out(layout, prefix, name))
    return Match(found, tuple(missing), tuple(unexpected))


def check_config(published: Mapping[str, Any], ours: PretrainedConfig | None) -> Layout:
    """The layout of a checkpoint; `ours` is the encoder's configuration where it has one of its own.

    Raises ConfigurationError with the field, what it is and what it must be, where the checkpoint is of
    another architecture or of other sizes.
    """
    kind = published.get("model_type")
    layout = LAYOUTS.get(kind) if isinstance(kind, str) else None
    fitting = LAYOUTS if ours is None else [name for name in LAYOUTS if _holds(name, ours.model_type)]
    if layout is None or kind not in fitting:
        raise ConfigurationError(f"model_type is {kind!r}, must be {' or '.join(map(repr, fitting))}")
    if ours is not None:
        section = layout.sections.get(ours.model_type)
        _check_fields(published if section is None else published.get(section), ours, section)
    return layout


def _check_fields(section: object, ours: PretrainedConfig, name: str | None) -> None:
    theirs = _parsed(section, type(ours), name)
    for each in FIELDS[ours.model_type]:
        given, needed = getattr(theirs, each), getattr(ours, each)
        if _comparable(given) != _comparable(needed):
            where = each if name is None else f"{name}.{each}"
            raise ConfigurationError(f"{where} is {given!r}, must be {needed!r}")


def _parsed(section: object, kind: type[PretrainedConfig], name: str | None) -> PretrainedConfig:
    """Defaults for what a file leaves out, and old fields by their names of today, are transformers'."""
    if not isinstance(section, dict):
        raise ConfigurationError(f"{name} is {type(section).__name__}, must be an object")
    try:
        return kind.from_dict(section)
    except Exception as exc:  # a configuration of zero heads is a ZeroDivisionError, and so on
        raise ConfigurationError(f"{name or 'it'} is no {kind.__name__}: {one_line(exc)}") from exc


def _comparable(value: object) -> object:
    """Lists read from JSON are tuples in code; kinds of attention have no order."""
    if isinstance(value, list | tuple):
        return sorted(value) if all(isinstance(each, str) for each in value) else list(value)
    return value


def _holds(layout: str, kind: str) -> bool:
    return kind == layout or kind in LAYOUTS[layout].sections


def _under(part: str, needed: Collection[str], given: Collection[str]) -> dict[str, str]:
    given = set(given)
    found = {}
    for name in needed:
        candidates = (part + candidate for candidate in _names_of(name))
        if (theirs := next((each for each in candidates if each in given), None)) is not None:
            found[name] = theirs
    return found


def _names_of(name: str) -> Iterator[str]:
    yield name
    for today, formerly in _FORMERLY:
        if today in name:
            yield name.replace(today, formerly)


def _is_left_out(layout: Layout, prefix: str, name: str) -> bool:
    owners = (part for part in layout.parts if part and name.startswith(part))
    if max(owners, key=len, default=prefix) != prefix:
        return True  # another encoder's
    return name.removeprefix(prefix).startswith(tuple(layout.left_out)) or name.endswith(_COMPUTED)
