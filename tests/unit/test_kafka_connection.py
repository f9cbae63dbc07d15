"""What a connection to Kafka tells of itself, and that nobody makes it wait for ever."""

import socket
import time
from pathlib import Path

import pytest

from adgauge.adapters.kafka import KafkaConnection, KafkaWriter
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.errors import BackendUnavailable, ConfigurationError
from tests.certificates import issue

SECRET = "s3cret"  # noqa: S105  # of nothing


def over_tls(bootstrap: str, ca_file: Path | None = None) -> KafkaConnection:
    return KafkaConnection(bootstrap, 10.0, "SSL", None, None, None, ca_file)


def test_the_password_is_not_in_what_is_logged_of_a_connection() -> None:
    connection = KafkaConnection("kafka:9092", 1.0, "SASL_SSL", "SCRAM-SHA-512", "scorer", SECRET, None)

    assert SECRET not in repr(connection)
    assert connection.options()["sasl_plain_password"] == SECRET


def test_a_server_that_says_nothing_is_left_after_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        began = time.monotonic()
        with pytest.raises(
            BackendUnavailable, match=r"^kafka: no answer at [^\n]*SECURITY_PROTOCOL is SSL[^\n]*$"
        ):
            KafkaWriter(over_tls(f"127.0.0.1:{port}"))

    assert time.monotonic() - began < 9  # 4, and what a busy machine adds


def test_a_file_that_is_no_certificate_is_named() -> None:
    with pytest.raises(ConfigurationError, match=rf"^TLS for Kafka cannot be set up from {__file__}: "):
        KafkaWriter(over_tls("127.0.0.1:1", Path(__file__)))


@pytest.mark.parametrize("half", ["CERT", "KEY"])
def test_half_a_pair_of_certificate_and_key_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, half: str
) -> None:
    made = issue(tmp_path)
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "kafka:9093")
    monkeypatch.setenv("ADGAUGE_KAFKA_SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv(
        f"ADGAUGE_KAFKA_{half}_FILE", str(made.client_cert if half == "CERT" else made.client_key)
    )
    with pytest.raises(ConfigurationError, match="belong together"):
        load_settings(ServerSettings).kafka()


def test_files_that_nobody_would_use_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "kafka:9093")
    monkeypatch.setenv("ADGAUGE_KAFKA_CA_FILE", str(issue(tmp_path).ca_file))
    with pytest.raises(ConfigurationError, match="ADGAUGE_KAFKA_SECURITY_PROTOCOL"):
        load_settings(ServerSettings).kafka()
