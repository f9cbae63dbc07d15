"""A catalog file as a source of records: one JSON object a line, plain or gzip (`.gz`), or standard input."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from adgauge.errors import ConfigurationError, RecordRejected
from adgauge.pipeline.ports import PartitionListener
from adgauge.product import parse_id
from adgauge.records import Envelope, Order, Partition, Position, Rejection, Score, Tombstone

STANDARD_INPUT = "-"
UTF8_MARK = b"\xef\xbb\xbf"
POLL_RECORDS = 64
IDLE_S = 0.01
UNREADABLE_HEADER = "unreadable"

NO_PRODUCT = b""
"""The key of a line that names no product: a compacted topic takes no record without a key."""


def key_and_value(line: bytes) -> tuple[bytes, bytes | None]:
    """How a line stands in the log: key = its `parent_asin`, value = the line as it is.

    A line with `"_deleted": true` is a tombstone, value None. A line that is no JSON object, or names no
    valid product, has the key NO_PRODUCT: the pipeline says what is wrong with it.
    """
    try:
        product = json.loads(line)
        product_id = parse_id(product["parent_asin"]).encode()
    except (ValueError, KeyError, TypeError, RecursionError, RecordRejected):
        return NO_PRODUCT, line
    return product_id, None if product.get("_deleted") is True else line


class CatalogFile:
    """Numbered lines of a catalog; blank ones are counted and left out.

    A line over `max_line_bytes` is cut to one byte more, so that it is recognised as too large without
    being held in memory. Raises ConfigurationError when the file cannot be read.
    """

    def __init__(self, path: str, standard_input: BinaryIO, max_line_bytes: int) -> None:
        self.path = path
        self.blank = 0
        self.line = 0
        self._limit = max_line_bytes + 1
        self._stack = ExitStack()
        self._file = _opened(path, standard_input, self._stack)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        while line := self._next_line():
            if line.strip():
                yield self.line, line.rstrip(b"\r\n")
            else:
                self.blank += 1

    def pieces(self) -> Iterator[bytes]:
        """The next line with its end, in pieces of a little more than `max_line_bytes`; none at the end of
        the file. All must be taken before the next line is.
        """
        mark = UTF8_MARK if self.line == 0 else b""
        size = self._limit + len(mark)
        piece = self._read(size)
        if not (first := piece.removeprefix(mark)):
            return
        yield first
        while len(piece) == size and not piece.endswith(b"\n"):
            piece = self._read(size)
            yield piece
        self.line += 1

    def _read(self, size: int) -> bytes:
        try:
            return self._file.readline(size)
        except (OSError, EOFError, zlib.error) as exc:
            raise ConfigurationError(
                f"cannot read {self.path} after line {self.line}: {exc}; is the file complete?"
            ) from exc

    def _next_line(self) -> bytes:
        """At most `_limit` bytes of it, with its end where that is within; empty at the end of the file."""
        pieces = self.pieces()
        line = next(pieces, b"")
        for _ in pieces:
            pass
        return line[: self._limit]


def _opened(path: str, standard_input: BinaryIO, stack: ExitStack) -> BinaryIO | gzip.GzipFile:
    try:
        if path == STANDARD_INPUT:
            return standard_input
        if path.endswith(".gz"):
            return stack.enter_context(gzip.open(path))
        return stack.enter_context(Path(path).open("rb"))
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What stands in a catalog where a product should, and why it is none."""

    data: bytes
    detail: str


class Catalog(AbstractContextManager["Catalog"], Protocol):
    """A catalog in a file: iterating gives each record with the number of the line that it begins in,
    ascending, as JSON, or what could not be read. `blank` counts the lines that were left out.
    """

    path: str
    blank: int

    def __iter__(self) -> Iterator[tuple[int, bytes | Unreadable]]:
        """Raises ConfigurationError when the file cannot be read any further."""
        ...


class FileSource:
    """A `Source` over a catalog file: one partition, offset = line number, event time = `now_ms`.

    A later line of a product is newer than an earlier one. `on_commit(next_line)` is called when every
    record before `next_line` has ended. Why a record is unreadable stands in its header UNREADABLE_HEADER.
    """

    def __init__(self, catalog: Catalog, now_ms: int, on_commit: Callable[[int], None]) -> None:
        self.partition = Partition(catalog.path, 0)
        self.exhausted = False
        self.read = 0
        self._lines = iter(catalog)
        self._now_ms = now_ms
        self._on_commit = on_commit
        self._paused = False

    def subscribe(self, listener: PartitionListener) -> None:
        """The file's one partition is ours from the start."""
        listener.assigned([self.partition])

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """The next lines; nothing, after a moment, while paused or at the end."""
        if self._paused or self.exhausted:
            time.sleep(min(timeout_s, IDLE_S))
            return []
        records = [self._envelope(number, line) for number, line in islice(self._lines, POLL_RECORDS)]
        self.read += len(records)
        self.exhausted = len(records) < POLL_RECORDS
        return records

    def pause(self) -> None:
        """Deliver nothing until `resume`."""
        self._paused = True

    def resume(self) -> None:
        """Deliver again."""
        self._paused = False

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """Tell `on_commit` up to which line everything is decided."""
        if self.partition in next_offsets:
            self._on_commit(next_offsets[self.partition])

    def lag(self, undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """Unknown: nobody has counted the lines."""
        return {}

    def close(self) -> None:
        """The catalog belongs to the caller."""

    def _envelope(self, number: int, line: bytes | Unreadable) -> Envelope[bytes | None]:
        key, value, headers = _as_record(line)
        return Envelope(
            payload=value,
            position=Position(self.partition, number),
            order=Order(self._now_ms, number),
            key=key,
            value=value,
            headers=headers,
            flags=frozenset(),
        )


def _as_record(
    line: bytes | Unreadable,
) -> tuple[bytes, bytes | None, tuple[tuple[str, bytes], ...]]:
    """Key, value and headers."""
    if isinstance(line, Unreadable):
        return NO_PRODUCT, line.data, ((UNREADABLE_HEADER, line.detail.encode()),)
    return *key_and_value(line), ()


class LineStore:
    """A `ScoreStore` in which every line keeps its own score: a file has no readers to protect."""

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        return [True] * len(entries)

    def close(self) -> None:
        """See `ports.ScoreStore`."""


class Nowhere:
    """A `ScoreLog` and `DeadLetters` that keep nothing: what a file's lines came to is written elsewhere."""

    def append(self, entries: Sequence[Score | Tombstone]) -> None:
        """See `ports.ScoreLog`."""

    def put(self, rejected: Sequence[tuple[Envelope[bytes | None], Rejection]]) -> None:
        """See `ports.DeadLetters`."""

    def close(self) -> None:
        """See both."""
