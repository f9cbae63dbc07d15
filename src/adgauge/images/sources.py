"""References in records → bytes: which kinds there are, which are allowed, and files below roots."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from adgauge.canonical.data_url import data_url_bytes
from adgauge.canonical.image import ImageError, ImageReason
from adgauge.images.guard import URL_CHARS
from adgauge.images.http import HttpSource

SCHEMES = frozenset({"https", "http", "file", "data"})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")


def scheme_of(reference: str) -> str:
    """The scheme of a reference; a bare path is a `file`, `//host/path` is https."""
    if reference.startswith("//"):
        return "https"
    named = _SCHEME.match(reference)
    return named[1].lower() if named else "file"


def host_of(reference: str) -> str | None:
    """The host whose share of connections a reference takes; None for what needs no network."""
    if scheme_of(reference) not in ("http", "https"):
        return None
    try:
        return urlsplit(reference).hostname
    except ValueError:
        return None


class Sources:
    """Gets the bytes of a reference where its scheme is allowed. Called from several threads at once."""

    def __init__(
        self, schemes: Collection[str], roots: Sequence[Path], http: HttpSource, max_bytes: int
    ) -> None:
        self._schemes = frozenset(schemes)
        self._roots = tuple(root.resolve() for root in roots)
        self._http = http
        self._max_bytes = max_bytes

    def fetch(self, reference: str) -> bytes:
        """At most `max_bytes` bytes; raises ImageError."""
        scheme = scheme_of(reference)
        if scheme not in self._schemes:
            allowed = ", ".join(sorted(self._schemes))
            raise ImageError(ImageReason.SCHEME_NOT_ALLOWED, f"{scheme[:20]} is not among {allowed}")
        match scheme:
            case "data":
                return data_url_bytes(reference, self._max_bytes)
            case "file":
                return read_below(file_path(reference), self._roots, self._max_bytes)
            case _:
                url = f"https:{reference}" if reference.startswith("//") else reference
                return self._http.fetch(url)


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


def read_below(path: PurePosixPath, roots: Sequence[Path], max_bytes: int) -> bytes:
    """The bytes of a regular file that lies, symbolic links followed, below one of the resolved roots."""
    outside = not roots
    for root in roots:
        real = Path(os.path.realpath(root / path))
        if not real.is_relative_to(root):
            outside = True
        elif os.path.lexists(real):
            return _read_regular(real, max_bytes)
    if outside:
        raise ImageError(ImageReason.OUTSIDE_ROOT, "the file is not below an allowed folder")
    raise ImageError(ImageReason.NOT_FOUND, "no such file")


def _read_regular(real: Path, max_bytes: int) -> bytes:
    """Opened without following a link put there meanwhile and without waiting for a pipe's writer."""
    try:
        handle = os.open(real, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise ImageError(ImageReason.UNREADABLE, "not a regular file")
            data = file.read(max_bytes + 1)
    except OSError as exc:
        raise ImageError(ImageReason.UNREADABLE, f"{exc.strerror}") from exc
    if len(data) > max_bytes:
        raise ImageError(ImageReason.TOO_LARGE, f"more than {max_bytes} bytes")
    return data
