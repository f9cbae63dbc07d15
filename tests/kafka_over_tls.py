"""Apache Kafka behind SCRAM over TLS; topics can be looked at through its plain listener as well."""

import uuid
from dataclasses import dataclass
from pathlib import Path

import pytest

from adgauge.adapters.kafka import KafkaConnection
from adgauge.adapters.kafka_admin import KafkaAdmin, TopicPlan
from services.embedded.kafka import Kafka, Listener, scram_over_tls
from services.embedded.ports import HOST, free_port
from services.embedded.workspace import Workspace
from tests.certificates import Certificates, issue
from tests.pinned_tools import require_tool
from tools.install import KAFKA_JARS

USER = "scorer"
PASSWORD = "p/ss"  # noqa: S105 - of a broker that lives as long as the tests


@dataclass(frozen=True)
class KafkaOverTls:
    """A broker with one user, and what its clients need."""

    plain_bootstrap: str
    port: int
    certificates: Certificates

    @property
    def bootstrap(self) -> str:
        """`host:port` of the listener with SCRAM and TLS."""
        return f"{HOST}:{self.port}"

    def connection(self, cert_file: Path | None = None, key_file: Path | None = None) -> KafkaConnection:
        """As the user; with files, a client shows who it is in TLS as well."""
        return KafkaConnection(
            self.bootstrap,
            timeout_s=10.0,
            security_protocol="SASL_SSL",
            sasl_mechanism="SCRAM-SHA-512",
            username=USER,
            password=PASSWORD,
            ca_file=self.certificates.ca_file,
            cert_file=cert_file,
            key_file=key_file,
        )

    @property
    def environment(self) -> dict[str, str]:
        """The settings of `connection()`."""
        return {
            "ADGAUGE_KAFKA_BOOTSTRAP": self.bootstrap,
            "ADGAUGE_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "ADGAUGE_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "ADGAUGE_KAFKA_USERNAME": USER,
            "ADGAUGE_KAFKA_PASSWORD": PASSWORD,
            "ADGAUGE_KAFKA_CA_FILE": str(self.certificates.ca_file),
        }

    def make_topic(self, purpose: str) -> str:
        """A topic of a unique name; it goes with the broker."""
        plan = TopicPlan(f"{uuid.uuid4().hex[:12]}-{purpose}", {})
        with KafkaAdmin(self.connection()) as admin:
            assert admin.create(plan, partitions=1)
        return plan.name


def start_over_tls(
    workspace: Workspace, folder: Path, *, name: str, properties: dict[str, str]
) -> tuple[Kafka, KafkaOverTls]:
    """A broker with certificates in `folder`; `properties` are added to those of its listener."""
    certificates, port = issue(folder), free_port()
    kafka = Kafka(
        workspace,
        jars=KAFKA_JARS,
        name=name,
        properties=scram_over_tls(certificates.server_store, certificates.ca_file) | properties,
        listener=Listener("SECURE", "SASL_SSL", port, port),
        passwords={USER: PASSWORD},
    )
    kafka.start()
    return kafka, KafkaOverTls(kafka.bootstrap, port, certificates)


@pytest.fixture(scope="session")
def kafka_over_tls(
    workspace: Workspace, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> KafkaOverTls:
    require_tool("kafka", request.config)
    folder = tmp_path_factory.mktemp("certificates")
    return start_over_tls(workspace, folder, name="kafka-tls", properties={})[1]
