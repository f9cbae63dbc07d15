"""Which URLs may be fetched, and which addresses connected to. Refuses whatever is not plainly public."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from encodings.idna import nameprep
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import SplitResult, quote, urlsplit

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

URL_CHARS = 8192
_HOST_CHARS = 253
_PORTS = {"http": 80, "https": 443}
_SAFE = "/?%:@!$&'()*+,;=~"
_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_AUTHORITY = re.compile(r"(?:\[(?P<literal>[^\[\]@]*)\]|(?P<name>[^:\[\]@\\]*))(?::(?P<port>[0-9]{0,5}))?")
_NAME = re.compile(r"[a-z0-9._-]+", re.ASCII)
_DOTS = re.compile("[.\u3002\uff0e\uff61]")
_KEPT = re.compile("([ßς])")  # letters to registries and browsers; Python's codec, IDNA of 2003, has ss and σ
# What ends like this is an IPv4 address to a browser and to inet_aton, in some notation (WHATWG URL, 3.5).
_NUMBER_LAST = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)", re.ASCII)
# By name, because a resolver inside a cloud may give them any address.
_METADATA = frozenset({"metadata.google.internal", "metadata.goog", "instance-data.ec2.internal"})
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

    @property
    def authority(self) -> str:
        """As in a Host header: with brackets where needed, and with a port that is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def target_of(url: str, schemes: Collection[str], ports: Collection[int]) -> Target:
    """The request an http(s) URL stands for; raises ImageError when it must not be made."""
    parts = _split(url)
    if parts.scheme not in _PORTS or parts.scheme not in schemes:
        scheme = parts.scheme[:20] or "no scheme"
        raise ImageError(ImageReason.SCHEME_NOT_ALLOWED, f"{scheme} is not allowed")
    host, port = _host_and_port(parts.netloc)
    port = _PORTS[parts.scheme] if port is None else port
    if port not in ports:
        raise ImageError(ImageReason.FORBIDDEN_ADDRESS, f"port {port} is not allowed")
    if host in _METADATA:
        raise ImageError(ImageReason.FORBIDDEN_ADDRESS, f"{host} is a cloud's metadata service")
    path = parts.path or "/"
    if parts.query:
        path += "?" + parts.query
    return Target(parts.scheme, host, port, quote(path, safe=_SAFE))


def check_addresses(addresses: Sequence[str], allowed: Sequence[Network]) -> None:
    """Raise ImageError(FORBIDDEN_ADDRESS) unless every address is public or in an allowed network."""
    for text in addresses:
        if not is_allowed(text, allowed):
            raise ImageError(ImageReason.FORBIDDEN_ADDRESS, f"{text[:60]} is not a public address")


def is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    """Whether an address is public or in an allowed network; what is no address is neither."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return any(address in network for network in allowed) or _is_public(address)


class HostLists:
    """Which hosts may be asked: those on `allowed`, or all where it is empty, without those on `denied`.

    An entry is a host or `*.domain`, which stands for every host below the domain but not the domain.
    """

    def __init__(self, allowed: Sequence[str] = (), denied: Sequence[str] = ()) -> None:
        self._allowed = frozenset(map(_pattern, allowed))
        self._denied = frozenset(map(_pattern, denied))

    def check(self, host: str) -> None:
        """Raise ImageError(HOST_NOT_ALLOWED) for a host, written as in a Target, that may not be asked."""
        if not self._allowed and not self._denied:
            return
        names = _patterns_for(host)
        if not self._denied.isdisjoint(names):
            raise ImageError(ImageReason.HOST_NOT_ALLOWED, f"{host} is on the list of denied hosts")
        if self._allowed and self._allowed.isdisjoint(names):
            raise ImageError(ImageReason.HOST_NOT_ALLOWED, f"{host} is not on the list of allowed hosts")


def _patterns_for(host: str) -> set[str]:
    """Every entry that would stand for the host."""
    labels = host.split(".")
    return {host, *("*." + ".".join(labels[at:]) for at in range(1, len(labels)))}


def _pattern(text: str) -> str:
    star, rest = ("*.", text[2:]) if text.startswith("*.") else ("", text)
    try:
        host, port = _host_and_port(f"[{rest}]" if rest.count(":") > 1 and "[" not in rest else rest)
    except ImageError as exc:
        raise ConfigurationError(f"host list: {text!r} is neither a host nor *.domain") from exc
    if port is not None:
        raise ConfigurationError(f"host list: {text!r} names a port; a host or *.domain is wanted")
    return star + host


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


def _split(url: str) -> SplitResult:
    if len(url) > URL_CHARS:
        raise ImageError(ImageReason.BAD_REFERENCE, f"{len(url)} characters; at most {URL_CHARS}")
    text = url.strip(" ")
    if _CONTROL.search(text):  # `urlsplit` would drop some of them silently
        raise ImageError(ImageReason.BAD_REFERENCE, "control characters or half characters in the URL")
    try:
        return urlsplit(text)
    except ValueError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"not a URL: {exc}") from exc


def _host_and_port(authority: str) -> tuple[str, int | None]:
    """Host and port as one strict grammar reads them: no other parser ever sees the URL."""
    if "@" in authority:
        raise ImageError(ImageReason.BAD_REFERENCE, "credentials in the URL")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ImageError(ImageReason.BAD_REFERENCE, "no valid host and port in the URL")
    host = _name(found["name"]) if found["literal"] is None else _literal(found["literal"])
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65535:
        raise ImageError(ImageReason.BAD_REFERENCE, f"{port} is not a port")
    return host, port


def _literal(text: str) -> str:
    try:
        return str(IPv6Address(text if "%" not in text else ""))
    except ValueError as exc:
        raise ImageError(
            ImageReason.BAD_REFERENCE, "not an IPv6 address in brackets, or one with a zone"
        ) from exc


def _name(text: str) -> str:
    """A host name in the form of DNS, without the root's dot; an IPv4 address as a plain dotted quad."""
    name = text.lower() if text.isascii() else _ascii(text)
    name = name.removesuffix(".")
    if (
        len(name) > _HOST_CHARS
        or not _NAME.fullmatch(name)
        or not all(0 < len(x) < 64 for x in name.split("."))
    ):
        raise ImageError(ImageReason.BAD_REFERENCE, "no valid host name in the URL")
    if _NUMBER_LAST.fullmatch(name):
        try:
            return str(IPv4Address(name))
        except ValueError as exc:
            raise ImageError(ImageReason.BAD_REFERENCE, "an IPv4 address in an odd notation") from exc
    return name


def _ascii(text: str) -> str:
    """IDNA: full-width digits and dots, capitals and the like become what they stand for."""
    if len(text) > _HOST_CHARS:
        raise ImageError(ImageReason.BAD_REFERENCE, "no valid host name in the URL")
    try:
        return ".".join(_ascii_label(label) for label in _DOTS.split(text)).lower()
    except UnicodeError as exc:
        raise ImageError(ImageReason.BAD_REFERENCE, f"not a host name: {exc}") from exc


def _ascii_label(label: str) -> str:
    parts = _KEPT.split(label)
    if len(parts) == 1:
        return label.encode("idna").decode()
    mapped = "".join(part if part in "ßς" else nameprep(part) for part in parts)
    return "xn--" + mapped.encode("punycode").decode()
