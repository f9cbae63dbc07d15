"""CSV as publishers write it: rows become products, and what cannot be read is said with its line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from adgauge.adapters.csv_catalog import CsvCatalog, open_catalog
from adgauge.adapters.files import UNREADABLE_HEADER, CatalogFile, FileSource, Unreadable
from adgauge.errors import ConfigurationError, RecordRejected
from adgauge.product import ProductRecord, parse_product

NOTHING = io.BytesIO()
LIMIT = 1000
Read = list[tuple[int, bytes | Unreadable]]


def read(folder: Path, content: bytes | str, name: str = "input.csv", limit: int = LIMIT) -> Read:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with open_catalog(str(path), NOTHING, limit) as catalog:
        return list(catalog)


def documents(found: Read) -> list[tuple[int, dict[str, Any]]]:
    return [(line, json.loads(data)) for line, data in found if isinstance(data, bytes)]


def product(folder: Path, content: str) -> ProductRecord:
    ((_, data),) = read(folder, content, limit=1 << 20)
    assert isinstance(data, bytes)
    return parse_product(data, 1 << 20)


def refused(folder: Path, content: bytes | str) -> str:
    with pytest.raises(ConfigurationError) as error:
        read(folder, content)
    assert "\n" not in str(error.value)
    return str(error.value)


class TestProducts:
    def test_a_row_is_a_product_with_its_pictures(self, tmp_path: Path) -> None:
        found = product(
            tmp_path, "parent_asin,image_paths\nB01,a.jpg; b/c d.png ;;https://x.example/e.jpg?f=1\n"
        )

        assert found.parent_asin == "B01"
        assert [picture.urls for picture in found.pictures] == [
            ("a.jpg",),
            ("b/c d.png",),
            ("https://x.example/e.jpg?f=1",),
        ]

    def test_a_data_url_is_one_reference(self, tmp_path: Path) -> None:
        urls = "data:image/png;base64,AAAA;data:image/gif;base64,BB==;c.jpg"
        found = product(tmp_path, f'image_paths,parent_asin\n"{urls}",B01\n')

        assert [picture.urls[0] for picture in found.pictures] == [
            "data:image/png;base64,AAAA",
            "data:image/gif;base64,BB==",
            "c.jpg",
        ]

    def test_columns_named_like_fields_are_read_as_the_item_schema_reads_strings(
        self, tmp_path: Path
    ) -> None:
        row = {
            "title": 'A "fine",\nred shoe',
            "features": '["light", "fast"]',
            "description": "['one', 'it\\'s two']",
            "categories": "Shoes",
            "details": '{"Brand": "Acme"}',
            "price": "$1,299.00",
            "average_rating": "4.5",
            "junk": "{[",
            "rating_number": "7",
            "main_category": "Books",
            "store": "Acme",
            "parent_asin": " B01 ",
        }
        table = io.StringIO()
        csv.writer(table).writerows([row.keys(), row.values()])
        found = product(tmp_path, table.getvalue())

        assert found == ProductRecord.model_validate(
            {
                "parent_asin": "B01",
                "title": 'A "fine",\nred shoe',
                "features": ["light", "fast"],
                "description": ["one", "it's two"],
                "categories": ["Shoes"],
                "details": {"Brand": "Acme"},
                "price": 1299.0,
                "average_rating": 4.5,
                "rating_number": 7,
                "main_category": "Books",
                "store": "Acme",
            }
        )

    def test_the_column_images_counts_where_there_are_no_paths(self, tmp_path: Path) -> None:
        images = '"[{""large"": ""c.jpg"", ""variant"": ""MAIN""}]"'
        header = "parent_asin,image_paths,images\n"

        assert product(tmp_path, f"{header}B01,,{images}\n").pictures[0].urls == ("c.jpg",)
        assert product(tmp_path, f"{header}B01,a.jpg,{images}\n").pictures[0].urls == ("a.jpg",)

    def test_a_row_cannot_delete_a_product(self, tmp_path: Path) -> None:
        assert documents(read(tmp_path, "parent_asin,_deleted\nB01,true\n")) == [(2, {"parent_asin": "B01"})]

    def test_a_row_without_an_id_is_for_the_pipeline_to_reject(self, tmp_path: Path) -> None:
        ((_, data),) = read(tmp_path, "parent_asin,title\n ,red\n")
        assert isinstance(data, bytes)
        with pytest.raises(RecordRejected, match="parent_asin is empty"):
            parse_product(data, LIMIT)


class TestForms:
    ROWS = (b"parent_asin,title", b'B01,"one', b'two"', b"", b",", b"B02,x")

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_each_row_has_the_number_of_its_first_line_and_empty_ones_are_counted(
        self, end: bytes, mark: bytes, tmp_path: Path
    ) -> None:
        path = tmp_path / "input.csv"
        path.write_bytes(mark + end.join(self.ROWS))
        with CsvCatalog(str(path), NOTHING, LIMIT) as catalog:
            found = documents(list(catalog))

        assert found == [
            (2, {"parent_asin": "B01", "title": f"one{end.decode()}two"}),
            (6, {"parent_asin": "B02", "title": "x"}),
        ]
        assert catalog.blank == 2

    def test_gzip_is_read_by_its_name(self, tmp_path: Path) -> None:
        packed = gzip.compress(b"parent_asin\nB01\n")
        assert documents(read(tmp_path, packed, "Input.CSV.gz")) == [(2, {"parent_asin": "B01"})]

    def test_another_name_is_a_catalog_of_json_lines(self, tmp_path: Path) -> None:
        assert read(tmp_path, b"parent_asin\n", "input.jsonl") == [(1, b"parent_asin")]
        assert isinstance(open_catalog("-", io.BytesIO(b""), 1), CatalogFile)

    def test_only_a_first_row_is_a_catalog_of_nothing(self, tmp_path: Path) -> None:
        assert read(tmp_path, "parent_asin,title") == []


class TestRefusedFiles:
    def test_without_ids_the_columns_that_were_found_are_shown(self, tmp_path: Path) -> None:
        complaint = refused(tmp_path, "asin;image_paths\nB01;a.jpg\n")
        assert complaint.endswith(
            "has no column parent_asin; its first row, cells separated by commas, is: asin;image_paths"
        )

    def test_a_column_that_is_read_must_be_there_once(self, tmp_path: Path) -> None:
        assert "more than one column title, image_paths; leave one" in refused(
            tmp_path, "title,parent_asin,image_paths,title,image_paths\n"
        )
        assert read(tmp_path, "x,parent_asin,x\n1,B01,2\n") == [(2, b'{"parent_asin": "B01"}')]

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "it is empty; its first row must name parent_asin"),
            (b"\xef\xbb\xbf", "it is empty"),
            ("parent_asin,title\n".encode("utf-16"), "not UTF-8"),
            (b"parent_asin\0,title\n", "a NUL byte; is this a CSV file?"),
            (
                b"parent_asin,title\rB01,red\r",
                "a carriage return outside quotes; lines must end in LF or CRLF",
            ),
            (b'parent_asin,"title\n', "the file ends within quotes that this row opens"),
            (b"parent_asin," + b"x" * LIMIT, f"over {LIMIT} bytes"),
        ],
    )
    def test_a_first_row_that_cannot_be_read_is_one_clear_line(
        self, content: bytes, why: str, tmp_path: Path
    ) -> None:
        assert why in refused(tmp_path, content)

    @pytest.mark.parametrize("name", ["missing.csv", "missing.csv.gz"])
    def test_a_missing_file_is_one_clear_line(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"cannot read .*: No such file"):
            open_catalog(str(tmp_path / name), NOTHING, LIMIT)


class TestUnreadableRows:
    @pytest.mark.parametrize(
        ("row", "why"),
        [
            (b"B02,red,more,cells", "4 cells; the first row has 2"),
            (b"B02", "1 cells; the first row has 2"),
            (b"B02,re\0d", "a NUL byte; is this a CSV file?"),
            (b"B02,re\rd", "a carriage return outside quotes; lines must end in LF or CRLF"),
            (b'B02,"5" wide"', "',' expected after '\"'"),
            (b'B02,"a\nb"c"', "',' expected after '\"'"),
        ],
    )
    def test_the_row_is_kept_as_it_is_and_the_next_one_is_read(
        self, row: bytes, why: str, tmp_path: Path
    ) -> None:
        after = 3 + row.count(b"\n")
        found = read(tmp_path, b"parent_asin,title\n" + row + b"\nB03,blue\n")

        assert found == [(2, Unreadable(row, why)), (after, b'{"parent_asin": "B03", "title": "blue"}')]

    def test_quotes_that_are_never_closed_take_the_rest_of_the_file(self, tmp_path: Path) -> None:
        found = read(tmp_path, 'parent_asin,title\nB01,x\nB02,"red\nB03,blue\n')

        assert found[1:] == [
            (3, Unreadable(b'B02,"red\nB03,blue', "the file ends within quotes that this row opens"))
        ]

    def test_bytes_that_are_no_text_are_for_the_pipeline_to_reject(self, tmp_path: Path) -> None:
        found = read(tmp_path, b'parent_asin,title\nB01,"caf\xe9\nred"\nB02,blue\n')

        assert found[0] == (2, b'B01,"caf\xe9\nred"\n')
        assert found[1][0] == 4
        with pytest.raises(RecordRejected, match="not_utf8"):
            parse_product(b'B01,"caf\xe9\nred"\n', LIMIT)

    def test_a_cell_over_the_limit_of_the_csv_module_is_named(self, tmp_path: Path) -> None:
        cell = "x\n" * csv.field_size_limit()
        found = read(tmp_path, f'parent_asin,title\nB01,"{cell}",\nB02,blue\n', limit=1 << 20)
        line = 3 + csv.field_size_limit()

        assert [number for number, _ in found] == [2, line]
        assert isinstance(found[0][1], Unreadable)
        assert found[0][1].detail == f"a cell of more than {csv.field_size_limit()} characters"

    @pytest.mark.parametrize(
        "row",
        [
            b"B02," + b"x" * LIMIT,
            b'B02,"' + b"x" * 3 * LIMIT + b'"',
            b'B02,"' + b"some text\n" * LIMIT + b'"',
            b'B02,"' + b"y" * LIMIT + b'\nB99,trap\n"',
            b'B02,"' + b'a ""quoted""\n' * LIMIT + b'","' + b"z" * 2 * LIMIT + b'\nB99,trap"',
        ],
    )
    def test_a_row_over_the_limit_is_cut_and_rejected_and_the_next_one_is_read(
        self, row: bytes, tmp_path: Path
    ) -> None:
        found = read(tmp_path, b"parent_asin,title\n" + row + b"\nB03,blue\n")

        assert found == [
            (2, row[: LIMIT + 1]),
            (3 + row.count(b"\n"), b'{"parent_asin": "B03", "title": "blue"}'),
        ]
        with pytest.raises(RecordRejected, match="too_large"):
            parse_product(row[: LIMIT + 1], LIMIT)

    def test_a_source_says_in_a_header_why_a_record_is_none(self, tmp_path: Path) -> None:
        path = tmp_path / "input.csv"
        path.write_bytes(b"parent_asin\nB01,\nB02\n")
        with CsvCatalog(str(path), NOTHING, LIMIT) as catalog:
            unread, product = FileSource(catalog, 77, lambda _: None).poll(0)

        why = b"2 cells; the first row has 1"
        assert (unread.position.offset, unread.key, unread.value) == (2, b"", b"B01,")
        assert unread.headers == ((UNREADABLE_HEADER, why),)
        assert (product.position.offset, product.key, product.headers) == (3, b"B02", ())
