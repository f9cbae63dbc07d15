"""What earlier runs found, in one small SQLite file: for trends, and for the gauges after a failed run.

One row a run: its headline figures, and the whole document of the newest run only. SQLite and not lines of
JSON, because runs may overlap (a schedule and a hand), die half-way, and must be forgotten in time: a
transaction adds one and drops the oldest, or does nothing. The rollback journal is kept, for the log that
other journal modes need cannot lie on a network's file system, and a CronJob's volume often does.
"""

from __future__ import annotations

import fcntl
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from adgauge.errors import ConfigurationError
from adgauge.monitor.result import Count, Figure, Finite, Ms, Result, Slice, SliceFigures, Status

log = logging.getLogger(__name__)
T = TypeVar("T")

KEEP = 500
"""Runs; of a hundred slices each they take about 35 MB."""
_APPLICATION = 0x61674D48  # "agMH": says that the file is ours
_SCHEMA_VERSION = 1
_BUSY_S = 30.0
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_MAGIC = b"SQLite format 3\0"
_SCHEMA = """CREATE TABLE IF NOT EXISTS run (
    run_at_ms INTEGER NOT NULL, generation INTEGER NOT NULL, headline TEXT NOT NULL, document TEXT,
    PRIMARY KEY (run_at_ms, generation))"""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later version may have written more


class PastSlice(_Frozen):
    """The headline figures of one slice in one run; `coverage` is the share of its labels compared."""

    slice: Slice
    judged: bool
    n: Count
    plcc: Figure
    srcc: Figure
    mae: Figure
    bias: Figure
    ces_printed: Figure
    ces_leaderboard: Figure
    coverage: Finite | None


class PastRun(_Frozen):
    """The headline figures of one run."""

    run_at_ms: Ms
    generation: Count
    model: str | None
    status: Status
    headline: str
    overall: PastSlice
    slices: tuple[PastSlice, ...] = ()

    def of(self, wanted: Slice) -> PastSlice | None:
        """The figures of one slice, where it occurred in that run."""
        return next((each for each in (self.overall, *self.slices) if each.slice == wanted), None)


def past_run(result: Result) -> PastRun:
    """What is kept of a run."""
    return PastRun(
        run_at_ms=result.run_at_ms,
        generation=result.model.generation,
        model=result.model.name,
        status=result.verdict.status,
        headline=result.verdict.headline,
        overall=_past_slice(result.overall),
        slices=tuple(_past_slice(each) for each in result.slices),
    )


class History:
    """The runs in the file at `path`, the newest `keep` of them. Any number of processes may share it.

    A file that was damaged (a disk, a copy cut short) is renamed, a warning says to what, and a new one is
    begun: no run is refused for what became of earlier ones. What is no history of ours is never touched:
    that, and a file that cannot be read or written, raises ConfigurationError.
    """

    def __init__(self, path: Path, keep: int = KEEP) -> None:
        if keep < 1:
            raise ConfigurationError(f"the history is to keep {keep} runs; it must keep at least 1")
        self._path = path
        self._keep = keep

    def add(self, result: Result) -> None:
        """Keep a run, in place of one of the same moment and generation, and drop what is too old."""
        self._do(lambda db: self._add(db, result))

    def runs(self, newest: int | None = None) -> tuple[PastRun, ...]:
        """The newest runs, or all, in the order of time; one that cannot be read is left out."""
        if not self._path.exists():
            return ()
        most = self._keep if newest is None else newest
        rows = self._do(lambda db: db.execute(f"SELECT headline FROM run {_NEWEST}", (most,)).fetchall())
        runs = [self._run(line) for (line,) in reversed(rows)]
        return tuple(run for run in runs if run is not None)

    def last_good(self) -> Result | None:
        """The whole document of the newest run: what stays true when a later one fails."""
        if not self._path.exists():
            return None
        found = self._do(lambda db: db.execute(f"SELECT document FROM run {_NEWEST}", (1,)).fetchone())
        if found is None or found[0] is None:
            return None
        try:
            return Result.model_validate_json(found[0])
        except ValidationError:
            log.warning("%s: the newest run was written by another version of adgauge", self._path)
            return None

    def _add(self, db: sqlite3.Connection, result: Result) -> None:
        row = (result.run_at_ms, result.model.generation, past_run(result).model_dump_json())
        with _transaction(db):
            db.execute("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?)", (*row, result.to_json()))
            db.execute(f"DELETE FROM run WHERE rowid NOT IN (SELECT rowid FROM run {_NEWEST})", (self._keep,))
            db.execute(
                "UPDATE run SET document = NULL WHERE document NOT NULL AND rowid NOT IN"
                f" (SELECT rowid FROM run {_NEWEST})",
                (1,),
            )

    def _run(self, line: str) -> PastRun | None:
        try:
            return PastRun.model_validate_json(line)
        except ValidationError:
            log.warning("%s holds a run that this version of adgauge cannot read", self._path)
            return None

    def _do(self, call: Callable[[sqlite3.Connection], T]) -> T:
        try:
            try:
                return self._once(call)
            except sqlite3.DatabaseError as exc:
                if not _is_damage(exc):
                    raise
                self._set_aside(exc)
                return self._once(call)
        except (sqlite3.Error, OSError, OverflowError) as exc:
            raise ConfigurationError(f"history in {self._path}: {exc}") from exc

    def _once(self, call: Callable[[sqlite3.Connection], T]) -> T:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self._path, _BUSY_S, isolation_level=None)) as db:
            self._require_ours(db)
            return call(db)

    def _require_ours(self, db: sqlite3.Connection) -> None:
        if not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            with _transaction(db):
                db.execute(f"PRAGMA application_id = {_APPLICATION}")
                db.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                db.execute(_SCHEMA)
        application, version = (
            db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != _APPLICATION:
            raise ConfigurationError(f"{self._path} is a database of something else; name another file")
        if version != _SCHEMA_VERSION:
            raise ConfigurationError(
                f"{self._path} was written by another version of adgauge (format {version}, not"
                f" {_SCHEMA_VERSION}); move it away, or name another file"
            )

    def _set_aside(self, exc: sqlite3.DatabaseError) -> None:
        """Rename a damaged file, unless another process has just done so."""
        with self._path.open("rb") as file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ConfigurationError(
                    f"{self._path} is no history of the monitor; move it away, or name another file"
                ) from exc
        with _locked(self._path.with_name(f"{self._path.name}.lock")):
            if not self._is_damaged():
                return
            aside = _free_name(self._path)
            self._path.rename(aside)
        log.warning("%s is damaged (%s); it is now %s, and a new one begins", self._path, exc, aside)

    def _is_damaged(self) -> bool:
        try:
            with closing(sqlite3.connect(self._path, _BUSY_S)) as db:
                return bool(db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        except sqlite3.DatabaseError as exc:
            return _is_damage(exc)


_NEWEST = "ORDER BY run_at_ms DESC, generation DESC LIMIT ?"


def _past_slice(each: SliceFigures) -> PastSlice:
    names = ("plcc", "srcc", "mae", "bias", "ces_printed", "ces_leaderboard")
    return PastSlice(
        slice=each.slice,
        judged=each.judged,
        n=each.figures.n,
        coverage=each.coverage.share,
        **{name: getattr(each.figures, name) for name in names},
    )


def _is_damage(exc: sqlite3.DatabaseError) -> bool:
    return getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def _free_name(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return aside


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
