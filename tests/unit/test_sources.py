import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.sources import SCHEMES, Sources, host_of, scheme_of

LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a b.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


@pytest.fixture
def sources(root: Path) -> Iterator[Sources]:
    http = HttpSource(HttpPolicy(), SCHEMES, LIMIT)
    yield Sources(SCHEMES, [root], http, LIMIT)
    http.close()


def reason(sources: Sources, reference: str) -> ImageReason:
    with pytest.raises(ImageError) as caught:
        sources.fetch(reference)
    return caught.value.reason


@pytest.mark.parametrize(
    ("reference", "scheme", "host"),
    [
        ("https://A.example/x", "https", "a.example"),
        ("HTTP://a.example:81/x", "http", "a.example"),
        ("//a.example/x", "https", "a.example"),
        ("images/a.jpg", "file", None),
        ("/a.jpg", "file", None),
        ("data:,x", "data", None),
        ("s3://bucket/x", "s3", None),
        ("C:\\pictures\\a.jpg", "c", None),
        ("https://[::1", "https", None),
        ("", "file", None),
    ],
)
def test_a_reference_has_a_scheme_and_perhaps_a_host(reference: str, scheme: str, host: str | None) -> None:
    assert (scheme_of(reference), host_of(reference)) == (scheme, host)


class TestFiles:
    def test_files_below_a_root_are_read(self, sources: Sources, root: Path) -> None:
        for reference in (
            "images/a b.jpg",
            "./images//a b.jpg",
            str(root / "images/a b.jpg"),
            f"file://{root}/images/a%20b.jpg",
            f"file://localhost{root}/images/a%20b.jpg",
        ):
            assert sources.fetch(reference) == b"picture"

    def test_the_first_root_that_has_the_file_wins(self, root: Path, tmp_path: Path) -> None:
        http = HttpSource(HttpPolicy(), SCHEMES, LIMIT)
        sources = Sources(SCHEMES, [tmp_path / "absent", root], http, LIMIT)

        assert sources.fetch("images/a b.jpg") == b"picture"
        http.close()

    @pytest.mark.parametrize(
        ("reference", "expected"),
        [
            ("nothing.jpg", ImageReason.NOT_FOUND),
            ("x" * 300, ImageReason.NOT_FOUND),
            ("images", ImageReason.UNREADABLE),
            ("", ImageReason.BAD_REFERENCE),
            ("a\0b", ImageReason.BAD_REFERENCE),
            ("file://elsewhere/images/a.jpg", ImageReason.BAD_REFERENCE),
            ("file:///etc/passwd", ImageReason.OUTSIDE_ROOT),
            ("/etc/passwd", ImageReason.OUTSIDE_ROOT),
            ("../secret", ImageReason.OUTSIDE_ROOT),
            ("images/../../secret", ImageReason.OUTSIDE_ROOT),
            ("file:///%2e%2e/secret", ImageReason.OUTSIDE_ROOT),
            ("s3://bucket/x", ImageReason.SCHEME_NOT_ALLOWED),
        ],
    )
    def test_anything_else_has_a_reason(
        self, reference: str, expected: ImageReason, sources: Sources
    ) -> None:
        assert reason(sources, reference) == expected

    def test_a_link_may_not_lead_out_of_its_root(self, sources: Sources, root: Path) -> None:
        (root / "inside").symlink_to("images/a b.jpg")
        (root / "outside").symlink_to("../secret")
        (root / "folder").symlink_to("..")
        (root / "loop").symlink_to("loop")

        assert sources.fetch("inside") == b"picture"
        assert reason(sources, "outside") == ImageReason.OUTSIDE_ROOT
        assert reason(sources, "folder/secret") == ImageReason.OUTSIDE_ROOT
        assert reason(sources, "loop") == ImageReason.UNREADABLE

    def test_a_pipe_or_device_is_never_waited_for(self, sources: Sources, root: Path) -> None:
        os.mkfifo(root / "pipe")
        (root / "null").symlink_to("/dev/zero")

        assert reason(sources, "pipe") == ImageReason.UNREADABLE
        assert reason(sources, "null") == ImageReason.OUTSIDE_ROOT

    def test_a_file_over_the_limit_is_not_read(self, sources: Sources, root: Path) -> None:
        (root / "large").write_bytes(bytes(LIMIT + 1))
        (root / "just").write_bytes(bytes(LIMIT))

        assert reason(sources, "large") == ImageReason.TOO_LARGE
        assert len(sources.fetch("just")) == LIMIT

    def test_without_roots_there_are_no_files(self, sources: Sources) -> None:
        http = HttpSource(HttpPolicy(), SCHEMES, LIMIT)

        assert reason(Sources(SCHEMES, [], http, LIMIT), "images/a b.jpg") == ImageReason.OUTSIDE_ROOT
        http.close()


def test_schemes_that_are_not_configured_are_refused(root: Path) -> None:
    http = HttpSource(HttpPolicy(), {"https"}, LIMIT)
    sources = Sources({"https"}, [root], http, LIMIT)

    for reference in ("images/a b.jpg", "data:,x", "http://a.example/", "ftp://a.example/"):
        assert reason(sources, reference) == ImageReason.SCHEME_NOT_ALLOWED
    http.close()


def test_data_urls_are_bytes(sources: Sources) -> None:
    assert sources.fetch("data:,abc") == b"abc"
    assert reason(sources, "data:," + "x" * (LIMIT + 1)) == ImageReason.TOO_LARGE
