"""Apache Kafka behind SCRAM over TLS, and what is said when one of both is wrong."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from adgauge.adapters.kafka import (
    KafkaConnection,
    KafkaDeadLetters,
    KafkaScoreLog,
    KafkaWriter,
    require_topics,
)
from adgauge.adapters.kafka_admin import KafkaAdmin, TopicPlan
from adgauge.cli import main
from adgauge.errors import BackendUnavailable, ConfigurationError
from services.embedded.workspace import Workspace
from tests.certificates import issue
from tests.contract.test_source import Recording, poll_until, source_over
from tests.contract.test_written_topics import REJECTION, SCORE, envelope, read
from tests.kafka_over_tls import KafkaOverTls, start_over_tls
from tests.pinned_tools import require_tool

pytestmark = pytest.mark.tool("kafka")

PATIENCE_S = 4.0
"""Of connections that fail, as in production: a new broker may take two seconds for its first refusal."""

Wrong = Callable[[KafkaOverTls, Path], KafkaConnection]


def test_scores_and_dead_letters_are_written(kafka_over_tls: KafkaOverTls) -> None:
    scores, letters = kafka_over_tls.make_topic("scores"), kafka_over_tls.make_topic("dlq")
    with closing(KafkaWriter(kafka_over_tls.connection())) as writer:
        KafkaScoreLog(writer, scores, generation=1, model="m/1", contract="ab").append([SCORE])
        KafkaDeadLetters(writer, letters, "1").put([(envelope(b"k", b"\xff"), REJECTION)])

    assert [key for key, _, _ in read(kafka_over_tls.plain_bootstrap, scores)] == [b"P1"]
    assert [value for _, value, _ in read(kafka_over_tls.plain_bootstrap, letters)] == [b"\xff"]


def test_topics_are_created_and_found(
    kafka_over_tls: KafkaOverTls, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in kafka_over_tls.environment.items():
        monkeypatch.setenv(name, value)
    assert main(["topics", "create", "--partitions", "2"]) == 0
    assert capsys.readouterr().out.count("created with 2 partitions") == 3
    assert main(["topics", "create", "--partitions", "2"]) == 0

    assert capsys.readouterr().out.count("exists, left as it is") == 3
    require_topics(kafka_over_tls.connection(), ["catalog.products", "catalog.scores"])


def wrong_password(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), password="guessed")  # noqa: S106 - wrong on purpose


def unknown_user(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), username="nobody")


def mechanism_that_is_off(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), sasl_mechanism="SCRAM-SHA-256")


def unknown_authority(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), ca_file=issue(tmp_path).ca_file)


def no_authority(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), ca_file=None)


def plain_to_tls(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), security_protocol="SASL_PLAINTEXT")


def tls_to_plain(kafka: KafkaOverTls, tmp_path: Path) -> KafkaConnection:
    return replace(kafka.connection(), bootstrap=kafka.plain_bootstrap)


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        (wrong_password, ConfigurationError, "^Kafka refuses us: .*credentials"),
        (unknown_user, ConfigurationError, "^Kafka refuses us: .*credentials"),
        (mechanism_that_is_off, ConfigurationError, "ADGAUGE_KAFKA_SASL_MECHANISM"),
        (unknown_authority, ConfigurationError, "certificate is not trusted.*ADGAUGE_KAFKA_CA_FILE"),
        (no_authority, ConfigurationError, "certificate is not trusted.*ADGAUGE_KAFKA_CA_FILE"),
        (plain_to_tls, BackendUnavailable, "SECURITY_PROTOCOL is SASL_PLAINTEXT"),
        (tls_to_plain, BackendUnavailable, "SECURITY_PROTOCOL is SASL_SSL"),
    ],
)
def test_what_cannot_work_is_one_line_within_seconds(
    kafka_over_tls: KafkaOverTls, tmp_path: Path, wrong: Wrong, error: type[Exception], said: str
) -> None:
    connection = replace(wrong(kafka_over_tls, tmp_path), timeout_s=PATIENCE_S)
    began = time.monotonic()
    with pytest.raises(error, match=said) as raised:
        KafkaWriter(connection).close()

    assert "\n" not in str(raised.value)
    assert "guessed" not in str(raised.value)
    assert time.monotonic() - began < 1.5 * PATIENCE_S  # and what a busy machine adds


@pytest.mark.parametrize("client", [partial(source_over, topic="products"), KafkaAdmin])
def test_every_client_says_that_the_password_is_wrong(
    kafka_over_tls: KafkaOverTls, tmp_path: Path, client: Callable[[KafkaConnection], object]
) -> None:
    with pytest.raises(ConfigurationError, match=r"^Kafka refuses us: [^\n]*credentials[^\n]*$"):
        client(wrong_password(kafka_over_tls, tmp_path))


@pytest.fixture(scope="module")
def mutual(
    workspace: Workspace, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[KafkaOverTls]:
    """A broker that asks clients for certificates."""
    require_tool("kafka", request.config)
    properties = {"listener.name.secure.ssl.client.auth": "required"}
    folder = tmp_path_factory.mktemp("certificates")
    kafka, reached = start_over_tls(workspace, folder, name="kafka-mutual", properties=properties)
    yield reached
    kafka.kill()


def test_a_certificate_of_ours_lets_us_in(mutual: KafkaOverTls) -> None:
    ours = mutual.certificates
    connection = mutual.connection(ours.client_cert, ours.client_key)
    topic = "products"
    with KafkaAdmin(connection) as admin:
        assert admin.create(TopicPlan(topic, {}), partitions=1)
    with closing(KafkaWriter(connection)) as writer:
        writer.write(topic, [(b"k", b"v", ())])
    with closing(source_over(connection, topic)) as source:
        source.subscribe(Recording())
        (record,) = poll_until(source, lambda found: len(found) == 1)

    assert record.value == b"v"


def test_a_broker_that_asks_for_a_certificate_of_ours_ends_without_one_with_one_line(
    mutual: KafkaOverTls,
) -> None:
    with pytest.raises((ConfigurationError, BackendUnavailable), match=r"^[^\n]*certificate[^\n]*$"):
        KafkaWriter(replace(mutual.connection(), timeout_s=PATIENCE_S))
