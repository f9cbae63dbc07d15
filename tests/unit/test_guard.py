from ipaddress import ip_network

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.guard import HostLists, Network, Target, check_addresses, target_of

HTTPS = frozenset({"https"})
BOTH = frozenset({"https", "http"})
PORTS = frozenset({80, 443})


class TestTargets:
    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("https://m.example.com/a.jpg", Target("https", "m.example.com", 443, "/a.jpg")),
            ("HTTPS://M.Example.COM", Target("https", "m.example.com", 443, "/")),
            ("https://example.com:443/a b?q=ü#part", Target("https", "example.com", 443, "/a%20b?q=%C3%BC")),
            ("https://example.com/a%20b", Target("https", "example.com", 443, "/a%20b")),
            ("http://bücher.example/ä", Target("http", "xn--bcher-kva.example", 80, "/%C3%A4")),
            ("https://[2606:4700::1111]/", Target("https", "2606:4700::1111", 443, "/")),
        ],
    )
    def test_a_plain_url_is_a_request(self, url: str, target: Target) -> None:
        assert target_of(url, BOTH, PORTS) == target

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("http://example.com/", ImageReason.SCHEME_NOT_ALLOWED),
            ("ftp://example.com/", ImageReason.SCHEME_NOT_ALLOWED),
            ("file:///etc/passwd", ImageReason.SCHEME_NOT_ALLOWED),
            ("gopher://127.0.0.1:6379/_FLUSHALL", ImageReason.SCHEME_NOT_ALLOWED),
            ("//example.com/", ImageReason.SCHEME_NOT_ALLOWED),
            ("https://user@example.com/", ImageReason.BAD_REFERENCE),
            ("https://user:secret@example.com/", ImageReason.BAD_REFERENCE),
            ("https://example.com\\@127.0.0.1/", ImageReason.BAD_REFERENCE),
            ("https:///a.jpg", ImageReason.BAD_REFERENCE),
            ("https://[::1/", ImageReason.BAD_REFERENCE),
            ("https://[fe80::1%25eth0]/", ImageReason.BAD_REFERENCE),
            ("https://example.com/\ud800", ImageReason.BAD_REFERENCE),
            ("https://faß\ud800.example/", ImageReason.BAD_REFERENCE),
            ("https://exa mple.com/", ImageReason.BAD_REFERENCE),
            ("https://example.com:x/", ImageReason.BAD_REFERENCE),
            ("https://" + "a" * 64 + ".example/ü", ImageReason.BAD_REFERENCE),
            ("https://" + "ü" * 64 + ".example/", ImageReason.BAD_REFERENCE),
            ("https://example.com/" + "a" * 10_000, ImageReason.BAD_REFERENCE),
            ("https://example.com:22/", ImageReason.FORBIDDEN_ADDRESS),
            ("https://example.com:0/", ImageReason.FORBIDDEN_ADDRESS),
        ],
    )
    def test_anything_else_is_refused_with_a_reason(self, url: str, reason: ImageReason) -> None:
        with pytest.raises(ImageError) as caught:
            target_of(url, HTTPS, PORTS)

        assert caught.value.reason == reason
        assert "secret" not in str(caught.value)


class TestAddresses:
    @pytest.mark.parametrize(
        "address",
        [
            *("0.0.0.1", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.0.1"),
            *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
            *("192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250"),
            *("240.0.0.1", "255.255.255.255", "168.63.129.16"),
            *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254"),
            *("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:10::1"),
            *("2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1"),
            *("ff02::1", "ff0e::1", "5f00::1", "4000::1"),
        ],
    )
    def test_what_is_not_public_is_refused(self, address: str) -> None:
        with pytest.raises(ImageError) as caught:
            check_addresses(["1.1.1.1", address], ())

        assert caught.value.reason == ImageReason.FORBIDDEN_ADDRESS

    @pytest.mark.parametrize(
        "address",
        [
            "1.1.1.1",
            "8.8.8.8",
            "99.84.1.2",
            "172.32.0.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
        ],
    )
    def test_public_addresses_pass(self, address: str) -> None:
        check_addresses([address], ())

    def test_what_is_no_address_is_refused(self) -> None:
        with pytest.raises(ImageError):
            check_addresses(["one.one.one.one"], (ip_network("0.0.0.0/0"),))

    def test_allowed_networks_pass_and_nothing_beside_them(self) -> None:
        allowed: tuple[Network, ...] = (ip_network("10.9.0.0/16"), ip_network("fd00:9::/32"))

        check_addresses(["10.9.8.7", "fd00:9::1", "1.1.1.1"], allowed)
        with pytest.raises(ImageError):
            check_addresses(["10.9.8.7", "10.8.8.7"], allowed)
        with pytest.raises(ImageError):
            check_addresses(["::ffff:10.9.8.7"], allowed)


class TestHostLists:
    @pytest.mark.parametrize(
        ("allowed", "denied", "host", "passes"),
        [
            ((), (), "a.example", True),
            (("a.example",), (), "a.example", True),
            (("A.Example.",), (), "a.example", True),
            (("a.example",), (), "b.a.example", False),
            (("a.example",), (), "xa.example", False),
            (("*.a.example",), (), "b.a.example", True),
            (("*.a.example",), (), "c.b.a.example", True),
            (("*.a.example",), (), "a.example", False),
            (("*.a.example",), (), "xa.example", False),
            (("bücher.example",), (), "xn--bcher-kva.example", True),
            (("2606:4700:0::1111",), (), "2606:4700::1111", True),
            (("[2606:4700::1111]",), (), "2606:4700::1111", True),
            ((), ("a.example",), "a.example", False),
            ((), ("*.a.example",), "b.a.example", False),
            ((), ("a.example",), "b.a.example", True),
            (("*.a.example",), ("b.a.example",), "b.a.example", False),
            (("a.example",), ("*.example",), "a.example", False),
            (("1.1.1.1",), (), "1.1.1.1", True),
        ],
    )
    def test_the_denied_win_over_the_allowed(
        self, allowed: tuple[str, ...], denied: tuple[str, ...], host: str, passes: bool
    ) -> None:
        lists = HostLists(allowed, denied)
        if passes:
            lists.check(host)
            return
        with pytest.raises(ImageError) as caught:
            lists.check(host)
        assert caught.value.reason == ImageReason.HOST_NOT_ALLOWED

    @pytest.mark.parametrize(
        "entry", ["", "*", "*.", "*a.example", "a.*.example", "https://a.example", "a:1"]
    )
    def test_an_entry_that_is_no_host_is_the_operator_s_to_fix(self, entry: str) -> None:
        with pytest.raises(ConfigurationError, match="host list"):
            HostLists([entry])
