"""Scores of a file as rows: JSON lines, CSV, Parquet, or text for people."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from adgauge.errors import ConfigurationError

Write = Callable[[Sequence["Row"]], None]


@dataclass(frozen=True, slots=True)
class Row:
    """One scored line; `image_reason` says why it was scored without a picture."""

    line: int
    parent_asin: str
    score: float
    flags: tuple[str, ...]
    image_reason: str | None
    digest: str


def json_writer(stream: TextIO) -> Write:
    """One JSON object a row."""

    def write(rows: Sequence[Row]) -> None:
        stream.writelines(f"{json.dumps(asdict(row), ensure_ascii=False)}\n" for row in rows)

    return write


def text_writer(stream: TextIO) -> Write:
    """Score, id and what is unusual, one row a line."""

    def write(rows: Sequence[Row]) -> None:
        for row in rows:
            notes = [*row.flags, *([row.image_reason] if row.image_reason else [])]
            stream.write(f"{row.score:.4f}  {row.parent_asin}  {' '.join(notes)}".rstrip() + "\n")

    return write


@contextmanager
def row_file(path: Path) -> Iterator[Write]:
    """Write rows to `path`, in the format of its ending; it appears complete or not at all.

    Raises ConfigurationError for another ending or a path that cannot be written.
    """
    if path.suffix not in _FORMATS:
        raise ConfigurationError(f"cannot write {path}: its name must end in {', '.join(_FORMATS)}")
    with replacing(path) as temporary:
        with writing(path):
            write, close = _FORMATS[path.suffix](temporary)
        with _closing(path, close):
            yield partial(_write, path, write)


@contextmanager
def line_file(path: Path) -> Iterator[Callable[[str], None]]:
    """Write lines of text to `path`, in the same way."""
    with replacing(path) as temporary:
        with writing(path):
            stream = temporary.open("w", encoding="utf-8")
        with _closing(path, stream.close):
            yield partial(_write, path, stream.write)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, or vanishes on an error.

    Of a link it is the target's place. Raises ConfigurationError for what can be no file's: a rename over a
    device would be the end of the device.
    """
    place = _place(path)
    with writing(path):
        handle, name = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with writing(path):
            temporary.chmod(0o644)  # temporary files are private
            temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)


def _place(path: Path) -> Path:
    if str(path) == "-":
        raise ConfigurationError("cannot write to -: give the name of a file, or leave the option out")
    with writing(path):
        place = path.resolve()
        if place.exists() and not place.is_file():
            raise ConfigurationError(f"cannot write {path}: it is no regular file")
    return place


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise ConfigurationError, which names the path, for an OSError of writing to it."""
    try:
        yield
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror or exc}") from exc


@contextmanager
def _closing(path: Path, close: Callable[[], object]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(OSError):
            close()
        raise
    with writing(path):
        close()


def _write(path: Path, write: Callable[[Any], object], what: object) -> None:
    with writing(path):
        write(what)


def _json_lines(path: Path) -> tuple[Write, Callable[[], None]]:
    stream = path.open("w", encoding="utf-8")
    return json_writer(stream), stream.close


def _csv(path: Path) -> tuple[Write, Callable[[], None]]:
    stream = path.open("w", encoding="utf-8", newline="")
    table = csv.writer(stream)
    table.writerow(field.name for field in fields(Row))

    def write(rows: Sequence[Row]) -> None:
        table.writerows((asdict(row) | {"flags": "|".join(row.flags)}).values() for row in rows)

    return write, stream.close


def _parquet(path: Path) -> tuple[Write, Callable[[], None]]:
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter
    except ImportError as exc:
        raise ConfigurationError("Parquet needs pyarrow: pip install 'adgauge[embedded]'") from exc
    schema = pa.schema(
        [
            ("line", pa.int64()),
            ("parent_asin", pa.string()),
            ("score", pa.float64()),
            ("flags", pa.list_(pa.string())),
            ("image_reason", pa.string()),
            ("digest", pa.string()),
        ]
    )
    table = ParquetWriter(path, schema)

    def write(rows: Sequence[Row]) -> None:
        table.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema))

    return write, table.close


_FORMATS: Mapping[str, Callable[[Path], tuple[Write, Callable[[], None]]]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
