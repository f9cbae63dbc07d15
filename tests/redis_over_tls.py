"""Redis with TLS on both sides, and users with the rights that docs/contracts/README.md lists."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from services.embedded.ports import HOST, free_port
from services.embedded.settings import child_environment
from services.embedded.workspace import Workspace
from tests.certificates import Certificates, issue
from tests.pinned_tools import require_tool
from tools.install import BIN

CONTRACTS = Path(__file__).parent.parent / "docs/contracts/README.md"
PASSWORD = "p/ss"  # noqa: S105 - of a server that lives as long as a test


@dataclass(frozen=True)
class RedisOverTls:
    """A server with an empty database."""

    port: int
    certificates: Certificates

    def url_of(self, user: str) -> str:
        """`rediss://` for one of the users of the documentation."""
        ours = self.certificates
        files = f"ssl_certfile={ours.client_cert}&ssl_keyfile={ours.client_key}"
        return f"rediss://{user}:p%2Fss@{HOST}:{self.port}/0?{files}"

    @property
    def ca_file(self) -> Path:
        """Of the authority that clients must trust."""
        return self.certificates.ca_file

    def admin(self) -> redis.Redis:
        """May do everything."""
        return redis.Redis.from_url(
            self.url_of("").replace(":p%2Fss@", ""), ssl_ca_certs=str(self.ca_file), protocol=2
        )


def allow_what_is_documented(admin: Any) -> None:
    """Create the users as the documentation says."""
    lines = [line for line in CONTRACTS.read_text().splitlines() if line.startswith("ACL SETUSER")]
    assert len(lines) == 3
    for line in lines:
        admin.execute_command(*line.replace("PASSWORD", PASSWORD).split())


@pytest.fixture(scope="session")
def tls_server(
    workspace: Workspace, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> RedisOverTls:
    require_tool("redis", request.config)
    certificates = issue(tmp_path_factory.mktemp("certificates"))
    port = free_port()
    argv: list[str | Path] = [BIN / "redis-server", "--bind", HOST, "--port", "0", "--tls-port", str(port)]
    argv += ["--save", "", "--tls-auth-clients", "yes", "--tls-cert-file", certificates.server_cert]
    argv += ["--tls-key-file", certificates.server_key, "--tls-ca-cert-file", certificates.ca_file]
    server = RedisOverTls(port, certificates)
    process = workspace.start("redis-tls", argv, child_environment())
    process.wait_until(lambda: _answers(server), timeout_s=15.0)
    return server


@pytest.fixture
def redis_over_tls(tls_server: RedisOverTls) -> RedisOverTls:
    """Holds nothing, and has the documented users."""
    with tls_server.admin() as admin:
        admin.flushall()
        allow_what_is_documented(admin)
    return tls_server


def _answers(server: RedisOverTls) -> bool:
    try:
        with server.admin() as admin:
            return bool(admin.ping())
    except redis.ConnectionError:
        return False
