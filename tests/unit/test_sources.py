import os
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.cached import CachedHttp
from adgauge.images.fetched import Body
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.sources import SCHEMES, Sources, host_of, scheme_of
from adgauge.records import Unchanged

LIMIT = 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    (folder / "images").mkdir(parents=True)
    (folder / "images/a b.jpg").write_bytes(b"picture")
    (tmp_path / "secret").write_bytes(b"secret")
    return folder


MakeSources = Callable[..., Sources]


@pytest.fixture
def make(root: Path) -> Iterator[MakeSources]:
    made: list[Sources] = []

    def make(schemes: Collection[str] = SCHEMES, roots: Sequence[Path] = (root,)) -> Sources:
        http = CachedHttp(HttpSource(HttpPolicy(), schemes, LIMIT))
        made.append(Sources(schemes, roots, http, None, LIMIT))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def sources(make: MakeSources) -> Sources:
    return make()


def data_of(sources: Sources, reference: str) -> bytes:
    fetched = sources.fetch(reference)
    assert isinstance(fetched, Body)
    return fetched.data


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
        ("s3://bucket/x", "s3", "s3://bucket"),
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
            assert data_of(sources, reference) == b"picture"

    def test_the_first_root_that_has_the_file_wins(
        self, root: Path, tmp_path: Path, make: MakeSources
    ) -> None:
        sources = make(roots=[tmp_path / "absent", root])

        assert data_of(sources, "images/a b.jpg") == b"picture"

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

        assert data_of(sources, "inside") == b"picture"
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
        assert len(data_of(sources, "just")) == LIMIT

    def test_without_roots_there_are_no_files(self, make: MakeSources) -> None:
        assert reason(make(roots=[]), "images/a b.jpg") == ImageReason.OUTSIDE_ROOT

    def test_a_file_is_unchanged_until_it_is_written_again(self, sources: Sources, root: Path) -> None:
        first = sources.fetch("images/a b.jpg")
        assert sources.fetch("images/a b.jpg", first.validators) == Unchanged(first.validators)
        (root / "images/a b.jpg").write_bytes(b"another")
        again = sources.fetch("images/a b.jpg", first.validators)
        assert isinstance(again, Body)
        assert again.data == b"another"

    def test_a_file_that_was_written_again_with_the_same_bytes_is_unchanged(
        self, sources: Sources, root: Path
    ) -> None:
        first = sources.fetch("images/a b.jpg")
        (root / "images/a b.jpg").unlink()
        (root / "images/a b.jpg").write_bytes(b"picture")
        again = sources.fetch("images/a b.jpg", first.validators)
        assert isinstance(again, Unchanged)


def test_schemes_that_are_not_configured_are_refused(make: MakeSources) -> None:
    sources = make({"https"})
    for reference in ("images/a b.jpg", "data:,x", "http://a.example/", "ftp://a.example/"):
        assert reason(sources, reference) == ImageReason.SCHEME_NOT_ALLOWED


def test_data_urls_are_bytes(sources: Sources) -> None:
    assert data_of(sources, "data:,abc") == b"abc"
    assert reason(sources, "data:," + "x" * (LIMIT + 1)) == ImageReason.TOO_LARGE


def test_a_data_url_that_was_seen_is_unchanged_without_a_look_at_it(sources: Sources) -> None:
    known = sources.fetch("data:,abc").validators
    assert sources.at_hand("data:,abc", known) == Unchanged(known)
    assert sources.at_hand("data:,abc", None) is None
