"""Where the servers are and what is trusted: from the environment, under one name for all programs.

Programs load the classes they need and hand plain values on; what is missing or wrong is one line that names
its variable.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    ValidationError,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adgauge.adapters.kafka import KafkaConnection
from adgauge.adapters.triton import TritonConnection
from adgauge.errors import ConfigurationError

PREFIX = "ADGAUGE_"
# Close to a name of ours and meant for another program.
_OF_OTHERS = {
    f"{PREFIX}{name}"
    for name in ("KAFKA_PORT", "REDIS_PORT", "TRITON_PORT", "TRITON_VENV", "TEST_KAFKA_BOOTSTRAP")
}


def _listed(value: object) -> object:
    """Commas between the items of a list."""
    return [item for item in value.split(",") if item] if isinstance(value, str) else value


Paths = Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)]
Schemes = Annotated[
    tuple[Literal["http", "https", "file", "data", "s3", "gs"], ...], NoDecode, BeforeValidator(_listed)
]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]
Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], NoDecode, BeforeValidator(_listed)]
Port = Annotated[int, Field(ge=1, le=65535)]
Ports = Annotated[frozenset[Port], NoDecode, BeforeValidator(_listed)]


AnySettings = TypeVar("AnySettings", bound=BaseSettings)


class ServerSettings(BaseSettings):
    """Where the servers are. None: not given; a program that needs it says so."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid", env_ignore_empty=True)

    kafka_bootstrap: str | None = Field(
        default=None, description="`host:port` of a broker; several with commas between"
    )
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    kafka_username: str | None = None
    kafka_password: SecretStr | None = None
    kafka_ca_file: Path | None = Field(default=None, description="PEM file; without it the system's")
    kafka_cert_file: Path | None = Field(default=None, description="PEM file, where brokers ask for one")
    kafka_key_file: Path | None = None
    kafka_timeout_s: PositiveFloat = Field(default=10.0, description="longest wait for one answer")
    products_topic: str = "catalog.products"
    scores_topic: str = "catalog.scores"
    dead_letters_topic: str = "catalog.products.dlq"
    group: str = Field(
        default="adgauge-scorer", description="consumer group; workers of one group share work"
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="`redis[s]://[user:password@]host:port/db`; of a cluster, any member's without db",
    )
    redis_ca_file: Path | None = Field(
        default=None, description="PEM file for rediss://; without it the system's"
    )
    redis_timeout_s: PositiveFloat = 2.0
    redis_wait_replicas: NonNegativeInt = Field(
        default=0, description="a score counts as stored once so many replicas have it"
    )
    content_cache_url: SecretStr | None = Field(
        default=None, description="Redis that remembers scores of unchanged content; None: no such cache"
    )
    triton_url: str | None = Field(
        default=None, description="gRPC `host:port`; a name may stand for several replicas"
    )
    triton_deadline_s: PositiveFloat = 10.0
    triton_tls: bool = False
    triton_ca_file: Path | None = Field(default=None, description="PEM file; without it the system's")
    triton_cert_file: Path | None = Field(default=None, description="PEM file, where Triton asks for one")
    triton_key_file: Path | None = None
    triton_requests: PositiveInt = Field(default=8, description="requests in flight at most")
    model_dir: Path | None = Field(
        default=None, description="folder of a model's version: contract.json, golden.jsonl and the tokenizer"
    )
    image_schemes: Schemes = Field(default=("https",), description="of https, http, file, data, s3, gs")
    image_roots: Paths = Field(default=(), description="folders that `file:` pictures may lie in")
    image_networks: Networks = Field(
        default=(),
        description="networks that are not public and hold picture servers of one's own: 10.1.2.0/24",
    )
    image_ports: Ports = Field(default=frozenset({80, 443}), description="ports that picture URLs may name")
    image_hosts: Names = Field(default=(), description="only these hosts: shop.example, *.cdn.example")
    image_hosts_denied: Names = Field(default=(), description="never these hosts, whatever is allowed")
    image_buckets: Names = Field(
        default=(), description="what s3: and gs: pictures may lie in: s3://pictures, gs://shop/public/"
    )
    image_proxy: str | None = Field(
        default=None, description="`http://host:port` that pictures are fetched through, by CONNECT"
    )
    image_ca_file: Path | None = Field(
        default=None, description="PEM file for https pictures; without it the system's"
    )
    image_timeout_s: PositiveFloat = Field(default=10.0, description="one attempt, redirects included")
    image_connections: PositiveInt = Field(default=256, description="attempts at once, in all")
    image_connections_per_host: PositiveInt = 64
    image_host_patience_s: PositiveFloat = Field(
        default=900.0, description="records wait so long for a host that is away; then they go on without"
    )
    image_cache_dir: Path | None = Field(
        default=None, description="folder of this worker for picture bodies; None: none are kept"
    )
    image_cache_bytes: PositiveInt = 2 * 2**30
    max_record_bytes: PositiveInt = Field(default=2**20, description="a larger record is rejected")

    def kafka(self) -> KafkaConnection:
        """How to reach the brokers; raises ConfigurationError when none is given or settings disagree."""
        self._require_kafka_settings_to_agree()
        return KafkaConnection(
            bootstrap=_given(self.kafka_bootstrap, "ADGAUGE_KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
            timeout_s=self.kafka_timeout_s,
            security_protocol=self.kafka_security_protocol,
            sasl_mechanism=self.kafka_sasl_mechanism,
            username=self.kafka_username,
            password=self.kafka_password.get_secret_value() if self.kafka_password else None,
            ca_file=self.kafka_ca_file,
            cert_file=self.kafka_cert_file,
            key_file=self.kafka_key_file,
        )

    def _require_kafka_settings_to_agree(self) -> None:
        sasl = self.kafka_security_protocol.startswith("SASL")
        credentials = (self.kafka_sasl_mechanism, self.kafka_username, self.kafka_password)
        if sasl and None in credentials:
            raise ConfigurationError(
                f"{self.kafka_security_protocol} needs ADGAUGE_KAFKA_SASL_MECHANISM, _USERNAME and _PASSWORD"
            )
        if not sasl and any(credentials):
            raise ConfigurationError(
                "Kafka credentials are given and not used: set ADGAUGE_KAFKA_SECURITY_PROTOCOL to SASL_SSL"
            )
        files = {
            "ADGAUGE_KAFKA_CA_FILE": self.kafka_ca_file,
            "ADGAUGE_KAFKA_CERT_FILE": self.kafka_cert_file,
            "ADGAUGE_KAFKA_KEY_FILE": self.kafka_key_file,
        }
        for name, path in files.items():
            if path is not None and not path.is_file():
                raise ConfigurationError(f"{name}: {path} is not a file")
        if any(files.values()) and not self.kafka_security_protocol.endswith("SSL"):
            raise ConfigurationError(
                "TLS files are given for Kafka and not used: set ADGAUGE_KAFKA_SECURITY_PROTOCOL to SASL_SSL"
            )
        if (self.kafka_cert_file is None) != (self.kafka_key_file is None):
            raise ConfigurationError("ADGAUGE_KAFKA_CERT_FILE and ADGAUGE_KAFKA_KEY_FILE belong together")

    def redis(self) -> str:
        """The URL of Redis; raises ConfigurationError when none is given."""
        url = self.redis_url.get_secret_value() if self.redis_url else None
        return _given(url, "ADGAUGE_REDIS_URL", "redis://127.0.0.1:6379/0")

    def content_cache(self) -> str | None:
        """The URL of the content cache, or None."""
        return self.content_cache_url.get_secret_value() if self.content_cache_url else None

    def topics(self) -> tuple[str, str, str]:
        """Products, scores, dead letters."""
        return self.products_topic, self.scores_topic, self.dead_letters_topic

    def triton(self) -> TritonConnection:
        """How to reach Triton; raises ConfigurationError when that is not given or settings disagree."""
        files = (self.triton_ca_file, self.triton_cert_file, self.triton_key_file)
        if any(files) and not self.triton_tls:
            raise ConfigurationError(
                "TLS files are given for Triton and not used: set ADGAUGE_TRITON_TLS=true"
            )
        if (self.triton_cert_file is None) != (self.triton_key_file is None):
            raise ConfigurationError("ADGAUGE_TRITON_CERT_FILE and ADGAUGE_TRITON_KEY_FILE belong together")
        return TritonConnection(
            _given(self.triton_url, "ADGAUGE_TRITON_URL", "127.0.0.1:8001"),
            self.triton_deadline_s,
            self.triton_tls,
            *files,
        )

    def model(self) -> Path:
        """The folder of the model's version; raises ConfigurationError when none is given."""
        given = str(self.model_dir) if self.model_dir else None
        return Path(_given(given, "ADGAUGE_MODEL_DIR", "model_repository/effimini_lite0/1"))


def load_settings(kind: type[AnySettings]) -> AnySettings:
    """Read the environment; raises ConfigurationError with one line that says what to change."""
    try:
        return kind()
    except ValidationError as exc:
        first = exc.errors()[0]
        name = f"{PREFIX}{first['loc'][0]}".upper()
        problem = "must be set" if first["type"] == "missing" else first["msg"]
        raise ConfigurationError(f"{name}: {problem}") from exc


def refuse_misspelt(*kinds: type[BaseSettings]) -> None:
    """A name that is nearly one of theirs is a mistake nobody would notice: raises ConfigurationError."""
    ours = {f"{PREFIX}{name}".upper() for kind in kinds for name in kind.model_fields}
    for name in sorted(os.environ):
        unknown = name.startswith(PREFIX) and name not in ours | _OF_OTHERS
        if unknown and (close := get_close_matches(name, ours, n=1, cutoff=0.85)):
            raise ConfigurationError(f"{name} is no setting; did you mean {close[0]}?")


def _given(value: str | None, variable: str, example: str) -> str:
    if value is None:
        raise ConfigurationError(f"set {variable}, for example to {example}")
    return value
