"""Scores of a file as rows: JSON lines, CSV, Parquet, or text for people."""

from __future__ import annotations

import csv
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TextIO

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
    with replacing(path) as temporary, _FORMATS[path.suffix](temporary) as write:
        yield write


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place at the end, or vanishes on an error."""
    try:
        handle = tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False)  # noqa: SIM115
        handle.close()
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror}") from exc
    temporary = Path(handle.name)
    try:
        yield temporary
        temporary.chmod(0o644)  # temporary files are private
        temporary.replace(path)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {path}: {exc.strerror or exc}") from exc
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _json_lines(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as stream:
        yield json_writer(stream)


@contextmanager
def _csv(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(field.name for field in fields(Row))

        def write(rows: Sequence[Row]) -> None:
            for row in rows:
                table.writerow((asdict(row) | {"flags": "|".join(row.flags)}).values())

        yield write


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
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
    with ParquetWriter(path, schema) as table:
        yield lambda rows: table.write_table(pa.Table.from_pylist([asdict(row) for row in rows], schema))


_FORMATS: Mapping[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".parquet": _parquet,
}
