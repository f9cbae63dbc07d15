"""References in records → bytes: which kinds there are, which are allowed, and files below roots."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from adgauge.canonical.data_url import data_url_bytes
from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.cached import CachedHttp
from adgauge.images.fetched import Body, Fetched, Trace, untold
from adgauge.images.guard import URL_CHARS
from adgauge.images.objects import ObjectStores
from adgauge.records import Unchanged, Validators

SCHEMES = frozenset({"https", "http", "file", "data", "s3", "gs"})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")


def scheme_of(reference: str) -> str:
    """The scheme of a reference; a bare path is a `file`, `//host/path` is https."""
    if reference.startswith("//"):
        return "https"
    named = _SCHEME.match(reference)
    return named[1].lower() if named else "file"


def host_of(reference: str) -> str | None:
    """The host or bucket whose share of connections a reference takes; None for what needs no network."""
    scheme = scheme_of(reference)
    if scheme not in ("http", "https", "s3", "gs"):
        return None
    try:
        host = urlsplit(reference).hostname
    except ValueError:
        return None
    return f"{scheme}://{host}" if host is not None and scheme in ("s3", "gs") else host


class Sources:
    """Gets the bytes of a reference where its scheme is allowed. Called from several threads at once."""

    def __init__(
        self,
        schemes: Collection[str],
        roots: Sequence[Path],
        http: CachedHttp,
        objects: ObjectStores | None,
        max_bytes: int,
    ) -> None:
        self._schemes = frozenset(schemes)
        self._roots = tuple(root.resolve() for root in roots)
        self._http = http
        self._objects = objects
        self._max_bytes = max_bytes

    def at_hand(self, reference: str, known: Validators | None) -> Fetched | None:
        """What is known without asking anybody, else None; raises ImageError for what was refused lately."""
        match scheme_of(reference):
            case "data" if known is not None and "data" in self._schemes:
                return Unchanged(known)  # the reference is the picture
            case ("http" | "https") as scheme if scheme in self._schemes:
                return self._http.at_hand(_url(reference), known)
            case _:
                return None

    def fetch(self, reference: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """See `fetched.Source`; at most `max_bytes` bytes."""
        scheme = scheme_of(reference)
        if scheme not in self._schemes:
            allowed = ", ".join(sorted(self._schemes))
            raise ImageError(ImageReason.SCHEME_NOT_ALLOWED, f"{scheme[:20]} is not among {allowed}")
        match scheme:
            case "data":
                return _body(data_url_bytes(reference, self._max_bytes), known)
            case "file":
                return _file(file_path(reference), self._roots, self._max_bytes, known)
            case "s3" | "gs" if self._objects is not None:
                return self._objects.fetch(reference, known, trace)
            case _:
                return self._http.ask(_url(reference), known, trace)

    def forget(self, reference: str) -> None:
        """Keep no body of it: it was no picture. Never raises."""
        if scheme_of(reference) in ("http", "https"):
            self._http.forget(_url(reference))

    def close(self) -> None:
        """Close connections and caches. Never raises."""
        self._http.close()
        if self._objects is not None:
            self._objects.close()


def sha256_prefix(data: bytes) -> str:
    """What `Validators.sha256` holds of a body."""
    return hashlib.sha256(data).hexdigest()[:32]


def _url(reference: str) -> str:
    return f"https:{reference}" if reference.startswith("//") else reference


def _body(data: bytes, known: Validators | None, etag: str = "") -> Fetched:
    validators = Validators(etag=etag, sha256=sha256_prefix(data))
    same = known is not None and known.sha256 == validators.sha256
    return Unchanged(validators) if same else Body(data, validators)


def _file(path: PurePosixPath, roots: Sequence[Path], max_bytes: int, known: Validators | None) -> Fetched:
    data, etag = read_below(path, roots, max_bytes, known.etag if known is not None else "")
    if data is None and known is not None:
        return Unchanged(known)
    return _body(data or b"", known, etag)


def file_path(reference: str) -> PurePosixPath:
    """The path in a `file:` URL or a bare path; raises ImageError for one that climbs or names a host."""
    text = reference
    if _SCHEME.match(reference):
        parts = urlsplit(reference)
        if parts.netloc not in ("", "localhost"):
            raise ImageError(ImageReason.BAD_REFERENCE, "a file: URL names no other host")
        text = unquote(parts.path)
    if not text or "\0" in text or len(text) > URL_CHARS:
        raise ImageError(ImageReason.BAD_REFERENCE, "not a file path")
    path = PurePosixPath(text)
    if ".." in path.parts:
        raise ImageError(ImageReason.OUTSIDE_ROOT, '".." is not allowed in a path')
    return path


def read_below(
    path: PurePosixPath, roots: Sequence[Path], max_bytes: int, known_etag: str = ""
) -> tuple[bytes | None, str]:
    """The bytes of a regular file that lies, symbolic links followed, below one of the resolved roots, and a
    tag of this version of it; no bytes when that is `known_etag`.
    """
    outside = not roots
    for root in roots:
        real = Path(os.path.realpath(root / path))
        if not real.is_relative_to(root):
            outside = True
        elif os.path.lexists(real):
            return _read_regular(real, max_bytes, known_etag)
    if outside:
        raise ImageError(ImageReason.OUTSIDE_ROOT, "the file is not below an allowed folder")
    raise ImageError(ImageReason.NOT_FOUND, "no such file")


def _read_regular(real: Path, max_bytes: int, known_etag: str) -> tuple[bytes | None, str]:
    """Opened without following a link put there meanwhile and without waiting for a pipe's writer."""
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise ImageError(ImageReason.UNREADABLE, "not a regular file")
            etag = f"{status.st_ino:x}-{status.st_mtime_ns:x}-{status.st_size:x}"
            if etag == known_etag:
                return None, etag
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise ImageError(ImageReason.UNREADABLE, f"{exc.strerror}") from exc
    if len(data) > max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"more than {max_bytes} bytes")
    return data, etag
