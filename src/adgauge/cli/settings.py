"""What the environment tells the command line: the scorer's variables, by the scorer's names.

A test compares names, types and defaults with `services/scorer/settings.py`, which installed packages lack.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adgauge.adapters.kafka import KafkaConnection
from adgauge.errors import ConfigurationError

PREFIX = "ADGAUGE_"


def _listed(value: object) -> object:
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)]
Schemes = Annotated[tuple[Literal["http", "https", "file", "data"], ...], NoDecode, BeforeValidator(_listed)]


class CliSettings(BaseSettings):
    """Where the servers are. None: not given; a command that needs it says so."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    kafka_bootstrap: str | None = None
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = None
    kafka_timeout_s: PositiveFloat = 10.0
    products_topic: str = "catalog.products"
    scores_topic: str = "catalog.scores"
    dead_letters_topic: str = "catalog.products.dlq"
    group: str = "adgauge-scorer"
    redis_url: SecretStr | None = None
    redis_timeout_s: PositiveFloat = 2.0
    triton_url: str | None = None
    triton_deadline_s: PositiveFloat = 10.0
    triton_requests: PositiveInt = 8
    model_dir: Path | None = None
    image_schemes: Schemes = ("https", "data")
    image_roots: Paths = ()
    max_record_bytes: PositiveInt = Field(default=2**20)

    def kafka(self) -> KafkaConnection:
        """How to reach the brokers; raises ConfigurationError when none is given."""
        return KafkaConnection(
            bootstrap=_given(self.kafka_bootstrap, "ADGAUGE_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            timeout_s=self.kafka_timeout_s,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value() if self.kafka_password else None,
            ca_file=self.kafka_ca_file,
        )

    def redis(self) -> str:
        """The URL of Redis; raises ConfigurationError when none is given."""
        url = self.redis_url.get_secret_value() if self.redis_url else None
        return _given(url, "ADGAUGE_REDIS_URL", "redis://127.0.0.1:6379/0")

    def triton(self) -> str:
        """`host:port` of Triton; raises ConfigurationError when none is given."""
        return _given(self.triton_url, "ADGAUGE_TRITON_URL", "127.0.0.1:8001")

    def model(self) -> Path:
        """The model's folder; raises ConfigurationError when none is given."""
        given = str(self.model_dir) if self.model_dir else None
        return Path(_given(given, "ADGAUGE_MODEL_DIR", "model_repository/effimini_lite0"))


def load_settings() -> CliSettings:
    """Read the environment; raises ConfigurationError naming the variable that is wrong."""
    try:
        return CliSettings()
    except ValidationError as exc:
        first = exc.errors()[0]
        raise ConfigurationError(f"{PREFIX}{str(first['loc'][0]).upper()}: {first['msg']}") from exc


def _given(value: str | None, variable: str, example: str) -> str:
    if value is None:
        raise ConfigurationError(f"set {variable}, for example to {example}")
    return value
