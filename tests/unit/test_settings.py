import pytest

from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.errors import ConfigurationError
from services.embedded.settings import EmbeddedSettings

ADDRESSES = {"kafka_bootstrap", "redis_url", "triton_url"}


def test_embedded_servers_and_other_programs_call_addresses_the_same() -> None:
    assert set(ServerSettings.model_fields) & set(EmbeddedSettings.model_fields) == ADDRESSES


def test_empty_variables_are_not_given_and_lists_have_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_TRITON_URL", "")
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "http,https")
    settings = load_settings(ServerSettings)

    assert settings.triton_url is None
    assert settings.image_schemes == ("http", "https")


def test_a_password_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("ADGAUGE_KAFKA_SASL_MECHANISM", "PLAIN")
    monkeypatch.setenv("ADGAUGE_KAFKA_USERNAME", "me")
    monkeypatch.setenv("ADGAUGE_KAFKA_PASSWORD", "hunter2")
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("ADGAUGE_REDIS_URL", "redis://u:hunter2@redis:6379")
    settings = load_settings(ServerSettings)

    assert "hunter2" not in repr(settings)
    assert settings.kafka().password == "hunter2"  # noqa: S105 - that is the point
    assert settings.redis() == "redis://u:hunter2@redis:6379"


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "SASL_SSL needs ADGAUGE_KAFKA_SASL_MECHANISM"),
        ({"USERNAME": "me", "PASSWORD": "x"}, "credentials are given and not used"),
        ({"SECURITY_PROTOCOL": "SSL", "CA_FILE": "/nowhere.pem"}, "/nowhere.pem is not a file"),
    ],
)
def test_kafka_settings_that_disagree_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], complaint: str
) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "broker:9092")
    for name, value in variables.items():
        monkeypatch.setenv(f"ADGAUGE_KAFKA_{name}", value)
    with pytest.raises(ConfigurationError, match=complaint):
        load_settings(ServerSettings).kafka()
