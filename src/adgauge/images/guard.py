"""Which URLs may be fetched, and which addresses connected to. Refuses whatever is not plainly public."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, quote, urlsplit

from adgauge.canonical.image import ImageError, ImageReason

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

URL_CHARS = 8192
_PORTS = {"http": 80, "https": 443}
_SAFE = "/?%:@!$&'()*+,;=~"
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}", re.ASCII)
# Special-purpose networks that `ipaddress` takes for global in some Python version, and Azure's host agent.
_REFUSED_V4 = ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32")
_REFUSED_V6 = ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
_REFUSED = tuple(ip_network(text) for text in _REFUSED_V4 + _REFUSED_V6)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """One request: where to connect to and what to ask for. `host` is lower-case ASCII, without brackets."""

    scheme: str
    host: str
    port: int
    path: str


def target_of(url: str, schemes: Collection[str], ports: Collection[int]) -> Target:
    """The request an http(s) URL stands for; raises ImageError when it must not be made."""
    parts, port = _split(url)
    if parts.scheme not in _PORTS or parts.scheme not in schemes:
        raise ImageError(ImageReason.SCHEME_NOT_ALLOWED, f"{parts.scheme or 'no scheme'} is not allowed")
    if parts.username is not None or parts.password is not None:
        raise ImageError(ImageReason.BAD_REFERENCE, "credentials in the URL")
    port = _PORTS[parts.scheme] if port is None else port
    if port not in ports:
        raise ImageError(ImageReason.FORBIDDEN_ADDRESS, f"port {port} is not allowed")
    path = parts.path or "/"
    if parts.query:
        path += "?" + parts.query
    return Target(parts.scheme, _host(parts), port, quote(path, safe=_SAFE, errors="replace"))


def check_addresses(addresses: Sequence[str], allowed: Sequence[Network]) -> None:
    """Raise ImageError(FORBIDDEN_ADDRESS) unless every address is public or in an allowed network."""
    for text in addresses:
        address = ip_address(text)
        if not any(address in network for network in allowed) and not _is_public(address):
            raise ImageError(ImageReason.FORBIDDEN_ADDRESS, f"{address} is not a public address")


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if address in _NAT64:
            return _is_public(IPv4Address(int(address) & 0xFFFFFFFF))
        if address not in _GLOBAL_UNICAST:
            return False
    refused = any(address in network for network in _REFUSED)
    return address.is_global and not address.is_multicast and not refused


def _split(url: str) -> tuple[SplitResult, int | None]:
    if len(url) > URL_CHARS:
        raise ImageError(ImageReason.BAD_REFERENCE, f"{len(url)} characters; at most {URL_CHARS}")
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"not a URL: {exc}") from exc


def _host(parts: SplitResult) -> str:
    try:
        host = (parts.hostname or "").encode("idna").decode().lower()
    except UnicodeError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"not a host name: {exc}") from exc
    if not _HOST.fullmatch(host):
        raise ImageError(ImageReason.BAD_REFERENCE, "no valid host name in the URL")
    return host
