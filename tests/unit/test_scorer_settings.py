from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from adgauge.adapters.settings import ServerSettings, load_settings, refuse_misspelt
from adgauge.errors import ConfigurationError
from services.scorer.settings import ScorerSettings

GIVEN = {
    "ADGAUGE_KAFKA_BOOTSTRAP": "a:9092,b:9092",
    "ADGAUGE_REDIS_URL": "redis://user:secret@cache:6379/0",
    "ADGAUGE_TRITON_URL": "triton:8001",
    "ADGAUGE_MODEL_DIR": "/models/m",
    "ADGAUGE_GENERATION": "3",
}


@pytest.fixture(autouse=True)
def _given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)


def test_what_must_be_given_is_enough() -> None:
    servers = load_settings(ServerSettings)

    assert load_settings(ScorerSettings).generation == 3
    assert servers.model() == Path("/models/m")
    assert servers.image_schemes == ("https",)
    assert servers.topics() == ("catalog.products", "catalog.scores", "catalog.products.dlq")
    assert servers.kafka().options()["bootstrap_servers"] == ["a:9092", "b:9092"]


def test_lists_are_written_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_IMAGE_ROOTS", "/a,/b")
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "file,https")
    monkeypatch.setenv("ADGAUGE_IMAGE_NETWORKS", "10.1.2.0/24,fd00::/8")
    monkeypatch.setenv("ADGAUGE_IMAGE_PORTS", "80,8080")
    settings = load_settings(ServerSettings)

    assert settings.image_roots == (Path("/a"), Path("/b"))
    assert settings.image_schemes == ("file", "https")
    assert settings.image_networks == (IPv4Network("10.1.2.0/24"), IPv6Network("fd00::/8"))
    assert settings.image_ports == {80, 8080}


def test_passwords_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_PASSWORD", "secret")
    assert "secret" not in repr(load_settings(ServerSettings))


def test_the_generation_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ADGAUGE_GENERATION")
    with pytest.raises(ConfigurationError, match="ADGAUGE_GENERATION: must be set"):
        load_settings(ScorerSettings)


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - {"ADGAUGE_GENERATION"}))
def test_an_address_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    servers = load_settings(ServerSettings)
    with pytest.raises(ConfigurationError, match=f"set {name}, for example"):
        [ask() for ask in (servers.kafka, servers.redis, servers.triton, servers.model)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ADGAUGE_GENERATION", "0"),
        ("ADGAUGE_LINGER_S", "-1"),
        ("ADGAUGE_METRICS_PORT", "70000"),
        ("ADGAUGE_IMAGE_SCHEMES", "ftp"),
        ("ADGAUGE_IMAGE_NETWORKS", "10.1.2.3/24"),
        ("ADGAUGE_IMAGE_PORTS", "0"),
        ("ADGAUGE_KAFKA_SECURITY_PROTOCOL", "TLS"),
    ],
)
def test_a_wrong_value_is_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name) as caught:
        (load_settings(ServerSettings), load_settings(ScorerSettings))
    assert "\n" not in str(caught.value)


def test_a_misspelt_name_is_refused_with_the_right_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_IN_FLIGHT_RECORD", "5")
    with pytest.raises(ConfigurationError, match="did you mean ADGAUGE_IN_FLIGHT_RECORDS"):
        refuse_misspelt(ServerSettings, ScorerSettings)


def test_names_of_other_programs_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADGAUGE_KAFKA_PORT", "ADGAUGE_TEST_KAFKA_BOOTSTRAP", "ADGAUGE_TRITON_VENV"):
        monkeypatch.setenv(name, "1")
    refuse_misspelt(ServerSettings, ScorerSettings)
