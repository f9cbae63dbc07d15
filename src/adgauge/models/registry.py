"""Every model there is, by the name that contracts, recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from adgauge.canonical import presets
from adgauge.canonical.presets import TokenizerFile
from adgauge.contract import CanonicalSpec
from adgauge.errors import ConfigurationError
from adgauge.models.effimini import EffiMini, effimini_lite0, effimini_tiny, effimini_vlm
from adgauge.models.interface import RatingModel

Model: TypeAlias = EffiMini
"""Any of the modules below; each is a RatingModel."""


@dataclass(frozen=True)
class System:
    """A model with its canonicalization and what its team did not train."""

    build: Callable[[], Model]
    canonical: Callable[[TokenizerFile], CanonicalSpec]
    section: str  # of the report
    encoders: Mapping[str, str]  # module inside the model → the published weights it starts from (hub id)
    frozen: tuple[str, ...] = ()  # prefixes of the names of parameters that are not trained


_EFFIMINI_TEXT = {"text_encoder.backbone": "nreimers/MiniLMv2-L6-H384-distilled-from-BERT-Large"}

SYSTEMS: Mapping[str, System] = {
    "effimini_vlm": System(
        build=lambda: EffiMini(effimini_vlm()),
        canonical=presets.effimini_vlm,
        section="4.4",
        encoders={"image_encoder.backbone": "google/efficientnet-b0", **_EFFIMINI_TEXT},
    ),
    "effimini_lite0": System(
        build=lambda: EffiMini(effimini_lite0()),
        canonical=presets.effimini_lite0,
        section="4.4",
        encoders={"text_encoder.backbone": "sentence-transformers/all-MiniLM-L6-v2"},
    ),
}
"""The six systems of the report and their presets."""

TINY: Mapping[str, System] = {
    "effimini_tiny": System(
        build=lambda: EffiMini(effimini_tiny()),
        canonical=lambda tokenizer: presets.shrunk(presets.effimini_vlm(tokenizer), side=64, token_limit=32),
        section="4.4",
        encoders={},
    ),
}
"""One of each with less than a million parameters, for tests."""

MODELS: Mapping[str, System] = {**SYSTEMS, **TINY}


def system(name: str) -> System:
    """What is registered under a name; raises ConfigurationError that lists the names there are."""
    if name not in MODELS:
        raise ConfigurationError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]


def build(name: str) -> Model:
    """A model with freshly initialised weights (`torch.manual_seed` decides them); raises as `system`."""
    return system(name).build()


_: Callable[[], RatingModel] = MODELS["effimini_lite0"].build  # mypy: a Model is a RatingModel
