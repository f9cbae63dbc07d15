import gzip
import io
import json
from pathlib import Path

import pytest

from adgauge.adapters.files import POLL_RECORDS, CatalogFile, FileSource, key_and_value
from adgauge.errors import ConfigurationError
from adgauge.records import Order, Partition

NOTHING = io.BytesIO()


def written(path: Path, *lines: bytes) -> str:
    path.write_bytes(b"\n".join(lines))
    return str(path)


def lines_of(path: str, standard_input: io.BytesIO = NOTHING, limit: int = 1000) -> list[tuple[int, bytes]]:
    with CatalogFile(path, standard_input, limit) as catalog:
        return list(catalog)


def test_blank_lines_are_counted_and_keep_the_numbering(tmp_path: Path) -> None:
    with CatalogFile(written(tmp_path / "c.jsonl", b"a", b"", b" \t\r", b"b\r", b""), NOTHING, 99) as catalog:
        assert list(catalog) == [(1, b"a"), (4, b"b")]
        assert catalog.blank == 2


def test_a_byte_order_mark_is_not_part_of_the_first_record(tmp_path: Path) -> None:
    path = written(tmp_path / "c.jsonl", b"\xef\xbb\xbf{}", b"\xef\xbb\xbf{}")

    assert lines_of(path) == [(1, b"{}"), (2, b"\xef\xbb\xbf{}")]


def test_a_byte_order_mark_does_not_count_towards_the_limit(tmp_path: Path) -> None:
    path = written(tmp_path / "c.jsonl", b"\xef\xbb\xbf" + b"x" * 10, b"y")
    longer = written(tmp_path / "d.jsonl", b"\xef\xbb\xbf" + b"x" * 99, b"y")

    assert lines_of(path, limit=10) == [(1, b"x" * 10), (2, b"y")]
    assert lines_of(longer, limit=10) == [(1, b"x" * 11), (2, b"y")]


def test_a_line_comes_in_pieces_with_its_end_and_is_counted_once(tmp_path: Path) -> None:
    path = written(tmp_path / "c.jsonl", b"x" * 25, b"y" * 11, b"", b"z")
    with CatalogFile(path, NOTHING, 10) as catalog:
        lines = [list(catalog.pieces()) for _ in range(5)]
        assert catalog.line == 4

    assert [b"".join(line) for line in lines] == [b"x" * 25 + b"\n", b"y" * 11 + b"\n", b"\n", b"z", b""]
    assert [len(piece) for piece in lines[0]] == [14, 12]  # a mark could stand before the first line


def test_gzip_and_standard_input_are_read_like_a_plain_file(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b"a\nb"))

    assert lines_of(str(path)) == lines_of("-", io.BytesIO(b"a\nb\n")) == [(1, b"a"), (2, b"b")]


def test_a_line_over_the_limit_is_cut_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "c.jsonl", b"x" * 10, b"y" * 11, b"z" * 1000, b"w")

    assert lines_of(path, limit=10) == [(1, b"x" * 10), (2, b"y" * 11), (3, b"z" * 11), (4, b"w")]


@pytest.mark.parametrize("name", ["missing.jsonl", ".", "missing.gz"])
def test_a_missing_file_or_a_folder_is_one_clear_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read .*: (No such file|Is a directory)") as error:
        CatalogFile(str(tmp_path / name), NOTHING, 10)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("damage", [b"no gzip", gzip.compress(b"a\n" * 9999)[:-20]])
def test_a_damaged_gzip_file_is_one_clear_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "c.gz"
    path.write_bytes(damage)

    with pytest.raises(ConfigurationError, match=r"cannot read .* after line \d+: .*complete"):
        lines_of(str(path))


@pytest.mark.parametrize(
    ("line", "key", "is_tombstone"),
    [
        (b'{"parent_asin": "B1", "title": "t"}', b"B1", False),
        (b'{"parent_asin": " B1 "}', b"B1", False),
        (b'{"parent_asin": "B1", "_deleted": true}', b"B1", True),
        (b'{"parent_asin": "B1", "_deleted": "yes"}', b"B1", False),
        (b'{"_deleted": true}', b"", False),
        (b'{"parent_asin": null}', b"", False),
        (b'{"parent_asin": ""}', b"", False),
        (b'{"parent_asin": 7}', b"", False),
        (b'{"parent_asin": "\\ud800"}', b"", False),
        (b'["parent_asin"]', b"", False),
        (b"null", b"", False),
        (b"{", b"", False),
        (b"\xff", b"", False),
        (b"[" * 100_000, b"", False),
    ],
)
def test_a_line_gives_its_key_and_only_a_named_product_can_be_deleted(
    line: bytes, key: bytes, is_tombstone: bool
) -> None:
    assert key_and_value(line) == (key, None if is_tombstone else line)


def test_positions_are_line_numbers_and_a_later_line_is_newer(tmp_path: Path) -> None:
    path = written(
        tmp_path / "c.jsonl", b'{"parent_asin": "A"}', b"", b'{"parent_asin": "A", "_deleted": true}'
    )
    with CatalogFile(path, NOTHING, 1000) as catalog:
        source = FileSource(catalog, 77, lambda _: None)
        first, second = source.poll(0)

    assert (first.position.offset, second.position.offset) == (1, 3)
    assert (first.order, second.order) == (Order(77, 1), Order(77, 3))
    assert (first.key, first.value, first.payload) == (b"A", *[b'{"parent_asin": "A"}'] * 2)
    assert (second.key, second.value, second.payload) == (b"A", None, None)


def test_a_source_is_exhausted_after_its_last_line(tmp_path: Path) -> None:
    lines = [json.dumps({"parent_asin": str(n)}).encode() for n in range(POLL_RECORDS + 3)]
    with CatalogFile(written(tmp_path / "c.jsonl", *lines), NOTHING, 1000) as catalog:
        source = FileSource(catalog, 0, lambda _: None)

        assert len(source.poll(0)) == POLL_RECORDS
        assert not source.exhausted
        assert len(source.poll(0)) == 3
        assert source.exhausted
        assert source.poll(0) == []
        assert source.read == POLL_RECORDS + 3


def test_a_paused_source_delivers_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    with CatalogFile(written(tmp_path / "c.jsonl", b"{}"), NOTHING, 1000) as catalog:
        source = FileSource(catalog, 0, lambda _: None)
        source.pause()
        assert source.poll(0) == []
        source.resume()
        assert len(source.poll(0)) == 1


def test_commits_say_up_to_which_line_everything_is_decided(tmp_path: Path) -> None:
    decided: list[int] = []
    with CatalogFile(written(tmp_path / "c.jsonl", b"{}"), NOTHING, 1000) as catalog:
        source = FileSource(catalog, 0, decided.append)
        source.commit({source.partition: 2})
        source.commit({Partition("other", 0): 9})

    assert decided == [2]
