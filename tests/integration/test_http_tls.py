"""The fetcher over TLS against servers whose certificates are wrong in every way."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from adgauge.canonical.image import ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.http import HttpPolicy, HttpSource
from tests.misbehaving_server import (
    HOST,
    MAX_BYTES,
    MakeSource,
    Server,
    accepting,
    data,
    error,
    listening,
    ours,
    serve,
)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


def with_certificate(leaf: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    leaf.configure_cert(context)
    return context


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[Server]:
    with serve(with_certificate(authority.issue_cert(HOST, "127.0.0.1"))) as running:
        yield running


@pytest.fixture(scope="module")
def expired(authority: trustme.CA) -> Iterator[Server]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    with serve(with_certificate(authority.issue_cert(HOST, not_after=yesterday))) as running:
        yield running


def test_a_picture_is_fetched_with_the_name_in_the_url(
    secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))
    told: dict[str, str] = {}

    source.fetch(secure.url("/moved", scheme="https"), trace=told.__setitem__)

    assert f"Host: {HOST}:{secure.port}" in secure.heads[-1]
    assert told["tls"].startswith("TLSv1.3, certificate of ")


def test_a_connection_is_used_again(secure: Server, ca_file: Path, make_source: MakeSource) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))
    before = len(secure.connections)
    for path in ("/picture", "/chunked", "/moved", "/etag"):
        assert data(source, secure.url(path, scheme="https")) == b"picture"

    assert len(secure.connections) - before == 1


def test_a_connection_that_the_server_has_closed_costs_no_picture(
    secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))
    for _ in range(3):
        assert data(source, secure.url("/picture", scheme="https")) == b"picture"
        secure.hang_up()


def test_an_address_in_the_url_is_checked_against_the_certificate_too(
    secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))

    assert data(source, secure.url("/picture", "127.0.0.1", "https")) == b"picture"


def test_a_certificate_of_another_host_is_refused(
    secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))

    assert error(source, secure.url("/picture", "other.test", "https")).reason == ImageReason.TLS


def test_an_expired_certificate_is_refused(expired: Server, ca_file: Path, make_source: MakeSource) -> None:
    source = make_source(ours(expired.port, ca_file=ca_file))

    failed = error(source, expired.url("/picture", scheme="https"))

    assert failed.reason == ImageReason.TLS
    assert "expired" in failed.detail


def test_an_unknown_authority_is_refused(secure: Server, make_source: MakeSource) -> None:
    source = make_source(ours(secure.port))

    assert error(source, secure.url("/picture", scheme="https")).reason == ImageReason.TLS


def test_a_server_without_tls_is_refused(server: Server, make_source: MakeSource) -> None:
    assert error(
        make_source(ours(server.port, timeout_s=1.0)), server.url("/picture", scheme="https")
    ).reason in (
        ImageReason.TLS,
        ImageReason.TIMEOUT,
    )


@pytest.mark.parametrize("path", ["/slow-close", "/slow-head", "/slow-body"])
def test_a_slow_answer_is_cut_off_over_tls_too(
    path: str, secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, timeout_s=0.5, ca_file=ca_file))
    start = time.monotonic()

    assert error(source, secure.url(path, scheme="https")).reason == ImageReason.TIMEOUT
    assert time.monotonic() - start < 2.5


@pytest.mark.parametrize("piece", [b"", b"x"])
def test_a_handshake_that_does_not_end_is_cut_off(piece: bytes, make_source: MakeSource) -> None:
    def drip(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB follows
            for _ in range(100):
                client.sendall(piece)
                time.sleep(0.05)

    with listening() as listener:
        accepting(listener, drip)
        port = listener.getsockname()[1]
        start = time.monotonic()

        source = make_source(ours(port, timeout_s=0.4))
        assert error(source, f"https://{HOST}:{port}/").reason == ImageReason.TIMEOUT
        assert time.monotonic() - start < 2.5


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/short", ImageReason.CONNECTION),
        ("/nothing", ImageReason.CONNECTION),
        ("/garbage", ImageReason.CONNECTION),
        ("/stated-large", ImageReason.TOO_LARGE),
    ],
)
def test_reasons_are_the_same_over_tls(
    path: str, reason: ImageReason, secure: Server, ca_file: Path, make_source: MakeSource
) -> None:
    source = make_source(ours(secure.port, ca_file=ca_file))

    assert error(source, secure.url(path, scheme="https")).reason == reason


def test_a_missing_authority_file_is_the_operator_s_to_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="CA file"):
        HttpSource(HttpPolicy(ca_file=tmp_path / "absent.pem"), {"https"}, MAX_BYTES)
