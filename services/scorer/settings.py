"""What an operator may choose about the scorer; where its servers are, `adapters/settings.py` reads."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict

from adgauge.adapters.settings import PREFIX
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.runner import Limits

FUSE_JUDGES_FROM = 200


class ScorerSettings(BaseSettings):
    """Everything the scorer can be told. A field without a default must be given."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    generation: PositiveInt = Field(description="where scores are written: `ag:<generation>:<id>`")
    score_ttl_s: PositiveFloat = Field(default=180 * 86400.0, description="a score lives so long, +-10 %")
    instance_id: str | None = Field(
        default=None, description="static membership: a name of its own per worker"
    )
    session_timeout_s: PositiveFloat = Field(
        default=10.0, description="a silent worker is replaced after this"
    )

    batch_records: PositiveInt = 64
    linger_s: PositiveFloat = Field(default=0.05, description="a smaller batch starts after this")
    batches: PositiveInt = Field(default=4, description="batches worked on at once")
    in_flight_records: PositiveInt = Field(default=1024, description="above it the source is paused")
    in_flight_bytes: PositiveInt = Field(default=64 * 2**20, description="above it the source is paused")
    commit_interval_s: PositiveFloat = 1.0
    drain_s: PositiveFloat = Field(default=20.0, description="what runs at SIGTERM may take this long")

    reject_share_limit: float = Field(
        default=0.5, gt=0, le=1, description="a larger share of rejects stops consumption; 1: never"
    )
    reject_window: PositiveInt = Field(default=500, description="decided records that the share is taken of")

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def fuse(self) -> Fuse:
        """When rejects stop consumption."""
        return Fuse(window=self.reject_window, judged_from=FUSE_JUDGES_FROM, limit=self.reject_share_limit)

    def limits(self) -> Limits:
        """What may be in flight."""
        return Limits(
            batch_records=self.batch_records,
            linger_s=self.linger_s,
            batches=self.batches,
            records=self.in_flight_records,
            bytes=self.in_flight_bytes,
            commit_interval_s=self.commit_interval_s,
            drain_s=self.drain_s,
        )
