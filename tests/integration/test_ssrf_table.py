"""URLs and redirects that aim at what is not public: refused by name, and nothing connected to.

What the process connects to is seen through Python's audit events, below everything that is tested.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from urllib.parse import quote

import pytest

from adgauge.canonical.image import ImageReason
from adgauge.images.guard import Target, check_addresses, target_of
from adgauge.images.http import HttpPolicy, HttpSource
from tests.misbehaving_server import HOST, MAX_BYTES, MakeSource, Server, data, error, serve

BAD, FORBIDDEN = ImageReason.BAD_REFERENCE, ImageReason.FORBIDDEN_ADDRESS
SCHEME, DENIED = ImageReason.SCHEME_NOT_ALLOWED, ImageReason.HOST_NOT_ALLOWED
BOTH = frozenset({"http", "https"})
SERVER_ADDRESS = "127.0.0.2"  # allowed alone, so that the rest of loopback is as forbidden as in production

_connected: list[object] = []
_watching: list[bool] = []


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event in ("socket.connect", "socket.sendto") and _watching:
        _connected.append(arguments[1])


sys.addaudithook(_audit)  # cannot be taken out again: it looks only while a test watches


@pytest.fixture
def connected() -> Iterator[list[object]]:
    """Every address that a socket of this process was connected to meanwhile."""
    _connected.clear()
    _watching.append(True)
    yield _connected
    _watching.clear()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve(address=SERVER_ADDRESS) as running:
        yield running


ADDRESSES = {
    HOST: [SERVER_ADDRESS],
    "localhost": ["127.0.0.1", "::1"],
    "intranet": ["10.1.2.3"],
    "private.example": ["10.0.0.5"],
    "mixed.example": ["93.184.216.34", "10.0.0.5"],
    "mixed6.example": ["2606:4700::1111", "fd00::5"],
    "mapped.example": ["::ffff:192.168.0.1"],
    "metadata.example": ["169.254.169.254"],
    "scoped.example": ["fe80::1%eth0"],
    "127.0.0.1.nip.example": ["127.0.0.1"],
    "xn--bcher-kva.example": ["172.16.0.1"],
    "odd.example": ["not an address"],
}


def resolver(host: str, port: int) -> Sequence[str]:
    """As the system would, for literal addresses and the names above; every other name is public."""
    literal = host.replace(".", "").isdigit() or ":" in host
    return ADDRESSES.get(host, [host if literal else "93.184.216.34"])


@pytest.fixture
def source(server: Server, make_source: MakeSource) -> HttpSource:
    policy = HttpPolicy(
        timeout_s=3.0,
        ports=frozenset({80, 443, server.port}),
        allowed_networks=(ip_network(f"{SERVER_ADDRESS}/32"),),
        denied_hosts=("denied.example", "*.denied.example"),
    )
    return make_source(policy, resolver)


REFUSED = [
    # loopback, plainly
    ("http://127.0.0.1/", FORBIDDEN),
    ("https://127.0.0.1/a.jpg", FORBIDDEN),
    ("http://127.0.0.1:443/", FORBIDDEN),
    ("http://127.255.255.254/", FORBIDDEN),
    ("http://localhost/", FORBIDDEN),
    ("http://LOCALHOST./", FORBIDDEN),
    ("http://[::1]/", FORBIDDEN),
    ("http://[0:0:0:0:0:0:0:1]/", FORBIDDEN),
    ("http://[::]/", FORBIDDEN),
    ("http://0.0.0.0/", FORBIDDEN),
    ("http://127.0.0.1./", FORBIDDEN),
    # in other notations of IPv4
    ("http://0x7f000001/", BAD),
    ("http://0x7F.0.0.1/", BAD),
    ("http://2130706433/", BAD),
    ("http://017700000001/", BAD),
    ("http://0177.0.0.1/", BAD),
    ("http://127.1/", BAD),
    ("http://127.0.1/", BAD),
    ("http://0/", BAD),
    ("http://127.0.0.01/", BAD),
    ("http://127.0.0.0x1/", BAD),
    ("http://256.256.256.256/", BAD),
    ("http://1.2.3.4.5/", BAD),
    ("http://0x/", BAD),
    ("http://127.0.0.1../", BAD),
    # in other characters
    ("http://127。0。0。1/", FORBIDDEN),
    ("http://１２７.０.０.１/", FORBIDDEN),
    ("http://①②⑦.⓪.⓪.①/", FORBIDDEN),
    ("http://127．0．0．1/", FORBIDDEN),
    ("http://１２７.１/", BAD),
    ("http://ｌｏｃａｌｈｏｓｔ/", FORBIDDEN),
    ("http://loc\u00adalhost/", FORBIDDEN),
    ("http://ⓛocalhost/", FORBIDDEN),
    ("http://127%2E0%2E0%2E1/", BAD),
    ("http://%31%32%37.0.0.1/", BAD),
    ("http://localhost%00.example.com/", BAD),
    ("http://bücher.example/", FORBIDDEN),
    ("http://127.0.0.1\u2100.example/", BAD),
    # private and special networks
    ("http://10.0.0.1/", FORBIDDEN),
    ("http://172.16.0.1/", FORBIDDEN),
    ("http://172.31.255.255/", FORBIDDEN),
    ("http://192.168.1.1/", FORBIDDEN),
    ("http://100.64.0.1/", FORBIDDEN),
    ("http://169.254.1.1/", FORBIDDEN),
    ("http://192.0.2.1/", FORBIDDEN),
    ("http://198.51.100.1/", FORBIDDEN),
    ("http://203.0.113.1/", FORBIDDEN),
    ("http://198.18.0.1/", FORBIDDEN),
    ("http://224.0.0.1/", FORBIDDEN),
    ("http://239.255.255.250/", FORBIDDEN),
    ("http://240.0.0.1/", FORBIDDEN),
    ("http://255.255.255.255/", FORBIDDEN),
    ("http://0.1.2.3/", FORBIDDEN),
    ("http://192.88.99.1/", FORBIDDEN),
    # clouds' metadata
    ("http://169.254.169.254/latest/meta-data/", FORBIDDEN),
    ("http://100.100.100.200/latest/meta-data/", FORBIDDEN),
    ("http://168.63.129.16/", FORBIDDEN),
    ("http://[fd00:ec2::254]/latest/meta-data/", FORBIDDEN),
    ("http://metadata.google.internal/computeMetadata/v1/", FORBIDDEN),
    ("http://METADATA.google.internal./", FORBIDDEN),
    ("http://metadata.goog/", FORBIDDEN),
    ("http://metadata.example/", FORBIDDEN),
    # IPv6, and IPv4 inside it
    ("http://[::ffff:127.0.0.1]/", FORBIDDEN),
    ("http://[::ffff:7f00:1]/", FORBIDDEN),
    ("http://[::ffff:10.0.0.1]/", FORBIDDEN),
    ("http://[::ffff:169.254.169.254]/", FORBIDDEN),
    ("http://[::127.0.0.1]/", FORBIDDEN),
    ("http://[64:ff9b::127.0.0.1]/", FORBIDDEN),
    ("http://[64:ff9b::a9fe:a9fe]/", FORBIDDEN),
    ("http://[64:ff9b:1::a00:1]/", FORBIDDEN),
    ("http://[2002:7f00:1::]/", FORBIDDEN),
    ("http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/", FORBIDDEN),
    ("http://[fc00::1]/", FORBIDDEN),
    ("http://[fd12:3456:789a::1]/", FORBIDDEN),
    ("http://[fe80::1]/", FORBIDDEN),
    ("http://[fe80::1%25eth0]/", BAD),
    ("http://[fec0::1]/", FORBIDDEN),
    ("http://[ff02::1]/", FORBIDDEN),
    ("http://[2001:db8::1]/", FORBIDDEN),
    ("http://[100::1]/", FORBIDDEN),
    ("http://[127.0.0.1]/", BAD),
    ("http://[v1.localhost]/", BAD),
    ("http://[::1/", BAD),
    ("http://::1/", BAD),
    # names whose addresses are not public
    ("http://intranet/", FORBIDDEN),
    ("http://private.example/", FORBIDDEN),
    ("http://mixed.example/", FORBIDDEN),
    ("http://mixed6.example/", FORBIDDEN),
    ("http://mapped.example/", FORBIDDEN),
    ("http://scoped.example/", FORBIDDEN),
    ("http://odd.example/", FORBIDDEN),
    ("http://127.0.0.1.nip.example/", FORBIDDEN),
    ("http://denied.example/", DENIED),
    ("http://a.b.Denied.example./", DENIED),
    # what parsers do not agree about
    ("http://example.com@127.0.0.1/", BAD),
    ("http://user:password@example.com/", BAD),
    ("http://@example.com/", BAD),
    ("http://127.0.0.1:80@example.com/", BAD),
    ("http://example.com\\@127.0.0.1/", BAD),
    ("http:\\\\127.0.0.1\\", BAD),
    ("http://127.0.0.1\\.example.com/", BAD),
    ("http://example.com:80:80/", BAD),
    ("http://example.com:80\\@127.0.0.1/", BAD),
    ("http://127.0.0.1#@example.com/", FORBIDDEN),
    ("http://127.0.0.1?@example.com/", FORBIDDEN),
    ("http:/127.0.0.1/", BAD),
    ("http:127.0.0.1/", BAD),
    ("http:///127.0.0.1/", BAD),
    ("http://exa\tmple.com/", BAD),
    ("http://127.0.0.1\r\nHost: example.com/", BAD),
    ("http://example.com/\r\nX: injected", BAD),
    ("http://example.com\x00.jpg/", BAD),
    ("http://exam ple.com/", BAD),
    ("http://a..example.com/", BAD),
    ("http://.example.com/", BAD),
    ("http://" + "a" * 64 + ".example/", BAD),
    ("http://" + "a." * 130 + "example/", BAD),
    ("http://example.com/" + "a" * 10_000, BAD),
    # ports and schemes
    ("http://example.com:22/", FORBIDDEN),
    ("http://example.com:6379/", FORBIDDEN),
    ("http://example.com:0/", FORBIDDEN),
    ("http://example.com:65536/", BAD),
    ("http://example.com:-80/", BAD),
    ("http://example.com:８０/", BAD),
    ("gopher://127.0.0.1:6379/_FLUSHALL", SCHEME),
    ("ftp://example.com/a.jpg", SCHEME),
    ("file:///etc/passwd", SCHEME),
    ("dict://127.0.0.1:11211/stats", SCHEME),
    ("jar:http://127.0.0.1!/", SCHEME),
    ("javascript:alert(1)", SCHEME),
    ("//127.0.0.1/", SCHEME),
]


@pytest.mark.parametrize(("url", "reason"), REFUSED, ids=ascii)
def test_a_url_is_refused_and_nothing_connected_to(
    url: str, reason: ImageReason, source: HttpSource, connected: list[object]
) -> None:
    assert error(source, url).reason == reason
    assert connected == []


LED_TO = [
    ("http://127.0.0.1/", FORBIDDEN),
    ("//127.0.0.1/", FORBIDDEN),
    ("///127.0.0.1/", None),  # these three are paths on the same server, as in RFC 3986
    ("http://169.254.169.254/latest/meta-data/", FORBIDDEN),
    ("http://[::ffff:10.0.0.1]/", FORBIDDEN),
    ("http://[::1]/", FORBIDDEN),
    ("http://2130706433/", BAD),
    ("http://127。0。0。1/", FORBIDDEN),
    ("http://private.example/", FORBIDDEN),
    ("http://mixed.example/", FORBIDDEN),
    ("http://metadata.google.internal/", FORBIDDEN),
    ("http://denied.example/", DENIED),
    ("http://user@example.com/", BAD),
    ("http://example.com\\@127.0.0.1/", BAD),
    ("http://example.com:22/", FORBIDDEN),
    ("file:///etc/passwd", SCHEME),
    ("gopher://127.0.0.1:6379/", SCHEME),
    ("data:image/png;base64,AAAA", SCHEME),
    ("http://[", BAD),
    ("http:///127.0.0.1/", None),
    ("http:127.0.0.1", None),
]


@pytest.mark.parametrize("hops", [1, 2, 3])
@pytest.mark.parametrize(("location", "reason"), LED_TO, ids=ascii)
def test_a_redirect_is_refused_and_only_the_server_that_sent_it_connected_to(
    hops: int,
    location: str,
    reason: ImageReason | None,
    source: HttpSource,
    server: Server,
    connected: list[object],
) -> None:
    url = location
    for _ in range(hops):
        url = server.url("/to?" + quote(url, safe=""))

    if reason is None:
        assert data(source, url) == b"picture"
    else:
        assert error(source, url).reason == reason
    assert connected == [(SERVER_ADDRESS, server.port)]


def test_a_name_that_changes_between_two_look_ups_is_checked_again(
    server: Server, make_source: MakeSource, connected: list[object]
) -> None:
    answers = iter([[SERVER_ADDRESS], ["127.0.0.1"], ["10.0.0.1"]])
    policy = HttpPolicy(
        ports=frozenset({server.port}), allowed_networks=(ip_network(f"{SERVER_ADDRESS}/32"),)
    )
    source = make_source(policy, lambda host, port: next(answers))

    assert data(source, server.url("/says-close")) == b"picture"
    assert error(source, server.url("/picture")).reason == FORBIDDEN
    assert error(source, server.url("/picture")).reason == FORBIDDEN
    assert connected == [(SERVER_ADDRESS, server.port)]


def test_by_default_loopback_is_refused_though_a_server_is_there(
    server: Server, make_source: MakeSource, connected: list[object]
) -> None:
    source = make_source(HttpPolicy(ports=frozenset({server.port})), resolver)

    assert error(source, server.url("/picture")).reason == FORBIDDEN
    assert error(source, server.url("/picture", SERVER_ADDRESS)).reason == FORBIDDEN
    assert connected == []


def test_the_production_default_is_https_alone(server: Server, connected: list[object]) -> None:
    source = HttpSource(HttpPolicy(ports=frozenset({server.port})), {"https"}, MAX_BYTES, resolver)

    assert error(source, server.url("/picture")).reason == SCHEME
    assert connected == []
    source.close()


LEGITIMATE = [
    ("https://example.com", "example.com", 443, "/"),
    ("https://example.com/a.jpg", "example.com", 443, "/a.jpg"),
    ("HTTPS://EXAMPLE.COM/A.JPG", "example.com", 443, "/A.JPG"),
    ("hTTp://example.com/", "example.com", 80, "/"),
    ("https://example.com:443/a.jpg", "example.com", 443, "/a.jpg"),
    ("https://example.com:80/a.jpg", "example.com", 80, "/a.jpg"),
    ("https://example.com:/a.jpg", "example.com", 443, "/a.jpg"),
    ("https://example.com./a.jpg", "example.com", 443, "/a.jpg"),
    ("https://example.com?w=200", "example.com", 443, "/?w=200"),
    ("https://example.com/a.jpg?w=200&h=100#top", "example.com", 443, "/a.jpg?w=200&h=100"),
    ("https://example.com/a.jpg?u=http://127.0.0.1/", "example.com", 443, "/a.jpg?u=http://127.0.0.1/"),
    ("https://example.com/@user/a.jpg", "example.com", 443, "/@user/a.jpg"),
    ("https://example.com/a b.jpg", "example.com", 443, "/a%20b.jpg"),
    ("https://example.com/a%20b.jpg", "example.com", 443, "/a%20b.jpg"),
    (" https://example.com/a.jpg ", "example.com", 443, "/a.jpg"),
    ("https://example.com/é.jpg?q=ü", "example.com", 443, "/%C3%A9.jpg?q=%C3%BC"),
    ("https://example.com/图片/😀.png", "example.com", 443, "/%E5%9B%BE%E7%89%87/%F0%9F%98%80.png"),
    ("https://example.com/100%/a.jpg", "example.com", 443, "/100%/a.jpg"),
    ('https://example.com/a"<>.jpg', "example.com", 443, "/a%22%3C%3E.jpg"),
    ("https://example.com/a\\b.jpg", "example.com", 443, "/a%5Cb.jpg"),
    ("https://example.com/a[1].jpg", "example.com", 443, "/a%5B1%5D.jpg"),
    ("https://example.com//a//b.jpg", "example.com", 443, "//a//b.jpg"),
    ("https://bücher.example/", "xn--bcher-kva.example", 443, "/"),
    ("https://BÜCHER.example/", "xn--bcher-kva.example", 443, "/"),
    ("https://xn--bcher-kva.example/", "xn--bcher-kva.example", 443, "/"),
    ("https://faß.example/", "xn--fa-hia.example", 443, "/"),
    ("https://Großhandel.example/", "xn--grohandel-i1a.example", 443, "/"),
    ("https://例え.テスト/", "xn--r8jz45g.xn--zckzah", 443, "/"),
    ("https://пример.example/", "xn--e1afmkfd.example", 443, "/"),
    ("https://i❤.example/", "xn--i-7iq.example", 443, "/"),
    ("https://my_shop.example/", "my_shop.example", 443, "/"),
    ("https://a-b--c.example/", "a-b--c.example", 443, "/"),
    ("https://1.example/", "1.example", 443, "/"),
    ("https://0x7f.example/", "0x7f.example", 443, "/"),
    ("https://127.0.0.1.example/", "127.0.0.1.example", 443, "/"),
    ("https://1.1.1.1/", "1.1.1.1", 443, "/"),
    ("https://172.32.0.1/", "172.32.0.1", 443, "/"),
    ("https://[2606:4700::1111]/", "2606:4700::1111", 443, "/"),
    ("https://[2606:4700:0:0:0:0:0:1111]:443/", "2606:4700::1111", 443, "/"),
    ("https://[2A00:1450:4001:82a::2004]/", "2a00:1450:4001:82a::2004", 443, "/"),
]


@pytest.mark.parametrize(("url", "host", "port", "path"), LEGITIMATE, ids=ascii)
def test_a_legitimate_url_is_not_refused(url: str, host: str, port: int, path: str) -> None:
    target = target_of(url, BOTH, {80, 443})

    assert target == Target(url.strip()[: len("https")].rstrip(":").lower(), host, port, path)
    literal = ":" in host or host.replace(".", "").isdigit()
    check_addresses([host if literal else "93.184.216.34"], ())


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("/a b.jpg?q=ü&r=%20#x", "GET /a%20b.jpg?q=%C3%BC&r=%20 HTTP/1.1"),
        ("/to?/relative.jpg", "GET /relative.jpg HTTP/1.1"),
        ("/to?relative.jpg", "GET /relative.jpg HTTP/1.1"),
        ("/to?/%C3%A9%20b.jpg", "GET /%C3%A9%20b.jpg HTTP/1.1"),
        ("/to?/a%2523b.jpg", "GET /a%23b.jpg HTTP/1.1"),
        ("/to?/a.jpg%23fragment", "GET /a.jpg HTTP/1.1"),
    ],
)
def test_a_legitimate_url_is_fetched_as_a_browser_would(
    path: str, line: str, source: HttpSource, server: Server
) -> None:
    assert data(source, server.url(path)) == b"picture"
    assert server.heads[-1].splitlines()[0] == line


@pytest.mark.parametrize("location", ["//{}/a.jpg", "HTTP://{}/a.jpg", "http://{}?a", "http://{}/a b.jpg"])
def test_a_legitimate_redirect_is_followed(location: str, source: HttpSource, server: Server) -> None:
    there = location.format(f"{HOST}:{server.port}")

    assert data(source, server.url("/to?" + quote(there, safe=""))) == b"picture"
