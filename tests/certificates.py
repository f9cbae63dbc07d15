"""An authority, and certificates for servers and clients of this machine, as PEM files."""

from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; server and client are signed by the authority in `ca_file`."""

    ca_file: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path
    server_store: Path
    """Key and certificate of the server in one file."""


def issue(folder: Path) -> Certificates:
    """Make an authority, a certificate for 127.0.0.1 and localhost, and one for a client."""
    authority = trustme.CA()
    made = Certificates(
        ca_file=folder / "ca.pem",
        server_cert=folder / "server.pem",
        server_key=folder / "server.key",
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
        server_store=folder / "server-store.pem",
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    _write(authority.issue_cert("127.0.0.1", "localhost"), made.server_cert, made.server_key)
    made.server_store.write_bytes(made.server_key.read_bytes() + made.server_cert.read_bytes())
    _write(authority.issue_cert("client@adgauge.test"), made.client_cert, made.client_key)
    return made


def _write(leaf: trustme.LeafCert, certificate: Path, key: Path) -> None:
    chain, *rest = leaf.cert_chain_pems
    chain.write_to_path(str(certificate))
    for part in rest:
        part.write_to_path(str(certificate), append=True)
    key.write_bytes(_pkcs8(leaf.private_key_pem.bytes()))


def _pkcs8(pem: bytes) -> bytes:
    """The only form of a private key that Kafka reads."""
    loaded = load_pem_private_key(pem, password=None)
    return loaded.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
