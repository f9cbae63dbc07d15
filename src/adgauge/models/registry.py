"""Every model there is, by the name that contracts, recipes and the command line use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from adgauge.models.effimini import EffiMini, effimini_lite0, effimini_tiny, effimini_vlm
from adgauge.models.interface import RatingModel

Model: TypeAlias = EffiMini
"""Any of the modules below; each is a RatingModel."""

MODELS: Mapping[str, Callable[[], Model]] = {
    "effimini_vlm": lambda: EffiMini(effimini_vlm()),
    "effimini_lite0": lambda: EffiMini(effimini_lite0()),
    "effimini_tiny": lambda: EffiMini(effimini_tiny()),
}


def build(name: str) -> Model:
    """A model with freshly initialised weights (`torch.manual_seed` decides them).

    Raises:
        ValueError: there is no model of that name; the text lists those there are.

    """
    if name not in MODELS:
        raise ValueError(f"there is no model {name!r}; there are {', '.join(MODELS)}")
    return MODELS[name]()


_: Callable[[], RatingModel] = MODELS["effimini_lite0"]  # mypy: a Model is a RatingModel
