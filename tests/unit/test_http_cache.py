from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from adgauge.errors import ConfigurationError
from adgauge.images.http_cache import Entry, HttpCache
from adgauge.records import Validators

MAX_BYTES = 2 << 20
URL = "https://m.example.com/a.jpg"
Make = Callable[..., HttpCache]


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make(tmp_path: Path, clock: Clock) -> Iterator[Make]:
    made: list[HttpCache] = []

    def make(max_bytes: int = MAX_BYTES, folder: Path = tmp_path) -> HttpCache:
        made.append(HttpCache(folder, max_bytes, clock))
        return made[-1]

    yield make
    for cache in made:
        cache.close()


def of(data: bytes, etag: str = '"a"') -> Validators:
    return Validators(etag, "", hashlib.sha256(data).hexdigest()[:32], 5, "https://elsewhere.example/é")


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("*.sqlite3")
    return found


def size_on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_what_was_put_is_found_again_also_by_the_next_process(make: Make) -> None:
    cache = make()
    assert cache.get(URL) is None
    assert cache.validators(URL) is None

    cache.put(URL, b"picture", of(b"picture"))
    cache.close()

    assert make().get(URL) == Entry(b"picture", of(b"picture"))
    assert make().validators(URL) == of(b"picture")
    assert make().get(URL + "?") is None


def test_a_new_body_takes_the_place_of_the_old_one(make: Make) -> None:
    cache = make()
    cache.put(URL, b"old", of(b"old"))
    cache.put(URL, b"new", of(b"new", '"b"'))

    assert cache.get(URL) == Entry(b"new", of(b"new", '"b"'))


def test_a_confirmation_renews_the_validators_of_that_body_alone(make: Make) -> None:
    cache = make()
    cache.put(URL, b"picture", of(b"picture"))
    confirmed = replace(of(b"picture", '"b"'), fresh_until_ms=99)
    cache.refresh(URL, confirmed)
    assert cache.validators(URL) == confirmed

    cache.refresh(URL, of(b"another"))
    cache.refresh("https://unknown.example/", confirmed)
    assert cache.validators(URL) == confirmed
    assert cache.validators("https://unknown.example/") is None


def test_a_body_can_be_forgotten(make: Make) -> None:
    cache = make()
    cache.put(URL, b"picture", of(b"picture"))
    cache.remove(URL)

    assert cache.get(URL) is None


def test_the_ones_used_longest_ago_make_room(make: Make, clock: Clock) -> None:
    cache = make()
    body = bytes(220_000)  # nine of them fit
    for name in "abcdefghi":
        cache.put(name, body, of(body))
        clock.ms += 61_000
    assert cache.get("a") is not None
    clock.ms += 61_000
    cache.put("j", body, of(body))

    assert [name for name in "abcdefghij" if cache.validators(name) is None] == ["b"]


def test_the_file_stays_within_its_limit_and_reuses_its_pages(make: Make, tmp_path: Path) -> None:
    cache = make()
    for at in range(400):
        body = bytes([at % 256]) * (1000 * (1 + at % 150))
        cache.put(f"https://m.example.com/{at}", body, of(body))
    cache.close()

    assert 0.8 * MAX_BYTES < size_on_disk(tmp_path) < 1.05 * MAX_BYTES


