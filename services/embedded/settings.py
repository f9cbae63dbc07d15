"""What an operator may choose about the embedded servers."""

import os
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parents[2]
# All a server may know of our environment: no PYTHONPATH, no proxies, no credentials.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "JAVA_HOME")


class EmbeddedSettings(BaseSettings):
    """Environment variables with the prefix `ADGAUGE_`. A server whose address is given is not started."""

    model_config = SettingsConfigDict(
        env_prefix="ADGAUGE_", frozen=True, extra="forbid", env_ignore_empty=True
    )

    kafka_bootstrap: str | None = Field(default=None, description="`host:port` of a Kafka cluster to use")
    redis_url: str | None = Field(default=None, description="`redis://` URL of a server to use")
    triton_url: str | None = Field(default=None, description="gRPC `host:port` of a Triton to use")
    kafka_port: int | None = Field(
        default=None, ge=1, le=65535, description="embedded broker (else any free)"
    )
    redis_port: int | None = Field(default=None, ge=1, le=65535, description="embedded Redis (else any free)")
    triton_port: int | None = Field(
        default=None, ge=1, le=65535, description="embedded Triton, gRPC (else any free)"
    )
    triton_venv: Path = Field(default=ROOT / ".venv-triton", description="environment of the embedded Triton")
    model_repository: Path = Field(default=ROOT / "model_repository", description="what Triton serves from")


def child_environment() -> dict[str, str]:
    """The environment of an embedded server."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def scorer_environment() -> dict[str, str]:
    """The environment of a scorer of ours: it may be told more than we tell it."""
    told = {name: value for name, value in os.environ.items() if name.startswith("ADGAUGE_")}
    return child_environment() | told
