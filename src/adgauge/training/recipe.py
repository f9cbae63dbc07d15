"""The recipe of a head on frozen encoders: one TOML file, no defaults, read once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adgauge.contract import CanonicalSpec, Protocol, TensorSpec
from adgauge.errors import ConfigurationError

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Frozen):
    """How many examples are made and which of them training never sees."""

    creatives_per_photo: Count
    damages_per_creative: Count
    texts: Count
    damages_per_text: Count
    held_out_every: Annotated[int, Field(gt=1)]  # every n-th photo and text is held out


class Targets(_Frozen):
    """What a score means: `clean` less `scale` × the drops of picture and text."""

    clean: Annotated[float, Field(gt=1, lt=5)]
    scale: Positive
    no_image: Positive  # the drop of a product without a picture


class Optimization(_Frozen):
    """AdamW on groups of variants of one product."""

    epochs: Count
    groups_per_batch: Count
    learning_rate: Positive
    weight_decay: Weight
    feature_dropout: Share
    picture_shift: Weight  # how far variants are moved towards another creative, in feature space
    text_shift: Weight
    shared_noise: Weight  # standard deviations, equal for all variants of one product
    level_weight: Weight  # of the absolute target, against 1 for differences within a product
    ranking_weight: Weight
    smooth_beta: Positive


class Serving(_Frozen):
    """What the contract of the trained model will say."""

    name: str
    version: Count
    target: str
    precision: Literal["fp32"]
    tolerance: Positive
    score_range: tuple[float, float]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    protocol: Protocol


class Recipe(_Frozen):
    """Everything that decides the weights, besides the photographs."""

    model: str
    seed: int
    canonical: CanonicalSpec
    data: Data
    targets: Targets
    optimization: Optimization
    serving: Serving


def load_recipe(path: Path) -> Recipe:
    """Read a recipe; raises ConfigurationError that names the file and the key."""
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text()))
    except OSError as exc:
        raise ConfigurationError(f"{path}: {exc.strerror}") from exc
    except tomllib.TOMLDecodeError as exc:
        raise ConfigurationError(f"{path}: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ConfigurationError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from exc
