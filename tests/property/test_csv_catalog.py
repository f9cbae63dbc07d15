"""Whatever stands in a CSV file: what was written is read, and nothing stops the reading."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

from hypothesis import given
from hypothesis import strategies as st

from adgauge.adapters.csv_catalog import CsvCatalog
from adgauge.adapters.files import Unreadable
from adgauge.errors import ConfigurationError

LIMIT = 200
NOTHING = io.BytesIO()
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
IDS = st.from_regex(r"[A-Z0-9 ,;\"]{1,9}", fullmatch=True).filter(str.strip)
ROWS = st.lists(st.tuples(IDS, TEXTS, TEXTS), max_size=6)
PIECES = st.lists(
    st.sampled_from([b'"', b",", b"\n", b"\r", b"\r\n", b"B1", b"\xff", b"\0", b"x" * 150, "é".encode()])
    | st.binary(max_size=4),
    max_size=40,
).map(b"".join)


def read(content: bytes, limit: int) -> tuple[list[tuple[int, bytes | Unreadable]], int]:
    with NamedTemporaryFile(suffix=".csv") as file:
        Path(file.name).write_bytes(content)
        with CsvCatalog(file.name, NOTHING, limit) as catalog:
            return list(catalog), catalog.blank


def written(rows: Sequence[Sequence[str]], end: str) -> bytes:
    table = io.StringIO(newline="")
    # Of this Python's writer only lines that end in CRLF have carriage returns in quotes.
    writer = csv.writer(
        table, lineterminator=end, quoting=csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    )
    writer.writerows([("parent_asin", "title", "junk"), *rows])
    return table.getvalue().encode()


@given(ROWS, st.sampled_from(["\n", "\r\n"]))
def test_what_a_csv_writer_wrote_is_read(rows: list[tuple[str, str, str]], end: str) -> None:
    found, blank = read(written(rows, end), 10_000)
    documents = [json.loads(data) for _, data in found if isinstance(data, bytes)]

    assert blank == 0
    assert [document["parent_asin"] for document in documents] == [product_id for product_id, _, _ in rows]
    assert [document.get("title", "") for document in documents] == [
        title if title.strip() else "" for _, title, _ in rows
    ]


@given(
    ROWS, st.integers(0, 6), st.sampled_from([b'B9,"' + b"y\n" * LIMIT + b'",z', b"B9,1,2,3", b"B9,\xff,z"])
)
def test_a_row_that_cannot_be_read_spoils_no_other(
    rows: list[tuple[str, str, str]], at: int, broken: bytes
) -> None:
    good, _ = read(written(rows, "\n"), LIMIT)
    before, after = written(rows[:at], "\n"), written(rows[at:], "\n").partition(b"\n")[2]
    found, _ = read(before + broken + b"\n" + after, LIMIT)

    place = min(at, len(rows))
    kept = [data for _, data in found]
    assert kept[:place] + kept[place + 1 :] == [data for _, data in good]


@given(PIECES, st.integers(20, LIMIT))
def test_any_bytes_are_read_to_the_end_in_order(content: bytes, limit: int) -> None:
    found, _ = read(b"parent_asin,title\n" + content, limit)
    lines = [line for line, _ in found]

    assert lines == sorted(set(lines))
    assert all(2 <= line <= content.count(b"\n") + 2 for line in lines)
    for _, data in found:
        raw = data.data if isinstance(data, Unreadable) else data
        assert len(raw) <= 6 * limit  # JSON takes at most six characters for one


@given(PIECES)
def test_any_bytes_are_a_catalog_or_refused(content: bytes) -> None:
    with suppress(ConfigurationError):
        read(content, LIMIT)
