"""DuckDB as the monitor uses it: bounded in memory and threads, spilling to a folder, on no network."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from adgauge.errors import ConfigurationError

_PATTERN_SIGNS = "*?["


class Engine:
    """One database in memory that spills into a folder, `scratch`. For one thread.

    `memory_mb` bounds what DuckDB holds; arrays that are taken out of it come on top.
    """

    def __init__(self, scratch: Path, *, memory_mb: int, threads: int) -> None:
        self.scratch = scratch
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "threads": threads,
                "memory_limit": f"{memory_mb}MB",
                "temp_directory": str(scratch / "spill"),
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        self._connection.execute("SET TimeZone = 'UTC'")

    def run(self, statement: str, parameters: Sequence[Any] = ()) -> None:
        """One statement without an answer. Raises duckdb.Error."""
        self._connection.execute(statement, list(parameters))

    def rows(self, query: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small answer. Raises duckdb.Error."""
        return self._connection.execute(query, list(parameters)).fetchall()

    def one(self, query: str, parameters: Sequence[Any] = ()) -> tuple[Any, ...]:
        """The only row of an answer."""
        (row,) = self.rows(query, parameters)
        return row

    def arrays(self, query: str, parameters: Sequence[Any] = ()) -> dict[str, Any]:
        """The answer's columns by name, each a numpy array; masked where it holds NULL."""
        found: dict[str, Any] = self._connection.execute(query, list(parameters)).fetchnumpy()
        return found

    def register(self, protocol: str, filesystem: Any) -> None:
        """Have an fsspec filesystem read what its protocol names."""
        if protocol not in self._connection.list_filesystems():
            self._connection.register_filesystem(filesystem)

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()


@contextmanager
def open_engine(scratch: Path | None = None, *, memory_mb: int, threads: int) -> Iterator[Engine]:
    """An engine in a new folder under `scratch` (the system's for temporary files), removed at the end.

    Raises ConfigurationError where nothing can be written there.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="adgauge-monitor-", dir=scratch) as folder:
            engine = Engine(Path(folder), memory_mb=memory_mb, threads=threads)
            try:
                yield engine
            finally:
                engine.close()
    except (duckdb.IOException, duckdb.OutOfMemoryException) as exc:
        where = scratch or tempfile.gettempdir()
        raise ConfigurationError(
            f"the monitor ran out of room: {first_line(exc)}; give it more memory, or more disk at {where}"
        ) from exc


def literal(text: str) -> str:
    """A string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


def file_literal(path: str) -> str:
    """One file's name for a reader, in which no sign is a pattern's."""
    return literal("".join(f"[{sign}]" if sign in _PATTERN_SIGNS else sign for sign in path))


def first_line(error: Exception) -> str:
    """What a library says, without the hints that follow."""
    return str(error).strip().partition("\n")[0]
