"""Decoding processes are real here: they are stopped, killed and starved as an accident would."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adgauge.canonical.image import DecodeLimits, ImageReason, decode
from adgauge.errors import BackendUnavailable
from adgauge.images import decoders
from adgauge.images.decoder import Orders
from adgauge.images.decoders import DecoderPool
from adgauge.images.loader import HostPool, ImageLoader, Pools
from adgauge.records import ImageMissing, ImageResult
from tests.contracts import image_spec

SPEC = image_spec(side=32)
LIMITS = DecodeLimits()
MEMORY = 512 * 2**20


def png(side: int, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


MakePool = Callable[..., DecoderPool]


@pytest.fixture
def make_pool() -> Iterator[MakePool]:
    pools: list[DecoderPool] = []

    def make(seconds: float = 5.0, memory_bytes: int = MEMORY) -> DecoderPool:
        pools.append(DecoderPool(1, Orders(SPEC, LIMITS, seconds, memory_bytes)))
        return pools[-1]

    yield make
    for pool in pools:
        pool.close()


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


class TestDecoders:
    def test_pixels_are_those_of_the_canonical_decoder(self, make_pool: MakePool) -> None:
        found = make_pool().decode(png(100, "teal"))

        assert isinstance(found, np.ndarray)
        assert np.array_equal(found, decode(png(100, "teal"), SPEC, LIMITS))

    def test_a_reason_comes_back_as_words(self, make_pool: MakePool) -> None:
        found = make_pool().decode(b"<svg/>")

        assert isinstance(found, ImageMissing)
        assert found.reason == ImageReason.UNSUPPORTED_FORMAT
        assert found.detail.startswith("starts with b'<svg/>'")

    def test_a_killed_decoder_costs_one_picture(self, make_pool: MakePool) -> None:
        pool = make_pool()
        pool.decode(png(8))
        (process_id,) = pool.process_ids()
        os.kill(process_id, signal.SIGSTOP)
        found: list[ImageResult] = []
        asking = threading.Thread(target=lambda: found.append(pool.decode(png(8))))
        asking.start()
        time.sleep(0.1)
        os.kill(process_id, signal.SIGKILL)
        asking.join()

        assert reason(found[0]) == ImageReason.DECODER_CRASHED
        assert isinstance(pool.decode(png(8)), np.ndarray)

    def test_an_idle_decoder_that_died_costs_nothing(self, make_pool: MakePool) -> None:
        pool = make_pool()
        pool.decode(png(8))
        (process_id,) = pool.process_ids()
        os.kill(process_id, signal.SIGKILL)
        # A zombie may still have threads that end; only then does its parent learn of its death.
        died = os.WEXITED | os.WNOHANG | os.WNOWAIT
        wait_until(lambda: os.waitid(os.P_PID, process_id, died) is not None)

        assert isinstance(pool.decode(png(8)), np.ndarray)
        assert pool.process_ids() != [process_id]

    def test_a_picture_that_takes_too_long_ends_its_decoder_and_nothing_else(
        self, make_pool: MakePool
    ) -> None:
        pool = make_pool(seconds=0.02)

        assert reason(pool.decode(png(4000))) == ImageReason.DECODER_TIMEOUT
        assert isinstance(pool.decode(png(8)), np.ndarray)

    def test_a_picture_that_takes_too_much_memory_is_missing(self, make_pool: MakePool) -> None:
        pool = make_pool(memory_bytes=30 * 2**20)

        assert reason(pool.decode(png(4000))) == ImageReason.DECODER_MEMORY
        assert isinstance(pool.decode(png(8)), np.ndarray)

    def test_a_stopped_decoder_is_given_up(
        self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decoders, "_GRACE_SECONDS", 0.1)
        pool = make_pool(seconds=0.1)
        pool.decode(png(8))
        os.kill(pool.process_ids()[0], signal.SIGSTOP)

        assert reason(pool.decode(png(8))) == ImageReason.DECODER_TIMEOUT
        assert isinstance(pool.decode(png(8)), np.ndarray)

    def test_time_in_which_everything_stood_still_costs_no_picture(self) -> None:
        program = (
            "import sys; from adgauge.images.decoders import *; from tests.unit.test_loader import *\n"
            "decoders._GRACE_SECONDS = 0.5\n"
            "pool = DecoderPool(1, Orders(SPEC, LIMITS, 0.5, MEMORY)); pool.decode(png(8))\n"
            "print(pool.process_ids()[0], flush=True); sys.stdin.readline()\n"
            "print(type(pool.decode(png(8))).__name__)"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            assert parent.stdin is not None
            decoder = int(parent.stdout.readline())
            os.kill(decoder, signal.SIGSTOP)
            parent.stdin.write("\n")
            parent.stdin.flush()
            time.sleep(0.2)  # it asks the decoder
            os.kill(parent.pid, signal.SIGSTOP)
            time.sleep(1.5)  # longer than it has patience
            os.kill(parent.pid, signal.SIGCONT)
            os.kill(decoder, signal.SIGCONT)

            assert parent.stdout.read() == "ndarray\n"

    def test_an_interpreter_that_cannot_start_is_an_unavailable_backend(
        self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "executable", "/bin/false")
        with pytest.raises(BackendUnavailable, match="ended with 1 before it was ready"):
            make_pool().decode(png(8))
        monkeypatch.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(BackendUnavailable, match="cannot be started"):
            make_pool()

    def test_decoders_ignore_the_terminal_and_end_with_their_parent(self) -> None:
        program = (
            "import sys; from adgauge.images.decoders import *; from tests.unit.test_loader import *\n"
            "pool = DecoderPool(1, Orders(SPEC, LIMITS, 5.0, MEMORY)); pool.decode(png(8))\n"
            "print(pool.process_ids()[0], flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as parent:
            assert parent.stdout is not None
            process_id = int(parent.stdout.readline())
            assert os.getpgid(process_id) != os.getpgid(parent.pid)
            parent.kill()

        wait_until(lambda: not alive(process_id))


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
