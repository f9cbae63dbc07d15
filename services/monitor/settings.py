"""What an operator may choose about the service; `adgauge/monitor/settings.py` reads what a run is told."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from adgauge.adapters.settings import PREFIX
from adgauge.monitor.exporter import MOST_SERIES


class MonitorServiceSettings(BaseSettings):
    """When it runs, what it keeps, and where it can be asked."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    monitor_every_s: PositiveFloat = Field(
        default=3600.0, description="between the beginnings of two runs; a longer run delays the next"
    )
    monitor_run_limit_s: PositiveFloat = Field(
        default=3600.0, description="a run that takes longer is ended, and has failed"
    )
    monitor_state_dir: Path | None = Field(
        default=None, description="folder for result.json, report.html and history.sqlite; None: none is kept"
    )
    monitor_max_series: PositiveInt = Field(default=MOST_SERIES, description="of a result; more are left out")

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9465, ge=0, le=65535, description="0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
