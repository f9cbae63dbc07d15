"""How brokers are reached, and what their errors mean to us."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kafka import errors as kafka_errors

from adgauge.errors import BackendUnavailable, ConfigurationError

BACKEND = "kafka"
# Waiting cannot help: somebody has to change something.
LASTING = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.KafkaConfigurationError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.FencedInstanceIdError,
    kafka_errors.InvalidTopicError,
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.PolicyViolationError,
    kafka_errors.InvalidReplicationFactorError,
    kafka_errors.InvalidPartitionsError,
    kafka_errors.InvalidConfigurationError,
)


BOOTSTRAP_S = 4.0
"""A wrong address shows soon; a broker that is merely slow is waited for by whoever starts us again."""


@dataclass(frozen=True, slots=True)
class KafkaConnection:
    """How to reach the brokers. `timeout_s` bounds every call."""

    bootstrap: str
    timeout_s: float
    security_protocol: str
    sasl_mechanism: str | None
    username: str | None
    password: str | None
    ca_file: Path | None

    def options(self) -> dict[str, Any]:
        """The settings that consumer, producer and admin client share."""
        return {
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "ssl_cafile": str(self.ca_file) if self.ca_file else None,
            "bootstrap_timeout_ms": ms(min(self.timeout_s, BOOTSTRAP_S)),
            "request_timeout_ms": ms(self.timeout_s),
            "reconnect_backoff_max_ms": 1000,
        }


def plain_connection(bootstrap: str, timeout_s: float = 10.0) -> KafkaConnection:
    """Brokers without encryption and authentication."""
    return KafkaConnection(bootstrap, timeout_s, "PLAINTEXT", None, None, None, None)


@contextmanager
def translated(bootstrap: str | None = None) -> Iterator[None]:
    """kafka-python's errors as ours; with `bootstrap` these are the first words to the brokers."""
    try:
        yield
    except LASTING as exc:
        raise ConfigurationError(f"Kafka refuses us: {exc}") from exc
    except (kafka_errors.KafkaError, OSError, ValueError) as exc:
        if bootstrap is None:
            raise BackendUnavailable(BACKEND, str(exc)) from exc
        if isinstance(exc, ValueError):
            raise ConfigurationError(f"ADGAUGE_KAFKA_BOOTSTRAP: {exc}") from exc
        raise BackendUnavailable(
            BACKEND, f"no answer at {bootstrap}: {exc}; is ADGAUGE_KAFKA_BOOTSTRAP right and the broker up?"
        ) from exc


def ms(seconds: float) -> int:
    """Kafka counts milliseconds."""
    return round(seconds * 1000)
