"""Rows that cannot be used are counted by reason, with examples; the others are read whatever the format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import Engine, open_engine
from adgauge.monitor.plans import BadReason, labels_plan, scores_plan
from adgauge.monitor.reading import Tally, drop_repeated_labels, drop_repeated_scores, read_into
from adgauge.monitor.sources import parts_of
from tests.monitor.log_lines import DAY_MS, NOW_MS, deletion, label, score, write_lines

COLUMNS = ["parent_asin", "average_rating", "rating_number", "observed_at", "main_category", "price"]


def read_labels(engine: Engine, location: Path | str, observed_ms: int | None = None) -> Tally:
    tally = Tally()
    parts = parts_of(engine, str(location))
    read_into(engine, labels_plan(NOW_MS, observed_ms), str(location), parts, tally)
    drop_repeated_labels(engine, tally)
    return tally


def read_scores(engine: Engine, location: Path) -> Tally:
    tally = Tally()
    read_into(engine, scores_plan(NOW_MS), str(location), parts_of(engine, str(location)), tally)
    drop_repeated_scores(engine, tally)
    return tally


def reasons(tally: Tally) -> dict[str, int]:
    return {bad.reason: bad.rows for bad in tally.bad_rows()}


def ids(engine: Engine, table: str = "labels") -> list[str]:
    return [row[0] for row in engine.rows(f"SELECT id FROM {table} ORDER BY id")]  # noqa: S608 - ours


def as_csv(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    lines = [",".join(COLUMNS)]
    lines += [
        ",".join(str(row[name]) if row.get(name) is not None else "" for name in COLUMNS) for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def as_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


def as_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    write_lines(path, rows)
    return path


def as_gzip(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_bytes(gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode()))
    return path


@pytest.mark.parametrize(
    ("write", "name"),
    [(as_csv, "l.csv"), (as_parquet, "l.parquet"), (as_jsonl, "l.jsonl"), (as_gzip, "l.jsonl.gz")],
)
def test_every_format_gives_the_same_rows(
    engine: Engine, tmp_path: Path, write: Callable[[Path, Sequence[dict[str, Any]]], Path], name: str
) -> None:
    rows = [
        label("A", 4.5, main_category="Books", price=12.5),
        label("B", 1, main_category=None, price=None),
        label("C", 5.5, main_category="Toys", price=1.0),
    ]
    tally = read_labels(engine, write(tmp_path / name, rows))
    assert engine.rows(
        "SELECT id, rating, rating_number, observed_ms, main_category, price FROM labels ORDER BY id"
    ) == [
        ("A", 4.5, 12, NOW_MS - DAY_MS, "Books", 12.5),
        ("B", 1.0, 12, NOW_MS - DAY_MS, None, None),
    ]
    assert reasons(tally) == {"rating_out_of_range": 1}
    (source,) = tally.sources
    assert (source.rows, source.accepted, source.newest_ms) == (3, 2, NOW_MS - DAY_MS)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"average_rating": 0.9}, BadReason.RATING_OUT_OF_RANGE),
        ({"average_rating": 5.01}, BadReason.RATING_OUT_OF_RANGE),
        ({"average_rating": float("nan")}, BadReason.RATING_OUT_OF_RANGE),
        ({"average_rating": None}, BadReason.NO_RATING),
        ({"average_rating": "four"}, BadReason.NO_RATING),
        ({"average_rating": [4]}, BadReason.NO_RATING),
        ({"rating_number": -1}, BadReason.NEGATIVE_COUNT),
        ({"rating_number": "many"}, BadReason.NO_COUNT),
        ({"rating_number": 3.5}, BadReason.NO_COUNT),
        ({"observed_at": NOW_MS + DAY_MS}, BadReason.IN_THE_FUTURE),
        ({"observed_at": NOW_MS // 1000}, BadReason.BEFORE_2000),
        ({"observed_at": "yesterday"}, BadReason.NO_TIME),
        ({"observed_at": None}, BadReason.NO_TIME),
        ({"parent_asin": 12}, BadReason.NO_ID),
        ({"parent_asin": "  "}, BadReason.NO_ID),
        ({"parent_asin": "x" * 300}, BadReason.NO_ID),
    ],
)
def test_a_bad_row_is_counted_by_its_reason_and_shown(
    engine: Engine, tmp_path: Path, changed: dict[str, object], reason: BadReason
) -> None:
    tally = read_labels(engine, as_jsonl(tmp_path / "l.jsonl", [label("A"), label("B") | changed]))
    assert ids(engine) == ["A"]
    assert reasons(tally) == {reason: 1}
    (bad,) = tally.bad_rows()
    assert bad.examples[0].startswith('l.jsonl: {"parent_asin"')


def test_a_truncated_line_a_blank_one_and_foreign_bytes_are_counted_and_the_rest_is_read(
    engine: Engine, tmp_path: Path
) -> None:
    whole = json.dumps(label("A")).encode()
    path = tmp_path / "l.jsonl"
    path.write_bytes(
        b"\xef\xbb\xbf" + whole + b"\r\n\n[1]\n\xff\xfe\n" + json.dumps(label("B")).encode()[:-9]
    )
    assert reasons(read_labels(engine, path)) == {"not_json": 1, "not_object": 1, "not_utf8": 1}
    assert ids(engine) == ["A"]


def test_equal_labels_count_once_and_contradicting_ones_not_at_all(engine: Engine, tmp_path: Path) -> None:
    rows = [label("A"), label("A"), label("B", 4.0), label("B", 4.1), label("C"), label("C", days_ago=3)]
    assert reasons(read_labels(engine, as_jsonl(tmp_path / "l.jsonl", rows))) == {
        "duplicate": 1,
        "conflicting": 2,
    }
    assert ids(engine) == ["A", "C", "C"]


def test_a_half_written_parquet_is_one_unreadable_file_and_the_others_of_its_folder_are_read(
    engine: Engine, tmp_path: Path
) -> None:
    folder = tmp_path / "labels"
    folder.mkdir()
    whole = as_parquet(folder / "a.parquet", [label("A")])
    (folder / "b.parquet").write_bytes(whole.read_bytes()[:-20])
    (folder / "c.parquet").write_bytes(b"")
    (folder / "_temporary.parquet").write_bytes(b"being written")
    (folder / "notes.txt").write_text("no labels")
    as_csv(folder / "d.csv", [label("D")])
    tally = read_labels(engine, folder)
    assert ids(engine) == ["A", "D"]
    assert reasons(tally) == {"unreadable_file": 2}
    assert [example[:9] for example in tally.bad_rows()[0].examples] == ["b.parquet", "c.parquet"]


def test_a_file_without_a_column_that_is_needed_counts_with_all_its_rows(
    engine: Engine, tmp_path: Path
) -> None:
    path = as_parquet(tmp_path / "l.parquet", [{"parent_asin": "A", "observed_at": NOW_MS}] * 3)
    tally = read_labels(engine, path)
    assert reasons(tally) == {"missing_column": 3}
    assert tally.bad_rows()[0].examples == ("l.parquet: average_rating",)


def test_a_csv_row_with_too_many_values_is_left_out(engine: Engine, tmp_path: Path) -> None:
    path = as_csv(tmp_path / "l.csv", [label("A")] * 1)
    path.write_text(path.read_text() + "B,4.0,12,1795900000000,Books,1,2,3,4\n")
    tally = read_labels(engine, path)
    assert ids(engine) == ["A"]
    assert reasons(tally) == {"malformed_row": 1}


@pytest.mark.parametrize(
    "stated", ["2026-11-29T00:00:00Z", "2026-11-29", "2026-11-29 01:00:00+01:00", str(NOW_MS - DAY_MS)]
)
def test_times_are_milliseconds_or_iso_8601(engine: Engine, tmp_path: Path, stated: str) -> None:
    read_labels(engine, as_jsonl(tmp_path / "l.jsonl", [label("A", observed_at=stated)]))
    assert engine.rows("SELECT observed_ms FROM labels") == [(NOW_MS - DAY_MS,)]


def test_labels_without_a_time_take_the_one_that_is_given(engine: Engine, tmp_path: Path) -> None:
    rows = [{"parent_asin": "A", "average_rating": 4.0}, label("B", days_ago=2)]
    read_labels(engine, as_jsonl(tmp_path / "l.jsonl", rows), observed_ms=NOW_MS - 5)
    assert engine.rows("SELECT id, observed_ms FROM labels ORDER BY id") == [
        ("A", NOW_MS - 5),
        ("B", NOW_MS - 2 * DAY_MS),
    ]


@pytest.mark.parametrize(
    ("stated", "read"),
    [("$1,299.00", 1299.0), ("from 3.50", 3.5), ("—", None), (-1, None), ("12", 12.0), (7, 7.0), ("", None)],
)
def test_prices_are_read_from_text(
    engine: Engine, tmp_path: Path, stated: object, read: float | None
) -> None:
    read_labels(engine, as_jsonl(tmp_path / "l.jsonl", [label("A", price=stated)]))
    assert engine.rows("SELECT price FROM labels") == [(read,)]


def test_text_is_counted_over_title_features_and_description(engine: Engine, tmp_path: Path) -> None:
    fields: dict[str, Any] = {"title": "four", "features": ["ab", "cd"], "description": "xyz"}
    read_labels(engine, as_jsonl(tmp_path / "l.jsonl", [label("A", **fields)]))
    assert engine.rows("SELECT text_length, script FROM labels") == [(11, "Latin")]
    read_labels(engine, as_parquet(tmp_path / "l.parquet", [label("A", **fields)]))
    assert engine.rows("SELECT text_length FROM labels") == [(11,)]


def test_repeated_lines_of_the_score_log_count_once_and_the_newest_version_is_kept(
    engine: Engine, tmp_path: Path
) -> None:
    lines = [score("A", 3.0), score("A", 3.0), score("B", 3.0, offset=9), score("B", 2.0, offset=8)]
    tally = read_scores(engine, as_jsonl(tmp_path / "s.jsonl", lines))
    assert reasons(tally) == {"duplicate": 2}
    assert engine.rows("SELECT id, score FROM scores ORDER BY id") == [("A", 3.0), ("B", 3.0)]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"generation": None}, BadReason.NO_GENERATION),
        ({"generation": -1}, BadReason.NO_GENERATION),
        ({"outcome": "superseded"}, BadReason.NO_OUTCOME),
        ({"score": None}, BadReason.NO_SCORE),
        ({"score": "NaN"}, BadReason.NO_SCORE),
        ({"scored_at_ms": NOW_MS + DAY_MS}, BadReason.IN_THE_FUTURE),
        ({"id": None}, BadReason.NO_ID),
    ],
)
def test_a_bad_line_of_the_score_log_is_counted(
    engine: Engine, tmp_path: Path, changed: dict[str, object], reason: BadReason
) -> None:
    tally = read_scores(engine, as_jsonl(tmp_path / "s.jsonl", [score("A"), score("B") | changed]))
    assert reasons(tally) == {reason: 1}
    assert ids(engine, "scores") == ["A"]


def test_a_deletion_is_a_line_without_a_score(engine: Engine, tmp_path: Path) -> None:
    assert reasons(read_scores(engine, as_jsonl(tmp_path / "s.jsonl", [deletion("A", days_ago=3)]))) == {}
    assert engine.rows("SELECT at_ms, deleted, score FROM scores") == [(NOW_MS - 3 * DAY_MS, True, None)]


def test_flags_are_read_from_lists_in_json_and_parquet(engine: Engine, tmp_path: Path) -> None:
    lines = [score("A", flags=["no_image", "text_cut"]), score("B", flags=["no_text"])]
    for path in (as_jsonl(tmp_path / "s.jsonl", lines), as_parquet(tmp_path / "s.parquet", lines)):
        read_scores(engine, path)
        assert engine.rows("SELECT flags FROM scores ORDER BY id") == [(0b101,), (0b010,)]


def test_a_location_that_names_nothing_says_so(engine: Engine, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not exist"):
        parts_of(engine, str(tmp_path / "nothing.jsonl"))
    with pytest.raises(ConfigurationError, match="names no file that ends in"):
        parts_of(engine, str(tmp_path))
    with pytest.raises(ConfigurationError, match="ADGAUGE_KAFKA_BOOTSTRAP"):
        parts_of(engine, "kafka:labels")


def test_names_with_signs_of_patterns_are_names(engine: Engine, tmp_path: Path) -> None:
    folder = tmp_path / "it's [a] day?"
    folder.mkdir()
    as_jsonl(folder / "l*.jsonl", [label("A")])
    read_labels(engine, folder)
    assert ids(engine) == ["A"]


def test_a_topic_is_read_as_lines_whatever_line_ends_its_values_hold(engine: Engine) -> None:
    values = [json.dumps(label("A"), indent=1).encode(), b"{", json.dumps(label("B")).encode()]
    parts = parts_of(engine, "kafka:labels", lambda topic: iter(values if topic == "labels" else ()))
    tally = Tally()
    read_into(engine, labels_plan(NOW_MS, None), "kafka:labels", parts, tally)
    assert ids(engine) == ["A", "B"]
    assert reasons(tally) == {"not_json": 1}


def test_a_remote_store_is_read_through_fsspec(engine: Engine) -> None:
    import fsspec

    with fsspec.open("memory://labels/one.jsonl", "w") as file:
        file.write(json.dumps(label("A")) + "\n")
    read_labels(engine, "memory://labels")
    assert ids(engine) == ["A"]


_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)
_LINES = st.one_of(
    st.binary(max_size=60),
    st.dictionaries(
        st.sampled_from([*COLUMNS, "features", "title", "id", "score", "generation"]), _VALUES, max_size=6
    ).map(lambda row: json.dumps(row).encode()),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_LINES, max_size=8))
def test_no_bytes_stop_the_reader_and_every_row_is_accounted_for(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "any.jsonl"
    path.write_bytes(b"\n".join([json.dumps(label("WHOLE")).encode(), *lines]))
    with open_engine(tmp_path, memory_mb=128, threads=1) as engine:
        tally = read_labels(engine, path)
        (source,) = tally.sources
        repeated = ("duplicate", "conflicting")
        left_out = sum(bad.rows for bad in tally.bad_rows() if bad.reason not in repeated)
        assert source.rows == source.accepted + left_out
        assert ids(engine).count("WHOLE") == 1


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from(["x.csv", "x.parquet", "x.jsonl.gz"]))
def test_any_file_is_read_or_counted(tmp_path: Path, content: bytes, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with open_engine(tmp_path, memory_mb=128, threads=1) as engine:
        read_labels(engine, path)
        assert ids(engine) == []
