"""What the headers of an answer say about its later use (RFC 9110, 8.8 and 10.2.3; RFC 9111, 4.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache

from adgauge.records import Validators

Headers = Mapping[str, str]
"""By lower-case names."""

DAY_S = 86_400
_RETRY_AFTER_S = 3600.0
_VALIDATOR = re.compile(r"[\x21-\x7e]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,18}", re.ASCII)
_DIRECTIVE = re.compile(r'([a-z][a-z0-9-]{0,40})[ \t]*(?:=[ \t]*("[^"]*"|[^\s,;"]*))?')
_DATE = re.compile(
    r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), ([0-9]{2}) ([A-Z][a-z]{2}) ([0-9]{4})"
    r" ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"


def validators_of(headers: Headers, sha256: str, fresh_until_ms: int, location: str) -> Validators:
    """Validators of a body; an entity tag or date that nobody would send is as if it were absent."""
    etag = headers.get("etag", "")
    modified = headers.get("last-modified", "")
    return Validators(
        etag=etag if _VALIDATOR.fullmatch(etag) else "",
        last_modified=modified if http_date(modified) is not None else "",
        sha256=sha256,
        fresh_until_ms=fresh_until_ms,
        location=location,
    )


def conditions(known: Validators) -> list[tuple[str, str]]:
    """Headers that ask for a body only where it is no longer the known one."""
    asked = []
    if _VALIDATOR.fullmatch(known.etag):
        asked.append(("If-None-Match", known.etag))
    if http_date(known.last_modified) is not None:
        asked.append(("If-Modified-Since", known.last_modified))
    return asked


def fresh_until_ms(headers: Headers, asked_ms: int) -> int:
    """Until when nobody need ask again, for a private cache and without guessing; 0: always ask.

    `asked_ms` is when the answer was asked for: it may have been made right then.
    """
    directives = cache_directives(headers.get("cache-control", ""))
    if "no-store" in directives or "no-cache" in directives or "*" in headers.get("vary", ""):
        return 0
    lifetime = _lifetime_s(directives, headers, asked_ms / 1000)
    left = min(lifetime - _seconds(headers.get("age", "")), DAY_S)
    return asked_ms + int(left * 1000) if left > 0 else 0


def may_store(headers: Headers) -> bool:
    """Whether the answer may be kept on disk at all."""
    return "no-store" not in cache_directives(headers.get("cache-control", ""))


def retry_after_s(headers: Headers, now_ms: int) -> float:
    """How long the host wants to be left alone, at most an hour; 0 where it does not say."""
    text = headers.get("retry-after", "")
    date = http_date(text)
    wait = _seconds(text) if date is None else date - now_ms / 1000
    return min(max(float(wait), 0.0), _RETRY_AFTER_S)


@lru_cache(maxsize=256)
def cache_directives(text: str) -> Mapping[str, str]:
    """Cache-Control's directives; of one that is there twice the last holds, and of `max-age` the least."""
    found: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(text[:1000].lower()):
        plain = value.strip('"')
        if name == "max-age" and name in found:
            plain = str(min(_seconds(found[name]), _seconds(plain)))
        found[name] = plain
    return found


@lru_cache(maxsize=1024)
def http_date(text: str) -> float | None:
    """Unix time of a date in the form that HTTP has used since 1999; None for any other text."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    day, name, year, hour, minute, second = found.groups()
    try:
        at = (int(year), _MONTHS.index(name) // 4 + 1, int(day), int(hour), int(minute), int(second))
        return datetime(*at, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _lifetime_s(directives: Mapping[str, str], headers: Headers, now_s: float) -> float:
    if "max-age" in directives:
        return _seconds(directives["max-age"])
    expires, date = http_date(headers.get("expires", "")), http_date(headers.get("date", ""))
    return 0.0 if expires is None else expires - (now_s if date is None else date)


def _seconds(text: str) -> int:
    return int(text) if _SECONDS.fullmatch(text) else 0
