import pytest

from adgauge.cli.settings import CliSettings, load_settings
from services.embedded.settings import EmbeddedSettings
from services.scorer.settings import ScorerSettings

ADDRESSES = {"kafka_bootstrap", "redis_url", "triton_url", "model_dir"}


def test_the_command_line_means_what_the_scorer_means_by_the_same_variable() -> None:
    ours, theirs = CliSettings.model_fields, ScorerSettings.model_fields

    assert set(ours) - set(theirs) == set()
    for name in set(ours) - ADDRESSES:
        assert (name, ours[name].default) == (name, theirs[name].default)
        assert (name, ours[name].annotation) == (name, theirs[name].annotation)


def test_addresses_are_required_by_the_scorer_and_asked_for_by_the_command_that_needs_them() -> None:
    assert all(ScorerSettings.model_fields[name].is_required() for name in ADDRESSES)
    assert all(CliSettings.model_fields[name].default is None for name in ADDRESSES)


def test_embedded_servers_and_the_command_line_call_addresses_the_same() -> None:
    assert ADDRESSES - {"model_dir"} <= set(EmbeddedSettings.model_fields)


def test_empty_variables_are_not_given_and_lists_have_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_TRITON_URL", "")
    monkeypatch.setenv("ADGAUGE_IMAGE_SCHEMES", "http,https")
    settings = load_settings()

    assert settings.triton_url is None
    assert settings.image_schemes == ("http", "https")


def test_a_password_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_KAFKA_PASSWORD", "hunter2")
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", "broker:9092")
    monkeypatch.setenv("ADGAUGE_REDIS_URL", "redis://u:hunter2@redis:6379")
    settings = load_settings()

    assert "hunter2" not in repr(settings)
    assert settings.kafka().password == "hunter2"  # noqa: S105 - that is the point
    assert settings.redis() == "redis://u:hunter2@redis:6379"
