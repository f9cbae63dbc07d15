"""What a run is told: where its sources are (environment), and its slices and rules (one TOML file)."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from adgauge.adapters.settings import PREFIX
from adgauge.errors import ConfigurationError
from adgauge.monitor.gate import GatePolicy
from adgauge.monitor.slices import Declared

Correlation = Annotated[float, Field(gt=-1, lt=1)]
Share = Annotated[float, Field(gt=0, lt=1)]
DAY_MS = 86_400_000


class RunRules(BaseModel):
    """The table `[rules]`: what is a conclusion, and what an alarm. An alarm needs a size and a significance.

    Significance is that of all slices together: at most `false_discovery_rate` of alarms are false. Where
    nothing is wrong that is the share of runs that alarm, once for labels and once for drift.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    minimum_pairs: Annotated[int, Field(ge=3)] = Field(default=50, description="of a slice that is judged")
    false_discovery_rate: Share = 0.01
    confidence: Share = 0.95
    plcc_floor: Correlation | None = Field(default=None, description="an alarm where PLCC is below")
    tolerated_drop: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="of PLCC against the reference window and the previous generation"
    )
    bias_limit: PositiveFloat | None = Field(default=None, description="in stars, of |score − label|'s mean")
    coverage_floor: Share | None = Field(default=0.5, description="of labels that could be compared")
    psi_limit: PositiveFloat = Field(default=0.25, description="a distribution that changed more has drifted")
    share_limit: Share = Field(default=0.05, description="a share that changed by more has drifted")
    weighted_by_rating_number: bool = False


class MonitorConfig(BaseModel):
    """The whole file; every table may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    slices: Declared = Declared()
    rules: RunRules = RunRules()
    gate: GatePolicy = GatePolicy()


class MonitorSettings(BaseSettings):
    """Of the monitor's runs; paths are files, folders, patterns, remote (s3://…) or `kafka:TOPIC`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    monitor_labels: str | None = Field(
        default=None, description="parent_asin, average_rating, rating_number, observed_at, and item fields"
    )
    monitor_scores: str | None = Field(
        default=None, description="lines of the score log; None: kafka: and the scores topic"
    )
    monitor_items: str | None = Field(default=None, description="catalog lines: fields to slice by")
    monitor_rejected: str | None = Field(default=None, description="kafka:catalog.products.dlq, or ids")
    monitor_training: str | None = Field(default=None, description="ids that the model was trained on")
    monitor_config: Path | None = Field(default=None, description="TOML file with slices and rules")
    monitor_generation: int | None = Field(default=None, ge=0, description="judged; None: the newest scored")
    monitor_previous: int | None = Field(default=None, ge=0, description="None: the one before")
    monitor_window_days: PositiveFloat = Field(default=28.0, description="of labels that are judged")
    monitor_memory_mb: PositiveInt = Field(
        default=1536, description="of the columnar engine; arrays of 10 million labels take as much again"
    )
    monitor_threads: PositiveInt = 2
    monitor_scratch: Path | None = Field(default=None, description="folder for what does not fit in memory")


def load_config(path: Path | None) -> MonitorConfig:
    """Read the TOML file; None: the defaults. Raises ConfigurationError with one line on what is wrong."""
    if path is None:
        return MonitorConfig()
    try:
        return MonitorConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"{path} is no TOML: {exc}") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigurationError(f"{path}: {where}: {first['msg']}") from exc
