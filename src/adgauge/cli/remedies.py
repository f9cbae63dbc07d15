"""What a missing picture means for its product, and what to do about each reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from adgauge.canonical.image import TRANSIENT, ImageReason
from adgauge.images.guard import Address, Network
from adgauge.images.hosts import AGAIN_SOON

REFUSED = frozenset(
    {
        ImageReason.BAD_REFERENCE,
        ImageReason.SCHEME_NOT_ALLOWED,
        ImageReason.OUTSIDE_ROOT,
        ImageReason.FORBIDDEN_ADDRESS,
        ImageReason.HOST_NOT_ALLOWED,
    }
)
"""Reasons for which nobody is asked at all; for the others the picture is missing."""

_ANOTHER_FILE = "publish the picture as JPEG, PNG, WebP, GIF, BMP or TIFF, whole and not larger than needed"
REMEDIES: Mapping[ImageReason, str] = {
    ImageReason.BAD_REFERENCE: "publish a reference that can be read: https://host/path without credentials",
    ImageReason.SCHEME_NOT_ALLOWED: (
        "publish https, or name the scheme in ADGAUGE_IMAGE_SCHEMES=https,data,…"
        " (of http, https, file, data, s3, gs)"
    ),
    ImageReason.OUTSIDE_ROOT: (
        "allow a file's folder in ADGAUGE_IMAGE_ROOTS=/folder,…, an object's bucket in"
        " ADGAUGE_IMAGE_BUCKETS=s3://bucket,gs://bucket/folder/,…; .. is never allowed in a path"
    ),
    ImageReason.NOT_FOUND: "put the picture there, or publish the product with a reference that exists",
    ImageReason.UNREADABLE: "make it a regular file that this user may read",
    ImageReason.UNRESOLVED: "look the name up where the scorer runs: getent ahosts HOST",
    ImageReason.FORBIDDEN_ADDRESS: (
        "a picture server of your own is allowed with ADGAUGE_IMAGE_NETWORKS=10.1.2.0/24,…, another port with"
        " ADGAUGE_IMAGE_PORTS=80,443,…; a stranger's reference to such a place is better left refused"
    ),
    ImageReason.HOST_NOT_ALLOWED: (
        "add the host or *.domain to ADGAUGE_IMAGE_HOSTS, or take it from ADGAUGE_IMAGE_HOSTS_DENIED"
    ),
    ImageReason.CONNECTION: (
        "see whether the host listens and speaks HTTP to the scorer's machine; a proxy: ADGAUGE_IMAGE_PROXY"
    ),
    ImageReason.TLS: (
        "renew the host's certificate, or name the authority that signed it in ADGAUGE_IMAGE_CA_FILE=file.pem"
    ),
    ImageReason.HTTP_ERROR: "ask the host why it answers this: it may refuse programs, or want a sign-in",
    ImageReason.RATE_LIMITED: (
        "ask the host for a higher limit, or lower ADGAUGE_IMAGE_CONNECTIONS_PER_HOST=…"
    ),
    ImageReason.SERVER_ERROR: "wait for the host, or tell its people",
    ImageReason.STORE_ERROR: (
        "see whether endpoint, region and credentials (AWS_*, GOOGLE_*) are right and may read the bucket"
    ),
    ImageReason.TIMEOUT: "see why it takes so long; ADGAUGE_IMAGE_TIMEOUT_S=… is what an attempt may take",
    ImageReason.TOO_LARGE: "publish a smaller file: a model sees a few hundred pixels of it",
    ImageReason.UNSUPPORTED_FORMAT: _ANOTHER_FILE,
    ImageReason.TOO_MANY_PIXELS: "publish a smaller picture: a model sees a few hundred pixels of it",
    ImageReason.TRUNCATED: f"upload it again, it ends too early: {_ANOTHER_FILE}",
    ImageReason.UNDECODABLE: f"save it again with another program: {_ANOTHER_FILE}",
    ImageReason.DECODER_TIMEOUT: f"save it again with another program: {_ANOTHER_FILE}",
    ImageReason.DECODER_MEMORY: f"save it again, not progressive or animated: {_ANOTHER_FILE}",
    ImageReason.DECODER_CRASHED: f"save it again, and report the file as a bug of adgauge: {_ANOTHER_FILE}",
}


def consequence(reason: ImageReason, *, required: bool, several: bool, patience_s: float) -> str:
    """What a scorer does with a product whose picture is not there; `several`: it looks at more of them."""
    without = (
        "the product is rejected, and its dead letter says no_image"
        if required
        else "the product is scored without the picture and flagged no_image"
    )
    if several:
        without = f"the product is scored with its other pictures; where it has none, {without}"
    if reason not in TRANSIENT:
        return without
    again = "tried again at once, " if reason in AGAIN_SOON else ""
    return (
        f"{again}waited for up to {patience_s:g} s where the host fails often; then {without}, until"
        " `adgauge rescore --where reason=passing`"
    )


_NAMED = tuple(
    (ip_network(network), name)
    for network, name in (
        ("0.0.0.0/8", "this machine"),
        ("::/128", "this machine"),
        ("127.0.0.0/8", "loopback"),
        ("::1/128", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("fe80::/10", "link-local"),
        ("168.63.129.16/32", "a cloud's host agent"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("192.0.2.0/24", "documentation"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("ff00::/8", "multicast"),
        ("10.0.0.0/8", "private"),
        ("172.16.0.0/12", "private"),
        ("192.168.0.0/16", "private"),
        ("fc00::/7", "private"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")


def kind_of(text: str, allowed: Sequence[Network]) -> str:
    """What an address is, in words; whether it may be asked is the guard's to say."""
    try:
        address = ip_address(text)
    except ValueError:
        return "no address that can be judged"
    for network in allowed:
        if address in network:
            return f"in {network} of ADGAUGE_IMAGE_NETWORKS"
    return _kind(address)


def _kind(address: Address) -> str:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return f"{address.ipv4_mapped} as IPv6: {_kind(address.ipv4_mapped)}"
        if address in _NAT64:
            inner = IPv4Address(int(address) & 0xFFFFFFFF)
            return f"{inner} through NAT64: {_kind(inner)}"
    named = next((name for network, name in _NAMED if address in network), None)
    return named or ("public" if address.is_global else "of a special purpose")