def test_a_body_of_more_than_an_eighth_is_not_kept_and_neither_is_its_predecessor(make: Make) -> None:
    cache = make()
    large = bytes(MAX_BYTES // 8 + 1)
    cache.put(URL, b"picture", of(b"picture"))
    cache.put(URL, large, of(large))

    assert cache.validators(URL) is None


def test_a_lower_limit_shrinks_the_file(make: Make, tmp_path: Path) -> None:
    cache = make()
    for at in range(9):
        cache.put(str(at), bytes(200_000), of(bytes(200_000)))
    cache.close()

    smaller = make(MAX_BYTES // 4)
    smaller.put(URL, b"picture", of(b"picture"))

    assert smaller.get(URL) is not None
    smaller.close()
    assert size_on_disk(tmp_path) < MAX_BYTES // 4


def test_a_body_damaged_on_disk_is_absent(make: Make, tmp_path: Path) -> None:
    cache = make()
    cache.put(URL, b"picture" * 1000, of(b"picture" * 1000))
    cache.close()
    with sqlite3.connect(file_of(tmp_path)) as db:
        db.execute("UPDATE body SET data = replace(data, 'picture', 'forgery')")
    db.close()

    assert make().get(URL) is None
    assert make().validators(URL) is None


@pytest.mark.parametrize("damage", ["beginning", "middle", "whole"])
def test_a_damaged_file_is_begun_anew_and_said_once(
    damage: str, make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = make()
    for at in range(9):
        cache.put(str(at), bytes(200_000), of(bytes(200_000)))
    cache.close()
    path = file_of(tmp_path)
    held = bytearray(path.read_bytes())
    match damage:
        case "beginning":
            held[:4096] = b"\xff" * 4096
        case "middle":
            held[4096:65536] = b"\xff" * (65536 - 4096)
        case _:
            held = bytearray(b"not a database")
    path.write_bytes(held)

    cache = make()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            for at in range(9):
                assert cache.get(str(at)) is None
                cache.put(str(at), b"picture", of(b"picture"))
                cache.remove(str(at))
        cache.put(URL, b"picture", of(b"picture"))

    assert cache.get(URL) == Entry(b"picture", of(b"picture"))
    assert len(caplog.records) == 1


def test_a_file_that_vanishes_is_begun_anew(make: Make, tmp_path: Path, clock: Clock) -> None:
    cache = make()
    cache.put(URL, b"picture", of(b"picture"))
    for path in tmp_path.iterdir():
        path.unlink()

    for _ in range(3):
        cache.put("other", b"picture", of(b"picture"))
        clock.ms += 6_000

    assert cache.get("other") is not None
    assert file_of(tmp_path).exists()


def test_a_folder_that_goes_read_only_is_a_miss(make: Make, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = make(folder=folder)
    folder.rmdir()
    folder.write_bytes(b"a file now")

    cache.put(URL, b"picture", of(b"picture"))
    assert cache.get(URL) is None
    assert cache.validators(URL) is None


def test_a_full_disk_keeps_what_was_there(make: Make, clock: Clock) -> None:
    cache = make()
    cache.put(URL, b"picture", of(b"picture"))
    opened = cache._opened()
    opened.execute("PRAGMA max_page_count = 8")  # SQLite's own way to say that the disk is full

    cache.put("large", bytes(200_000), of(bytes(200_000)))
    clock.ms += 6_000

    assert cache.get("large") is None
    assert cache.get(URL) is not None


def test_a_lock_held_by_another_is_a_miss_and_not_waited_for_again(
    make: Make, tmp_path: Path, clock: Clock
) -> None:
    cache = make()
    cache.put(URL, b"picture", of(b"picture"))
    other = sqlite3.connect(file_of(tmp_path), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    cache.put("other", b"picture", of(b"picture"))
    assert cache.get(URL) is None  # for five seconds nothing is asked of it
    other.execute("COMMIT")
    other.close()
    clock.ms += 6_000

    assert cache.get(URL) is not None
    assert cache.get("other") is None


def test_a_folder_that_cannot_be_made_is_the_operator_s_to_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="picture cache"):
        HttpCache(tmp_path / "file" / "folder", MAX_BYTES, Clock())


def test_once_closed_it_holds_nothing(make: Make) -> None:
    cache = make()
    cache.close()
    cache.put(URL, b"picture", of(b"picture"))

    assert cache.get(URL) is None


def work(cache: HttpCache, seed: int) -> int:
    """Put and get bodies that others put too; how many of those found were not what they should be."""
    wrong = 0
    for at in range(150):
        url = f"https://m.example.com/{(at * seed) % 40}"
        body = url.encode() * 500
        cache.put(url, body, of(body))
        found = cache.get(url)
        wrong += found is not None and found.data != body
    return wrong


def work_in_process(folder: Path, seed: int) -> None:
    cache = HttpCache(folder, MAX_BYTES, Clock())
    wrong = work(cache, seed)
    cache.close()
    raise SystemExit(wrong)


def test_threads_share_it(make: Make) -> None:
    cache = make(MAX_BYTES // 4)
    wrong: list[int] = []
    threads = [
        threading.Thread(target=lambda seed=seed: wrong.append(work(cache, seed))) for seed in (1, 3, 7, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == [0, 0, 0, 0]


def test_processes_share_it(tmp_path: Path, make: Make) -> None:
    context = get_context("spawn")
    processes = [context.Process(target=work_in_process, args=(tmp_path, seed)) for seed in (1, 3, 7)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()

    assert [process.exitcode for process in processes] == [0, 0, 0]
    cache = make()
    assert all(cache.get(f"https://m.example.com/{at}") for at in range(40))
