"""An authority, and certificates for servers and clients of this machine, as PEM files."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """Paths of PEM files; server and client are signed by the authority in `ca_file`."""

    ca_file: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path


def issue(folder: Path) -> Certificates:
    """Make an authority, a certificate for 127.0.0.1 and localhost, and one for a client."""
    authority = trustme.CA()
    made = Certificates(
        ca_file=folder / "ca.pem",
        server_cert=folder / "server.pem",
        server_key=folder / "server.key",
        client_cert=folder / "client.pem",
        client_key=folder / "client.key",
    )
    authority.cert_pem.write_to_path(str(made.ca_file))
    _write(authority.issue_cert("127.0.0.1", "localhost"), made.server_cert, made.server_key)
    _write(authority.issue_cert("client@adgauge.test"), made.client_cert, made.client_key)
    return made


def _write(leaf: trustme.LeafCert, certificate: Path, key: Path) -> None:
    chain, *rest = leaf.cert_chain_pems
    chain.write_to_path(str(certificate))
    for part in rest:
        part.write_to_path(str(certificate), append=True)
    leaf.private_key_pem.write_to_path(str(key))
