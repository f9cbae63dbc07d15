"""What an operator may choose about the scorer: environment variables with the prefix `ADGAUGE_`."""

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adgauge.adapters.kafka import KafkaConnection
from adgauge.errors import ConfigurationError
from adgauge.pipeline.runner import Limits

PREFIX = "ADGAUGE_"
# Variables of adgauge's other programs, whose names are close to ours.
_OF_OTHERS = {
    f"{PREFIX}{name}"
    for name in ("KAFKA_PORT", "REDIS_PORT", "TRITON_PORT", "TRITON_VENV", "TEST_KAFKA_BOOTSTRAP")
}


def _listed(value: object) -> object:
    """Commas between the items of a list."""
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)]
Schemes = Annotated[tuple[Literal["http", "https", "file", "data"], ...], NoDecode, BeforeValidator(_listed)]


class ScorerSettings(BaseSettings):
    """Everything the scorer can be told. A field without a default must be given."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    kafka_bootstrap: str = Field(description="`host:port` of a broker; several with commas between")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = Field(default=None, description="PEM file; without it the system's")
    kafka_timeout_s: PositiveFloat = Field(default=10.0, description="longest wait for one answer")
    products_topic: str = "catalog.products"
    scores_topic: str = "catalog.scores"
    dead_letters_topic: str = "catalog.products.dlq"
    group: str = Field(
        default="adgauge-scorer", description="consumer group; workers of one group share work"
    )
    instance_id: str | None = Field(
        default=None, description="static membership: a name of its own per worker"
    )
    session_timeout_s: PositiveFloat = Field(
        default=10.0, description="a silent worker is replaced after this"
    )

    redis_url: SecretStr = Field(description="`redis://[user:password@]host:port/db`")
    redis_timeout_s: PositiveFloat = 2.0
    generation: PositiveInt = Field(description="where scores are written: `ag:<generation>:<id>`")
    score_ttl_s: PositiveFloat = Field(default=180 * 86400.0, description="a score lives so long, +-10 %")

    triton_url: str = Field(description="gRPC `host:port`; a name may stand for several replicas")
    triton_deadline_s: PositiveFloat = 10.0
    triton_requests: PositiveInt = Field(default=8, description="requests in flight at most")
    model_dir: Path = Field(description="folder with contract.json, golden.jsonl and the tokenizer")

    image_schemes: Schemes = Field(default=("https", "data"), description="of http, https, file, data")
    image_roots: Paths = Field(default=(), description="folders that `file:` pictures may lie in")

    max_record_bytes: PositiveInt = Field(default=2**20, description="a larger record is rejected")
    batch_records: PositiveInt = 64
    linger_s: PositiveFloat = Field(default=0.05, description="a smaller batch starts after this")
    batches: PositiveInt = Field(default=4, description="batches worked on at once")
    in_flight_records: PositiveInt = Field(default=1024, description="above it the source is paused")
    in_flight_bytes: PositiveInt = Field(default=64 * 2**20, description="above it the source is paused")
    commit_interval_s: PositiveFloat = 1.0
    drain_s: PositiveFloat = Field(default=20.0, description="what runs at SIGTERM may take this long")

    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=9464, ge=0, le=65535, description="0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def kafka_connection(self) -> KafkaConnection:
        """How to reach the brokers."""
        password = self.kafka_password.get_secret_value() if self.kafka_password else None
        return KafkaConnection(
            self.kafka_bootstrap,
            self.kafka_timeout_s,
            self.kafka_security_protocol,
            self.kafka_sasl_mechanism,
            self.kafka_username,
            password,
            self.kafka_ca_file,
        )

    def topics(self) -> tuple[str, ...]:
        """Those that must exist."""
        return self.products_topic, self.scores_topic, self.dead_letters_topic

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


def load_settings() -> ScorerSettings:
    """Read the environment; raises ConfigurationError with one line that says what to change."""
    _refuse_misspelt(os.environ)
    try:
        return ScorerSettings()
    except ValidationError as exc:
        first = exc.errors()[0]
        name = f"{PREFIX}{'_'.join(str(part) for part in first['loc'][:1])}".upper()
        problem = "must be set" if first["type"] == "missing" else first["msg"]
        raise ConfigurationError(f"{name}: {problem}") from exc


def _refuse_misspelt(environment: Mapping[str, str]) -> None:
    """A name that is nearly ours is a mistake nobody would notice."""
    ours = {f"{PREFIX}{name}".upper() for name in ScorerSettings.model_fields}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in ours | _OF_OTHERS:
            close = get_close_matches(name, ours, n=1, cutoff=0.85)
            if close:
                raise ConfigurationError(f"{name} is no setting; did you mean {close[0]}?")
