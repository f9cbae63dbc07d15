"""Pictures in object stores, `s3://bucket/key` and `gs://bucket/key`, from the buckets that are allowed.

A store is reached at the operator's endpoint with the operator's credentials, both from the environment
(AWS_*, GOOGLE_*). A reference chooses neither, so addresses are not checked here as they are for URLs, and
a store inside a private network works. What a reference does choose is bucket and key: hence the list of
buckets, for a catalog that could name any bucket which our credentials open would read private data.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import threading
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal
from urllib.parse import unquote_to_bytes

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ConfigurationError
from adgauge.images.fetched import Body, Fetched, Trace, untold
from adgauge.records import Unchanged, Validators

if TYPE_CHECKING:  # an extra: serving does without it
    from obstore import ObjectMeta
    from obstore.store import GCSStore, S3Store

KEY_BYTES = 1024
"""The longest key that S3 and GCS know."""
_CHUNK = 1 << 20
_LOCATION = re.compile(r"(s3|gs)://([^/]*)(?:/(.*))?", re.IGNORECASE | re.DOTALL)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
_BROKEN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")

# The library tells what happened only in its text, after the words. Keys are escaped there and in one line.
_STATUS = re.compile(r'^ +inner: Status \{\n +status: (\d{3}),\n +body: (?:None|Some\(\n +"(.*)",$)', re.M)
_CODE = re.compile(r"<Code>(\w{1,64})</Code>")
_KIND = re.compile(r"^ +kind: (\w+),$", re.M)
_CAUSE = re.compile(r'^ +(?:message|error): "(.+)",$', re.M)
_CERTIFICATE = re.compile(r"\bInvalidCertificate\(\s+(\w+)")
_KINDS = {
    "Connect": ImageReason.CONNECTION,
    "Request": ImageReason.CONNECTION,
    "Interrupted": ImageReason.CONNECTION,
    "Timeout": ImageReason.TIMEOUT,
}
_THE_OBJECTS_OWN = frozenset({"AccessDenied", "AllAccessDisabled", "InvalidObjectState"})
"""Codes with which a store refuses one object. Any other refusal is about us: signature, token, region."""


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A key, decoded, in a bucket."""

    scheme: Literal["s3", "gs"]
    bucket: str
    key: str

    @property
    def bucket_url(self) -> str:
        """What an object shares with those that fail together with it: `s3://bucket`."""
        return f"{self.scheme}://{self.bucket}"


