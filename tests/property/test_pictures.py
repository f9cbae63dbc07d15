"""Whatever a reference or its bytes are gives a picture or a named reason."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from adgauge.canonical.image import DecodeLimits, ImageError, ImageReason, decode
from adgauge.images.cached import CachedHttp
from adgauge.images.fetched import Body
from adgauge.images.http import HttpPolicy, HttpSource
from adgauge.images.objects import ObjectStores
from adgauge.images.sources import SCHEMES, Sources, host_of
from tests.contracts import image_spec

SPEC = image_spec(side=8)
LIMITS = DecodeLimits(max_bytes=100_000, max_pixels=100_000)
MAGIC = [b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x00\x00\x00\x00WEBP", b"BM", b"II*\x00"]
KINDS = ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"]


def encoded(kind: str) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    options = {"exif": exif} if kind in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    Image.fromarray(noise).save(buffer, kind, **options)
    return buffer.getvalue()


FILES = {kind: encoded(kind) for kind in KINDS}


def decoded(data: bytes) -> list[int] | ImageReason:
    """The first pixels of each channel, or the reason why there are none."""
    try:
        pixels = decode(data, SPEC, LIMITS)
    except ImageError as error:
        return error.reason
    assert pixels.shape == (3, 8, 8)
    corner: list[int] = pixels[:, 0, 0].tolist()
    return corner


@given(st.sampled_from(MAGIC), st.binary(max_size=200))
def test_arbitrary_bytes_behind_a_known_beginning(magic: bytes, rest: bytes) -> None:
    assert decoded(magic + rest) == decoded(magic + rest)


@given(st.sampled_from(KINDS), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8))
def test_files_with_changed_bytes(kind: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(FILES[kind])
    for at, value in changes:
        data[at % len(data)] = value

    assert decoded(bytes(data)) == decoded(bytes(data))


@given(st.sampled_from(KINDS), st.integers(0, 2000), st.integers(0, 2000), st.binary(max_size=20))
def test_files_with_a_piece_replaced(kind: str, start: int, stop: int, piece: bytes) -> None:
    data = FILES[kind]
    spliced = data[: start % len(data)] + piece + data[stop % len(data) :]

    assert decoded(spliced) == decoded(spliced)


def unknown(host: str, port: int) -> Sequence[str]:
    raise OSError("no network here")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sources]:
    root: Path = tmp_path_factory.mktemp("root")
    http = CachedHttp(HttpSource(HttpPolicy(), SCHEMES, 1000, unknown))
    sources = Sources(SCHEMES, [root], http, ObjectStores([], 1000, 1.0), 1000)
    yield sources
    sources.close()


PIECES = (
    *(
        "https:",
        "http://",
        "file:",
        "data:",
        "s3:",
        "//",
        "/",
        "..",
        "[",
        "]",
        "@",
        ":",
        "%2e",
        "%",
        ",",
        ";base64",
    ),
    *("?", "#", "localhost", "127.1", "\\", "\0", " "),
)
REFERENCE = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=10).map("".join)


def fetched(sources: Sources, reference: str) -> bytes | ImageReason:
    try:
        sources.at_hand(reference, None)
        fetched = sources.fetch(reference)
        assert isinstance(fetched, Body)
        return fetched.data
    except ImageError as error:
        return error.reason


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reference=REFERENCE)
def test_a_reference_gives_bytes_or_a_named_reason(sources: Sources, reference: str) -> None:
    host_of(reference)

    found = fetched(sources, reference)

    if isinstance(found, bytes):
        assert reference.lower().startswith("data:")
        assert len(found) <= 1000
