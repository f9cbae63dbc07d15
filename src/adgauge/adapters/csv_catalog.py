"""A catalog as CSV, as the challenge's `input.csv` is: each row becomes the JSON of a product.

The first row names the columns. `parent_asin` must be one of them. `image_paths` holds the pictures' paths or
URLs, separated by ";", and counts more than a column `images`. Any other column that is named like a field of
the item schema is read as that field; the rest is ignored. Commas separate cells, quotes enclose them
(RFC 4180); UTF-8, with or without its mark.
"""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import BinaryIO, Self

from adgauge.adapters.files import Catalog, CatalogFile, Unreadable
from adgauge.errors import ConfigurationError
from adgauge.product import ProductRecord

ID, PATHS = "parent_asin", "image_paths"
ENDINGS = (".csv", ".csv.gz")

_FIELDS = frozenset(ProductRecord.model_fields)
_BETWEEN_PATHS = re.compile(r";(?!base64,)")  # the one within a data: URL separates nothing
_QUOTE = b'"'


def open_catalog(path: str, standard_input: BinaryIO, max_bytes: int) -> Catalog:
    """A catalog of the kind that its name says; raises ConfigurationError when it cannot be read."""
    if path.lower().endswith(ENDINGS):
        return CsvCatalog(path, standard_input, max_bytes)
    return CatalogFile(path, standard_input, max_bytes)


class CsvCatalog:
    """Rows of a CSV file as JSON, each with the number of the line that it begins in; empty rows are counted.

    A row that is too large, or not UTF-8, comes as its bytes, cut as `CatalogFile` cuts a line: the pipeline
    says what is wrong with it. Raises ConfigurationError when the file or its first row cannot be read.
    """

    def __init__(self, path: str, standard_input: BinaryIO, max_row_bytes: int) -> None:
        self.path = path
        self.blank = 0
        self._max_bytes = max_row_bytes
        self._file = CatalogFile(path, standard_input, max_row_bytes)
        self._lines = _Lines(self._file, max_row_bytes)
        self._reader = csv.reader(self._lines, strict=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def __iter__(self) -> Iterator[tuple[int, bytes | Unreadable]]:
        columns = self._columns()
        while (cells := self._row()) is not None:
            number = self._lines.first
            if not isinstance(cells, list):
                yield number, cells
            elif not any(cell.strip() for cell in cells):
                self.blank += 1
            elif len(cells) != len(columns):
                yield number, self._unreadable(f"{len(cells)} cells; the first row has {len(columns)}")
            else:
                yield number, _product_json(dict(zip(columns, cells, strict=True)))

    def _columns(self) -> Sequence[str]:
        row = self._row()
        if row is None:
            raise ConfigurationError(f"cannot read {self.path}: it is empty; its first row must name {ID}")
        if not isinstance(row, list):
            raise ConfigurationError(f"cannot read the first row of {self.path}: {self._why(row)}")
        columns = [name.strip() for name in row]
        if ID not in columns:
            found = ", ".join(columns)[:200]
            raise ConfigurationError(
                f"{self.path} has no column {ID}; its first row, cells separated by commas, is: {found}"
            )
        counted = Counter(name for name in columns if name in _FIELDS or name == PATHS)
        if twice := [name for name, count in counted.items() if count > 1]:
            raise ConfigurationError(f"{self.path} has more than one column {', '.join(twice)}; leave one")
        return columns

    def _why(self, row: bytes | Unreadable) -> str:
        if isinstance(row, Unreadable):
            return row.detail
        return f"over {self._max_bytes} bytes" if self._lines.is_text else "not UTF-8"

    def _row(self) -> list[str] | bytes | Unreadable | None:
        """The cells of the next row, or what is there instead; None at the end of the file."""
        self._lines.begin()
        try:
            cells = next(self._reader, None)
        except _TooLarge:
            self._lines.skip()
            return bytes(self._lines.row[: self._max_bytes + 1])
        except csv.Error as exc:
            return self._broken(str(exc))
        if not self._lines.is_text:
            return bytes(self._lines.row)
        if b"\0" in self._lines.row:
            return self._unreadable("a NUL byte; is this a CSV file?")
        return cells

    def _broken(self, why: str) -> bytes | Unreadable:
        if why.startswith("field larger"):
            self._lines.skip()
            why = f"a cell of more than {csv.field_size_limit()} characters"
        elif why.startswith("new-line character"):
            why = "a carriage return outside quotes; lines must end in LF or CRLF"
        elif why.startswith("unexpected end"):
            why = "the file ends within quotes that this row opens"
        return self._unreadable(why) if self._lines.is_text else bytes(self._lines.row)

    def _unreadable(self, why: str) -> Unreadable:
        return Unreadable(bytes(self._lines.row).rstrip(b"\r\n"), why)


class _Lines:
    """Lines for `csv.reader`, which takes as many as a row has; knows the row that is being read."""

    def __init__(self, file: CatalogFile, max_row_bytes: int) -> None:
        self.row = bytearray()
        self.first = 1  # line of the row
        self.is_text = True
        self._quotes = 0
        self._file = file
        self._max_bytes = max_row_bytes

    def begin(self) -> None:
        """The next line is the first of a row."""
        self.row.clear()
        self.first = self._file.line + 1
        self.is_text = True
        self._quotes = 0

    def skip(self) -> None:
        """Over the rest of a row that was given up, to the line in which its last quote is closed."""
        while self._quotes % 2 and self._take():
            pass

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._take()
        if not line:
            raise StopIteration
        self.row += line
        if len(self.row) > self._max_bytes:
            raise _TooLarge
        try:
            return line.decode()
        except UnicodeDecodeError:
            self.is_text = False
            return line.decode(errors="replace")

    def _take(self) -> bytes:
        """The beginning of the next line, empty at the end of the file; counts the quotes of all of it."""
        pieces = self._file.pieces()
        line = next(pieces, b"")
        self._quotes += line.count(_QUOTE) + sum(piece.count(_QUOTE) for piece in pieces)
        return line


class _TooLarge(Exception):
    """A row has more bytes than are accepted."""


def _product_json(row: Mapping[str, str]) -> bytes:
    """A row by column names as the JSON of a product; empty cells say nothing."""
    product: dict[str, str | list[str]] = {
        name: cell for name, cell in row.items() if name in _FIELDS and (cell.strip() or name == ID)
    }
    paths = [path.strip() for path in _BETWEEN_PATHS.split(row.get(PATHS, "")) if path.strip()]
    if paths:
        product["images"] = paths
    return json.dumps(product, ensure_ascii=False).encode()
