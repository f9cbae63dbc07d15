"""Decoding processes are real here: they are stopped, killed and starved as an accident would."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adgauge.canonical.image import DecodeLimits, ImageReason, decode
from adgauge.errors import BackendUnavailable
from adgauge.images import decoders
from adgauge.images.decoder import READY, TAKEN, Orders
from adgauge.images.decoders import DecoderPool
from adgauge.records import ImageMissing, ImageResult
from tests.contracts import image_spec

SPEC = image_spec(side=32)
LIMITS = DecodeLimits()
MEMORY = 512 * 2**20


def png(side: int, colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (side, side), colour).save(buffer, "PNG")
    return buffer.getvalue()


def noise(side: int) -> bytes:
    """A picture that does not shrink: 3 * side * side bytes."""
    buffer = io.BytesIO()
    Image.effect_noise((side, side), 90).convert("RGB").save(buffer, "BMP")
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

    def test_a_picture_whose_decoder_is_killed_is_asked_for_at_once_of_another(
        self, make_pool: MakePool
    ) -> None:
        pool = make_pool()
        for _ in range(8):  # now it is gone, now it is not reaped, now its socket is still open
            pool.decode(png(8))
            os.kill(pool.process_ids()[0], signal.SIGKILL)

            assert isinstance(pool.decode(png(8)), np.ndarray)

    @pytest.mark.parametrize("side", [8, 1000])  # the kernel's buffer holds one of them
    def test_an_idle_decoder_that_was_stopped_costs_nothing(
        self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch, side: int
    ) -> None:
        monkeypatch.setattr(decoders, "_GRACE_SECONDS", 0.2)
        pool = make_pool(seconds=0.2)
        pool.decode(png(8))
        os.kill(pool.process_ids()[0], signal.SIGSTOP)

        assert isinstance(pool.decode(noise(side)), np.ndarray)

    def test_time_in_which_a_decoder_waits_for_a_processor_costs_no_picture(
        self, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(decoders, "_GRACE_SECONDS", 0.3)
        pool = make_pool(seconds=0.3)
        pool.decode(png(8))
        decoder = pool.process_ids()[0]
        core = min(os.sched_getaffinity(0))
        os.sched_setaffinity(decoder, {core})
        os.sched_setscheduler(decoder, os.SCHED_IDLE, os.sched_param(0))
        with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as selfish:
            os.sched_setaffinity(selfish.pid, {core})
            threading.Timer(1.5, selfish.kill).start()

            assert isinstance(pool.decode(png(1500)), np.ndarray)
        assert pool.process_ids() == [decoder]

    def test_time_in_which_everything_stood_still_costs_no_picture(self) -> None:
        program = (
            "import sys; from adgauge.images.decoders import *; from tests.unit.test_decoders import *\n"
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
            "import sys; from adgauge.images.decoders import *; from tests.unit.test_decoders import *\n"
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


class TestStrangeDecoders:
    """A picture may take its decoder over: programs that do not keep to the protocol stand in for it."""

    @pytest.fixture
    def ask(
        self, tmp_path: Path, make_pool: MakePool, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[str], ImageResult]:
        monkeypatch.setattr(decoders, "_GRACE_SECONDS", 0.3)

        def ask(what_it_does: str) -> ImageResult:
            program = tmp_path / "decoder"
            program.write_text(
                f"#!{sys.executable}\n"
                "import os, sys, signal; from multiprocessing.connection import Connection\n"
                f"parent = Connection(int(sys.argv[4])); parent.send_bytes({READY!r}); parent.poll(None)\n"
                f"take = lambda: (parent.send_bytes({TAKEN!r}), parent.recv_bytes())\n"
                f"{what_it_does}\n"
            )
            program.chmod(0o755)
            monkeypatch.setattr(sys, "executable", str(program))
            return make_pool(seconds=0.3).decode(png(8))

        return ask

    def test_one_that_is_killed_with_a_picture_costs_it(self, ask: Callable[[str], ImageResult]) -> None:
        found = ask("take(); os.kill(os.getpid(), signal.SIGKILL)")

        assert found == ImageMissing(ImageReason.DECODER_CRASHED, "the decoder ended with -9")

    def test_one_that_stands_still_with_a_picture_is_given_up(
        self, ask: Callable[[str], ImageResult]
    ) -> None:
        assert reason(ask("take(); os.kill(os.getpid(), signal.SIGSTOP)")) == ImageReason.DECODER_TIMEOUT

    def test_one_that_works_without_end_is_given_up(self, ask: Callable[[str], ImageResult]) -> None:
        assert reason(ask("take()\nwhile True: pass")) == ImageReason.DECODER_TIMEOUT

    def test_decoders_that_all_end_before_they_take_a_picture_are_an_unavailable_backend(
        self, ask: Callable[[str], ImageResult]
    ) -> None:
        with pytest.raises(BackendUnavailable, match="3 decoders in a row"):
            ask("")

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"\0",
            b"\0" + bytes(3 * 32 * 32 - 1),
            b"\0" + bytes(3 * 32 * 32 + 1),
            b"\0" + bytes(1 << 20),
            b"\1",
            b"\1\xff\xfe\0",
            b"\1no_such_reason\0",
            b"\1timeout\0one that passes",
            b"\2undecodable\0",
            b"ready",
        ],
        ids=lambda answer: f"{len(answer)} bytes {answer[:4]!r}",
    )
    def test_an_answer_that_makes_no_sense_costs_its_picture(
        self, ask: Callable[[str], ImageResult], answer: bytes
    ) -> None:
        assert reason(ask(f"take(); parent.send_bytes({answer!r})")) == ImageReason.DECODER_CRASHED

    @pytest.mark.parametrize(
        ("then", "expected"),
        [("pass", ImageReason.DECODER_CRASHED), ("signal.pause()", ImageReason.DECODER_TIMEOUT)],
    )
    def test_a_message_that_is_cut_short_costs_its_picture(
        self, ask: Callable[[str], ImageResult], then: str, expected: ImageReason
    ) -> None:
        found = ask(f"take(); os.write(int(sys.argv[4]), b'\\0\\0\\4\\0half'); {then}")

        assert reason(found) == expected
