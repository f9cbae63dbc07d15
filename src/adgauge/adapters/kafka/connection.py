"""How brokers are reached, and what their errors mean to us."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import errors as kafka_errors

from adgauge.adapters.kafka.client import Client
from adgauge.errors import BackendUnavailable, ConfigurationError

BACKEND = "kafka"
# Waiting cannot help: somebody has to change something.
LASTING = (
    kafka_errors.AuthorizationError,
    kafka_errors.SaslAuthenticationFailedError,
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
    """How to reach the brokers. `timeout_s` bounds every call.

    The files are PEM. Without `ca_file` the system's authorities are trusted; certificate and key are ours,
    for brokers that ask for them.
    """

    bootstrap: str
    timeout_s: float
    security_protocol: str
    sasl_mechanism: str | None
    username: str | None
    password: str | None = field(repr=False)
    ca_file: Path | None
    cert_file: Path | None = None
    key_file: Path | None = None

    def options(self) -> dict[str, Any]:
        """The settings that consumer, producer and admin client share.

        Raises ConfigurationError when a file is no certificate or key.
        """
        return {
            "kafka_client": Client,
            "bootstrap_servers": self.bootstrap.split(","),
            "security_protocol": self.security_protocol,
            "sasl_mechanism": self.sasl_mechanism,
            "sasl_plain_username": self.username,
            "sasl_plain_password": self.password,
            "ssl_context": self._tls() if self.security_protocol.endswith("SSL") else None,
            "bootstrap_timeout_ms": ms(min(self.timeout_s, BOOTSTRAP_S)),
            "request_timeout_ms": ms(self.timeout_s),
            "reconnect_backoff_max_ms": 1000,
        }

    def _tls(self) -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            if self.cert_file is not None:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as exc:
            files = ", ".join(str(each) for each in (self.ca_file, self.cert_file, self.key_file) if each)
            raise ConfigurationError(f"TLS for Kafka cannot be set up from {files}: {exc}") from exc
        return context


def plain_connection(bootstrap: str, timeout_s: float = 10.0) -> KafkaConnection:
    """Brokers without encryption and authentication."""
    return KafkaConnection(bootstrap, timeout_s, "PLAINTEXT", None, None, None, None)


@contextmanager
def translated(bootstrap: str | None = None) -> Iterator[None]:
    """kafka-python's errors as ours; with `bootstrap` these are the first words to the brokers."""
    try:
        yield
    except kafka_errors.UnsupportedSaslMechanismError as exc:
        raise ConfigurationError(
            "Kafka's listener does not offer ADGAUGE_KAFKA_SASL_MECHANISM: name one that it does"
        ) from exc
    except LASTING as exc:
        raise ConfigurationError(f"Kafka refuses us: {exc}") from exc
    except ssl.SSLCertVerificationError as exc:
        raise ConfigurationError(
            f"Kafka's certificate is not trusted: {exc.verify_message}:"
            " ADGAUGE_KAFKA_CA_FILE must hold that of its authority"
        ) from exc
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
