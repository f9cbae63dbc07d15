import io
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from prometheus_client import CollectorRegistry

from adgauge.errors import BackendUnavailable
from adgauge.images.loader import Decoding, ImageLoader, Places
from adgauge.records import ImageMissing, Loaded, Picture, Unchanged, Wanted
from adgauge.telemetry.metrics import Metrics
from tests.contracts import image_spec
from tests.unit.test_decoders import alive

SPEC = image_spec(side=32)


def png(side: int, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def reason(result: Loaded) -> str:
    assert isinstance(result, ImageMissing)
    return result.reason


def pixels(result: Loaded) -> list[object]:
    assert isinstance(result, Picture)
    found: list[object] = result.pixels.tolist()
    return found


def load(loader: ImageLoader, *wanted: Wanted | str) -> Sequence[Loaded]:
    asked = [Wanted(each) if isinstance(each, str) else each for each in wanted]
    futures = loader.begin(asked)
    wait(futures, 10)
    return [future.result() for future in futures]


MakeLoader = Callable[[], ImageLoader]


@pytest.fixture
def make(tmp_path: Path) -> MakeLoader:
    (tmp_path / "red.png").write_bytes(png(8))
    (tmp_path / "broken.png").write_bytes(png(8)[:-30])

    def make() -> ImageLoader:
        places = Places(schemes={"file", "data"}, roots=[tmp_path])
        return ImageLoader(SPEC, places, Metrics(CollectorRegistry()), decoding=Decoding(processes=2))

    return make


@pytest.fixture
def loader(make: MakeLoader) -> Iterator[ImageLoader]:
    loader = make()
    yield loader
    loader.close()


def test_every_reference_has_its_result_in_order(loader: ImageLoader) -> None:
    found = load(loader, "red.png", "nothing.png", "broken.png", "https://a.example/", "red.png")

    assert isinstance(found[0], Picture)
    assert found[0].pixels.shape == (3, 32, 32)
    assert found[0].pixels.dtype == np.uint8
    assert pixels(found[0]) == pixels(found[4])
    assert [reason(each) for each in found[1:4]] == ["not_found", "truncated", "scheme_not_allowed"]


def test_nothing_wanted_is_nothing_begun(loader: ImageLoader) -> None:
    assert list(loader.begin([])) == []


def test_a_picture_that_did_not_change_is_not_decoded(loader: ImageLoader, tmp_path: Path) -> None:
    (first,) = load(loader, "red.png")
    assert isinstance(first, Picture)
    known = Wanted("red.png", first.validators)

    assert load(loader, known) == [Unchanged(first.validators)]
    (tmp_path / "red.png").write_bytes(png(8, "blue"))
    (again,) = load(loader, known)
    assert pixels(again) != pixels(first)


def test_after_closing_no_process_is_left(make: MakeLoader) -> None:
    loader = make()
    load(loader, "data:,x")
    process_ids = loader._decoders.process_ids()

    loader.close()

    assert len(process_ids) == 2
    assert not any(alive(process_id) for process_id in process_ids)


def test_without_decoders_pictures_cannot_be_had_at_all(
    loader: ImageLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(loader, "red.png")
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    for decoder in loader._decoders._decoders:
        decoder.stop(patience_s=0.0)

    with pytest.raises(BackendUnavailable, match="cannot be started"):
        load(loader, "red.png")
