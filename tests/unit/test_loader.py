import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adgauge.errors import BackendUnavailable
from adgauge.images.loader import HostPool, ImageLoader, Pools
from adgauge.records import ImageMissing, ImageResult
from tests.contracts import image_spec

SPEC = image_spec(side=32)


def png(side: int, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def reason(result: ImageResult) -> str:
    assert isinstance(result, ImageMissing), result.shape
    return result.reason


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(process_id: int) -> bool:
    try:
        status = Path(f"/proc/{process_id}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class TestLoader:
    @pytest.fixture
    def loader(self, tmp_path: Path) -> Iterator[ImageLoader]:
        (tmp_path / "red.png").write_bytes(png(8))
        (tmp_path / "broken.png").write_bytes(png(8)[:-30])
        loader = ImageLoader(SPEC, schemes={"file", "data"}, roots=[tmp_path], pools=Pools(decoders=1))
        yield loader
        loader.close()

    def test_every_reference_of_every_product_has_its_result_in_order(self, loader: ImageLoader) -> None:
        found = loader.load(
            [["red.png", "nothing.png"], [], ["broken.png"], ["https://a.example/"], ["red.png"]]
        )

        assert [len(product) for product in found] == [2, 0, 1, 1, 1]
        assert isinstance(found[0][0], np.ndarray)
        assert found[0][0].tolist() == found[4][0].tolist()  # type: ignore[union-attr]  # both are pixels
        assert [reason(found[at][-1]) for at in (0, 2, 3)] == ["not_found", "truncated", "scheme_not_allowed"]

    def test_after_closing_no_process_is_left(self, tmp_path: Path) -> None:
        loader = ImageLoader(SPEC, schemes={"data"}, pools=Pools(decoders=2))
        loader.load([["data:,x"]])
        process_ids = loader._decoders.process_ids()

        loader.close()

        assert len(process_ids) == 2
        assert not any(alive(process_id) for process_id in process_ids)


class TestHostPool:
    def test_a_slow_host_occupies_its_own_slots_only(self) -> None:
        pool = HostPool(threads=4, per_host=2)
        release, running = threading.Event(), threading.Semaphore(0)

        def slow() -> ImageResult:
            running.release()
            release.wait(10)
            return ImageMissing("slow", "")

        waiting = [pool.submit("slow.example", slow) for _ in range(10)]
        running.acquire(timeout=5)
        running.acquire(timeout=5)

        quick = pool.submit("quick.example", lambda: ImageMissing("quick", ""))
        local = pool.submit(None, lambda: ImageMissing("local", ""))

        assert reason(quick.result(timeout=5)) == "quick"
        assert reason(local.result(timeout=5)) == "local"
        assert not running.acquire(blocking=False)
        release.set()
        assert [reason(each.result(timeout=5)) for each in waiting] == ["slow"] * 10
        pool.close()

    def test_an_error_reaches_whoever_waits_and_frees_the_slot(self) -> None:
        pool = HostPool(threads=1, per_host=1)

        def fail() -> ImageResult:
            raise BackendUnavailable("image decoder", "gone")

        failing: list[Future[ImageResult]] = [pool.submit("a.example", fail) for _ in range(3)]

        for each in failing:
            with pytest.raises(BackendUnavailable):
                each.result(timeout=5)
        assert reason(pool.submit("a.example", lambda: ImageMissing("next", "")).result(timeout=5)) == "next"
        pool.close()

    def test_closing_cancels_what_waits(self) -> None:
        pool = HostPool(threads=1, per_host=1)
        started, release = threading.Event(), threading.Event()

        def slow() -> ImageResult:
            started.set()
            release.wait(10)
            return ImageMissing("slow", "")

        first, second = pool.submit("a.example", slow), pool.submit("a.example", slow)
        started.wait(5)
        closing = threading.Thread(target=pool.close)
        closing.start()
        wait_until(second.cancelled)
        release.set()
        closing.join(5)

        assert reason(first.result(timeout=5)) == "slow"