class ObjectStores:
    """Fetches `s3://` and `gs://`. Called from several threads at once; has one thread, which waits for all.

    `buckets` are URLs, `s3://product-pictures`, or with a folder, `gs://shop/public/`; nothing else is asked
    for. `timeout_s` bounds one attempt as a whole, credentials included: that is why the asynchronous calls
    are used, for the library bounds each of its requests by itself and fetches credentials one at a time.
    """

    def __init__(self, buckets: Collection[str], max_bytes: int, timeout_s: float) -> None:
        """Raises ConfigurationError for an entry, an environment or an installation that cannot work."""
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._folders: dict[str, tuple[str, ...]] = {}
        self._stores: dict[str, S3Store | GCSStore] = {}
        for entry in buckets:
            name = _allowed(entry)
            self._folders[name.bucket_url] = (*self._folders.get(name.bucket_url, ()), name.key)
            if name.bucket_url not in self._stores:
                self._stores[name.bucket_url] = _store(name)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="objects", daemon=True)
        self._thread.start()

    def fetch(self, reference: str, known: Validators | None = None, trace: Trace = untold) -> Fetched:
        """The object's bytes, or that they are those of `known`; raises ImageError."""
        name = object_of(reference)
        self._check_allowed(name)
        unless = f", unless its etag is {known.etag}" if known and known.etag else ""
        trace("ask", f"{name.bucket_url} for {name.key!r}{unless}")
        fetched = self._fetch(name, known)
        what = f"{len(fetched.data)} bytes" if isinstance(fetched, Body) else "unchanged"
        trace("answer", f"{what}, etag {fetched.validators.etag}")
        return fetched

    def close(self) -> None:
        """After the last fetch. Never raises."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def _check_allowed(self, name: ObjectName) -> None:
        folders = self._folders.get(name.bucket_url, ())
        if not any(name.key.startswith(folder) for folder in folders):
            where = "no allowed folder of" if folders else "no allowed bucket:"
            raise ImageError(ImageReason.OUTSIDE_ROOT, f"in {where} {name.bucket_url}")

    def _fetch(self, name: ObjectName, known: Validators | None) -> Fetched:
        from obstore.exceptions import NotModifiedError

        known = known or Validators()
        asking = self._ask(name, known.etag, self._loop.time() + self._timeout_s)
        try:
            data, meta = asyncio.run_coroutine_threadsafe(asking, self._loop).result()
        except ImageError:
            raise
        except NotModifiedError:
            return Unchanged(known)
        except TimeoutError as exc:
            detail = f"{name.bucket_url}: not done within {self._timeout_s:g} s"
            raise ImageError(ImageReason.TIMEOUT, detail) from exc
        except Exception as exc:  # a panic in the library's Rust has no class that could be named
            raise _image_error(name, exc) from exc
        validators = _validators(data, meta)
        return Unchanged(validators) if known.sha256 == validators.sha256 else Body(data, validators)

    async def _ask(self, name: ObjectName, etag: str, deadline: float) -> tuple[bytes, ObjectMeta]:
        from obstore import get_async

        async with asyncio.timeout_at(deadline):
            store = self._stores[name.bucket_url]
            result = await get_async(store, name.key, options={"if_none_match": etag} if etag else None)
            self._check_size(result.meta["size"])
            body = bytearray()
            async for chunk in result.stream(min_chunk_size=_CHUNK):
                body += chunk
                self._check_size(len(body))
        return bytes(body), result.meta

    def _check_size(self, size: int) -> None:
        if size > self._max_bytes:
            raise ImageError(ImageReason.TOO_LARGE, f"{size} bytes; at most {self._max_bytes}")


def object_of(reference: str) -> ObjectName:
    """The object that a reference names; raises ImageError with BAD_REFERENCE.

    The key is percent-decoded once. It has neither query nor fragment, no empty, `.` or `..` segment and no
    control character.
    """
    name = _name_of(reference)
    _check_parts(name.key)
    return name


def bucket_of(reference: str) -> str | None:
    """`s3://bucket`, in lieu of a host; None for what names no object."""
    try:
        return object_of(reference).bucket_url
    except ImageError:
        return None


def _name_of(location: str) -> ObjectName:
    parts = _LOCATION.fullmatch(location)
    if parts is None or not _BUCKET.fullmatch(parts[2]):
        raise _bad("write s3://bucket/key or gs://bucket/key")
    scheme: Literal["s3", "gs"] = "s3" if parts[1].lower() == "s3" else "gs"
    return ObjectName(scheme, parts[2], _decoded(parts[3] or ""))


def _check_parts(key: str) -> None:
    if not {"", ".", ".."}.isdisjoint(key.split("/")):
        raise _bad("a key is not empty and has no empty, . or .. part")


def _decoded(written: str) -> str:
    if "?" in written or "#" in written or _BROKEN_ESCAPE.search(written):
        raise _bad("in a key ? is written %3F, # %23 and % %25")
    try:
        encoded = unquote_to_bytes(written)
        key = encoded.decode()
    except UnicodeError as exc:
        raise _bad("a key is UTF-8") from exc
    if len(encoded) > KEY_BYTES:
        raise _bad(f"a key of {len(encoded)} bytes; at most {KEY_BYTES}")
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise _bad("control characters in a key")
    return key


def _bad(detail: str) -> ImageError:
    return ImageError(ImageReason.BAD_REFERENCE, detail)


def _allowed(entry: str) -> ObjectName:
    """A bucket and a folder in it, "" or with a slash at its end."""
    try:
        name = _name_of(entry)
        if not name.key:
            return name
        folder = name.key.removesuffix("/")
        _check_parts(folder)
        return replace(name, key=f"{folder}/")
    except ImageError as exc:
        raise ConfigurationError(f"{entry!r} is no bucket for pictures: {exc.detail}") from exc


def _store(name: ObjectName) -> S3Store | GCSStore:
    """Set up from the environment alone. Attempts are counted elsewhere, so the library makes one."""
    try:
        from obstore.exceptions import BaseError
        from obstore.store import GCSStore, S3Store
    except ImportError as exc:
        raise ConfigurationError(f"for {name.bucket_url}: pip install adgauge[objectstore]") from exc
    kind = S3Store if name.scheme == "s3" else GCSStore
    try:
        return kind(name.bucket, retry_config={"max_retries": 0})
    except (BaseError, ValueError) as exc:
        raise ConfigurationError(f"{name.bucket_url}: {_first_line(exc)}") from exc


def _validators(data: bytes, meta: ObjectMeta) -> Validators:
    return Validators(
        etag=meta["e_tag"] or "",
        last_modified=_http_date(meta["last_modified"]),
        sha256=hashlib.sha256(data).hexdigest()[:32],
    )


def _http_date(moment: datetime) -> str:
    return format_datetime(moment, usegmt=True)


def _image_error(name: ObjectName, exc: Exception) -> ImageError:
    """What the library raised, as a reason. What is not surely about this object passes: it must not be
    written down for a whole catalog that a token had expired.
    """
    from obstore.exceptions import PermissionDeniedError

    if type(exc) is ValueError:
        return _bad(f"the store's library: {_first_line(exc)}")
    answered = _STATUS.search(str(exc))
    if answered is None:
        return _unanswered(name, exc)
    found = _CODE.search(answered[2] or "")
    code = found[1] if found else ""
    said = f"{name.bucket_url}: HTTP {answered[1]} {code or 'in no words of a store'}"
    if isinstance(exc, FileNotFoundError) and code == "NoSuchKey":
        return ImageError(ImageReason.NOT_FOUND, said)
    if isinstance(exc, PermissionDeniedError) and code in _THE_OBJECTS_OWN:
        return ImageError(ImageReason.HTTP_ERROR, f"the store refuses: {said}")
    return ImageError(ImageReason.STORE_ERROR, said)


def _unanswered(name: ObjectName, exc: Exception) -> ImageError:
    text = str(exc)
    if certificate := _CERTIFICATE.search(text):
        return ImageError(ImageReason.TLS, f"{name.bucket_url}: the endpoint's certificate: {certificate[1]}")
    kind, cause = _KIND.search(text), _CAUSE.search(text)
    reason = _KINDS.get(kind[1] if kind else "", ImageReason.STORE_ERROR)
    return ImageError(reason, f"{name.bucket_url}: {cause[1][:200] if cause else _first_line(exc)}")


def _first_line(exc: Exception) -> str:
    """Without the request that it was about."""
    return str(exc).partition("\n")[0].rpartition(" - ")[2][:200]
