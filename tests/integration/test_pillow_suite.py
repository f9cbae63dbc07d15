"""Every file of the suite that Pillow tests itself with is a picture or has a named reason."""

import warnings

import PIL
import pytest

from adgauge.canonical.image import DecodeLimits, ImageError, ImageReason, decode
from benchmarks.pillow_suite import IMAGE, SPEC, Suite, decode_suite, suite_files
from tools.install import PILLOW_PICTURES, PINNED

pytestmark = pytest.mark.tool("pillow-pictures")
OF_THE_FILE = {
    IMAGE,
    ImageReason.UNSUPPORTED_FORMAT,
    ImageReason.UNDECODABLE,
    ImageReason.TRUNCATED,
    ImageReason.TOO_MANY_PIXELS,
}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return decode_suite(suite_files())


def test_the_suite_is_that_of_the_pillow_that_decodes() -> None:
    assert PINNED["pillow-pictures"].version == PIL.__version__
    assert len(suite_files()) == sum(path.is_file() for path in PILLOW_PICTURES.rglob("*")) > 1000


def test_every_file_is_an_image_or_has_a_reason_and_no_decoder_ends(suite: Suite) -> None:
    strange = [outcome for outcome in suite.outcomes if outcome.result not in OF_THE_FILE]

    assert strange == []
    assert not suite.replaced
    assert suite.counts()[IMAGE] > 600


def test_no_file_takes_two_seconds_or_512_mb(suite: Suite) -> None:
    assert suite.slowest().cpu_seconds < 2.0
    assert suite.peak_bytes < 512 * 2**20


def test_no_file_warns() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in suite_files():
            try:
                decode(path.read_bytes(), SPEC, DecodeLimits())
            except ImageError:
                continue

    assert [str(warning.message) for warning in caught] == []
