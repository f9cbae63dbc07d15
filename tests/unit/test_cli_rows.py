import csv
import io
import json
import os
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet
import pytest

from adgauge.cli.rows import Row, json_writer, line_file, row_file, text_writer
from adgauge.errors import ConfigurationError

ROWS = [
    Row(1, "B1", 4.1234567, (), None, "d1"),
    Row(3, "商品,", 1.0, ("no_image", "text_cut"), "timeout", "d2"),
]


def test_json_lines_hold_every_field(tmp_path: Path) -> None:
    with row_file(tmp_path / "o.jsonl") as write:
        write(ROWS[:1])
        write(ROWS[1:])

    lines = (tmp_path / "o.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [json.loads(json.dumps(asdict(row))) for row in ROWS]
    stream = io.StringIO()
    json_writer(stream)(ROWS)
    assert stream.getvalue().splitlines() == lines


def test_csv_has_a_header_and_joins_flags(tmp_path: Path) -> None:
    with row_file(tmp_path / "o.csv") as write:
        write(ROWS)

    with (tmp_path / "o.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "parent_asin", "score", "flags", "image_reason", "digest"],
            ["1", "B1", "4.1234567", "", "", "d1"],
            ["3", "商品,", "1.0", "no_image|text_cut", "timeout", "d2"],
        ]


def test_parquet_keeps_types(tmp_path: Path) -> None:
    with row_file(tmp_path / "o.parquet") as write:
        write(ROWS[:1])
        write(ROWS[1:])

    table = pyarrow.parquet.read_table(tmp_path / "o.parquet").to_pylist()
    assert table == [asdict(row) | {"flags": list(row.flags)} for row in ROWS]


@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_a_file_without_rows_is_still_a_file_of_its_kind(tmp_path: Path, name: str) -> None:
    with row_file(tmp_path / name):
        pass

    assert (tmp_path / name).exists()
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("before")

    def interrupted() -> None:
        with row_file(tmp_path / name) as write:
            write(ROWS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


@pytest.mark.parametrize(
    ("path", "problem"),
    [("o.xlsx", r"must end in \.jsonl, \.csv, \.parquet"), ("missing/o.csv", "No such file or directory")],
)
def test_a_path_that_cannot_be_written_is_one_line(tmp_path: Path, path: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem), row_file(tmp_path / path):
        pass


def test_text_shows_score_id_and_what_is_unusual() -> None:
    stream = io.StringIO()
    text_writer(stream)(ROWS)

    assert stream.getvalue() == "4.1235  B1\n1.0000  商品,  no_image text_cut timeout\n"


@pytest.mark.parametrize("name", ["o.jsonl", "o.csv", "o.parquet"])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The temporary file is /dev/full: every write of more than a buffer fails as on a full disk.
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), full(tmp_path)))

    def write_much() -> None:
        with row_file(tmp_path / name) as write:
            write(ROWS * 10_000)

    with pytest.raises(
        ConfigurationError, match=rf"cannot write {tmp_path / name}: .*No space left on device"
    ):
        write_much()
    assert list(tmp_path.iterdir()) == []


def full(folder: Path) -> str:
    link = folder / "full"
    link.symlink_to("/dev/full")
    return str(link)


def test_an_error_elsewhere_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    def closed_pipe() -> None:
        with row_file(tmp_path / "o.csv"), line_file(tmp_path / "rejects.jsonl") as write:
            write("{}\n")
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        closed_pipe()
    assert list(tmp_path.iterdir()) == []


def test_a_link_stays_and_its_target_is_written(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.txt"
    link = tmp_path / "link.txt"
    link.symlink_to(target)

    with line_file(link) as write:
        write("a line")

    assert link.is_symlink()
    assert target.read_text() == "a line"
    assert [path.name for path in target.parent.iterdir()] == ["target.txt"]


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_regular_file_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there.csv"
    os.mkfifo(path) if kind == "pipe" else path.mkdir()
    before = path.lstat()

    with pytest.raises(ConfigurationError, match=r"there.csv: it is no regular file"), row_file(path):
        raise AssertionError("nothing may be done before the refusal")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize(("name", "why"), [("-", "cannot write to -"), ("", "it is no regular file")])
def test_a_name_that_is_no_files_is_refused(name: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=why), line_file(Path(name)):
        raise AssertionError("nothing may be done before the refusal")
