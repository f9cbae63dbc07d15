"""Pictures on disk, bounded in bytes, so that a host need not send again what has not changed.

One SQLite file: a crash leaves no half entry, several processes may share it, and a page that held an
evicted picture holds the next one, so that the file stays as large as it was allowed to become.
"""

from __future__ import annotations

import hashlib
import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from threading import Lock
from typing import TypeVar

from adgauge.errors import ConfigurationError
from adgauge.records import Validators

log = logging.getLogger(__name__)
T = TypeVar("T")

_FILE = "pictures-1.sqlite3"  # the number changes with the schema: an old file is not read
_BUSY_S = 0.5
_REST_MS = 5_000
_LOG_BYTES = 4 << 20
_USED_RESOLUTION_MS = 60_000  # a read writes nothing where the picture was used a moment ago
_LARGEST_SHARE = 8
_OVERSIZE = 1.25
_BEGIN_ANEW = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA = """
CREATE TABLE IF NOT EXISTS entry (
    id INTEGER PRIMARY KEY, url BLOB NOT NULL UNIQUE, used_ms INTEGER NOT NULL,
    etag TEXT NOT NULL, last_modified TEXT NOT NULL, sha256 TEXT NOT NULL,
    fresh_until_ms INTEGER NOT NULL, location TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS entry_used ON entry (used_ms);
CREATE TABLE IF NOT EXISTS body (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
"""
_COLUMNS = "etag, last_modified, sha256, fresh_until_ms, location"


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture's bytes as they came, and how to ask whether they changed."""

    data: bytes
    validators: Validators


class HttpCache:
    """Bodies by URL, below `folder`; the ones used longest ago, to a minute, make room for new ones.

    Called from several threads at once, and by several processes on one folder. Once constructed it never
    raises: what cannot be read is absent and what cannot be written is not kept. `max_bytes` is what all
    takes on disk, without SQLite's log of up to 4 MiB; a body may take an eighth.
    """

    def __init__(self, folder: Path, max_bytes: int, clock_ms: Callable[[], int]) -> None:
        self._path = folder / _FILE
        self._max_bytes = max_bytes
        self._clock_ms = clock_ms
        self._lock = Lock()
        self._told = False
        self._rests_until_ms = 0
        self._closed = False
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > max_bytes * _OVERSIZE:
                self._remove_files()  # the limit was lowered; a file gives nothing back by itself
        except OSError as exc:
            raise ConfigurationError(f"picture cache in {folder}: {exc.strerror or exc}") from exc

    def validators(self, url: str) -> Validators | None:
        """What was known when the body was stored or last confirmed."""
        return self._try(lambda db: _validators(db, url_key(url)), None)

    def get(self, url: str) -> Entry | None:
        """The body with its validators; a body that was damaged on disk is absent."""
        found = self._try(lambda db: self._read(db, url_key(url)), None)
        if found is None or hashlib.sha256(found.data).hexdigest().startswith(found.validators.sha256):
            return found
        self.remove(url)
        return None

    def put(self, url: str, data: bytes, validators: Validators) -> None:
        """Store a body in place of the URL's earlier one, unless it is too large."""
        if len(data) * _LARGEST_SHARE > self._max_bytes or not validators.sha256:
            self.remove(url)
            return
        self._try(lambda db: self._write(db, url_key(url), data, validators), None)

    def refresh(self, url: str, validators: Validators) -> None:
        """Note that the body was confirmed; nothing where there is none or it is another."""
        values = (*astuple(validators), self._clock_ms(), url_key(url), validators.sha256)
        self._try(
            lambda db: db.execute(
                f"UPDATE entry SET ({_COLUMNS}, used_ms) = (?, ?, ?, ?, ?, ?) WHERE url = ? AND sha256 = ?",  # noqa: S608 (constant)
                values,
            ),
            None,
        )

    def remove(self, url: str) -> None:
        """Forget a body."""
        self._try(lambda db: _delete(db, url_key(url)), None)

    def close(self) -> None:
        """Never raises."""
        with self._lock:
            self._closed = True
            self._close()

    def _read(self, db: sqlite3.Connection, key: bytes) -> Entry | None:
        row = db.execute(
            f"SELECT CAST(data AS BLOB), used_ms, {_COLUMNS} FROM entry JOIN body USING (id) WHERE url = ?",  # noqa: S608 (constant)
            (key,),
        ).fetchone()
        if row is None:
            return None
        now = self._clock_ms()
        if now - row[1] > _USED_RESOLUTION_MS:
            db.execute("UPDATE entry SET used_ms = ? WHERE url = ?", (now, key))
        return Entry(row[0], Validators(*row[2:]))

    def _write(self, db: sqlite3.Connection, key: bytes, data: bytes, validators: Validators) -> None:
        with _transaction(db):
            _delete(db, key)
            self._make_room(db, len(data))
            made = db.execute(
                f"INSERT INTO entry (url, used_ms, {_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 (constant)
                (key, self._clock_ms(), *astuple(validators)),
            )
            db.execute("INSERT INTO body VALUES (?, ?)", (made.lastrowid, data))

    def _make_room(self, db: sqlite3.Connection, size: int) -> None:
        while _used_bytes(db) + size > self._max_bytes:
            oldest = db.execute("SELECT url FROM entry ORDER BY used_ms LIMIT 1").fetchone()
            if oldest is None:
                return
            _delete(db, oldest[0])

    def _try(self, call: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        with self._lock:
            if self._closed or self._clock_ms() < self._rests_until_ms:
                return otherwise
            try:
                return call(self._opened())
            except (sqlite3.Error, OSError, OverflowError, UnicodeError) as exc:
                self._recover(exc)
                return otherwise

    def _recover(self, exc: Exception) -> None:
        if not self._told:
            self._told = True
            log.warning("picture cache %s: %s; going on without what it cannot hold", self._path, exc)
        self._close()
        if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _BEGIN_ANEW:
            try:
                self._remove_files()
            except OSError:
                return  # tried again with the next call
        else:  # threads that each wait for a lock or a dying disk would hold up everything
            self._rests_until_ms = self._clock_ms() + _REST_MS

    def _opened(self) -> sqlite3.Connection:
        if self._db is not None and self._file != self._on_disk():
            self._close()  # another process began anew, and SQLite goes on with the file that is gone
        if self._db is None:
            # Autocommit: transactions are where they are written.
            db = sqlite3.connect(self._path, _BUSY_S, isolation_level=None, check_same_thread=False)
            self._db = db
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
            db.executescript(_SCHEMA)
            self._file = self._on_disk()
        return self._db

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            try:
                db.close()
            except sqlite3.Error:
                return

    def _remove_files(self) -> None:
        for end in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + end).unlink(missing_ok=True)


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk has rolled back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def url_key(url: str) -> bytes:
    """What stands for a URL, however long it is."""
    return hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()


def _validators(db: sqlite3.Connection, key: bytes) -> Validators | None:
    row = db.execute(f"SELECT {_COLUMNS} FROM entry WHERE url = ?", (key,)).fetchone()  # noqa: S608 (constant)
    return None if row is None else Validators(*row)


def _delete(db: sqlite3.Connection, key: bytes) -> None:
    db.execute("DELETE FROM body WHERE id = (SELECT id FROM entry WHERE url = ?)", (key,))
    db.execute("DELETE FROM entry WHERE url = ?", (key,))


def _used_bytes(db: sqlite3.Connection) -> int:
    """What the file needs, without the pages that are free to be used again."""
    with closing(db.cursor()) as cursor:
        pages, free, size = (
            int(cursor.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
    return (pages - free) * size
