"""What the history keeps, forgets, and survives."""

from __future__ import annotations

import logging
import multiprocessing
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from adgauge.errors import ConfigurationError
from adgauge.monitor.history import History, past_run
from adgauge.monitor.result import Result, Status
from tests.monitor.example_result import BEAUTY, DAY_MS, NOW_MS, RARE, example_result


def on_day(day: int, generation: int = 3) -> Result:
    result = example_result()
    model = result.model.model_copy(update={"generation": generation})
    return result.model_copy(update={"run_at_ms": NOW_MS + day * DAY_MS, "model": model})


def days_of(history: History) -> list[int]:
    return [(run.run_at_ms - NOW_MS) // DAY_MS for run in history.runs()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "history.sqlite3"


def test_runs_come_back_in_the_order_of_time(path: Path) -> None:
    history = History(path)
    for day in (1, 0, 2):
        history.add(on_day(day))
    assert days_of(history) == [0, 1, 2]
    assert [run.run_at_ms for run in history.runs(newest=2)] == [NOW_MS + DAY_MS, NOW_MS + 2 * DAY_MS]
    assert history.runs()[0] == past_run(on_day(0))


def test_headline_figures_are_kept_by_slice(path: Path) -> None:
    History(path).add(example_result())
    (run,) = History(path).runs()
    assert (run.status, run.generation, run.model) == (Status.ALARM, 3, "effimini_lite0")
    beauty = run.of(BEAUTY)
    assert beauty is not None
    assert (beauty.n, beauty.plcc.value, beauty.judged) == (590, 0.08, True)
    assert beauty.coverage == pytest.approx(590 / 700)
    rare = run.of(RARE)
    assert rare is not None
    assert rare.plcc.value is None


def test_nothing_is_known_and_nothing_made_before_the_first_run(path: Path) -> None:
    history = History(path)
    assert history.runs() == ()
    assert history.last_good() is None
    assert not path.parent.exists()


def test_the_newest_document_is_kept_whole_and_only_that(path: Path) -> None:
    history = History(path)
    for day in (0, 2, 1):
        history.add(on_day(day))
    assert history.last_good() == on_day(2)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(document) FROM run").fetchone() == (1,)


def test_a_run_that_is_repeated_is_kept_once_and_generations_apart(path: Path) -> None:
    history = History(path)
    for generation in (3, 4, 3):
        history.add(on_day(0, generation))
    assert [run.generation for run in history.runs()] == [3, 4]


def test_the_oldest_are_forgotten_and_the_file_stops_growing(path: Path) -> None:
    history = History(path, keep=5)
    sizes = []
    for day in range(40):
        history.add(on_day(day))
        sizes.append(path.stat().st_size)
    assert days_of(history) == [35, 36, 37, 38, 39]
    assert max(sizes[10:]) == sizes[10]


def test_at_least_one_run_must_be_kept(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 1"):
        History(path, keep=0)


def _add_ten(path: Path, first: int) -> None:
    for day in range(first, first + 10):
        History(path).add(on_day(day))


def test_runs_at_the_same_time_lose_none(path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    runs = [spawn.Process(target=_add_ten, args=(path, 10 * number)) for number in range(4)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    assert days_of(History(path)) == list(range(40))


def _cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def _scribbled_over(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = b"\xa5" * (len(data) - 100)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [_cut_short, _scribbled_over])
def test_a_damaged_file_is_set_aside_and_the_run_is_kept(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    history = History(path)
    for day in range(20):
        history.add(on_day(day))
    assert callable(damage)
    damage(path)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        history.add(on_day(20))
    assert days_of(history) == [20]
    aside = path.with_name("history.sqlite3.damaged-1")
    assert aside.read_bytes() == damaged
    assert f"{path} is damaged" in caplog.text
    assert str(aside) in caplog.text


def test_a_damaged_file_does_not_keep_a_report_from_being_made(path: Path) -> None:
    history = History(path)
    history.add(on_day(0))
    _scribbled_over(path)
    assert history.runs() == ()
    assert history.last_good() is None


@pytest.mark.parametrize("content", [b"parent_asin,average_rating\nB001,4.5\n" * 200, b"\0" * 8192])
def test_a_file_of_something_else_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="is no history of the monitor; move it away"):
        History(path).add(on_day(0))
    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_database_of_something_else_is_refused_and_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE entry (id INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="a database of something else"):
        History(path).add(on_day(0))
    assert path.read_bytes() == before


def test_a_history_of_another_version_is_refused(path: Path) -> None:
    History(path).add(on_day(0))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigurationError, match="format 2, not 1"):
        History(path).runs()


def test_a_place_that_is_no_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ConfigurationError, match=r"history in .*state/history"):
        History(tmp_path / "state" / "history").add(on_day(0))


def test_runs_of_another_version_are_left_out_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    history = History(path)
    for day in (0, 1):
        history.add(on_day(day))
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE run SET headline = '{}', document = '{}' WHERE run_at_ms > ?", (NOW_MS,))
        db.commit()
    assert days_of(history) == [0]
    assert history.last_good() is None
    assert "another version" in caplog.text
