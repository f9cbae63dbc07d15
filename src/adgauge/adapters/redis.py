"""Redis: where recommenders read. One key per product and generation, newer wins, every key expires.

Keys: `ag:<generation>:<id>` holds one line, `ag:live` the generation that recommenders read, and
`ag:gen:<n>` describes generation n, once. The line has at most 80 bytes of ASCII:

    <score> <event_ms> <offset> <scored_at_ms> <flags> <digest>
    4.1873 1763870400123 4711 1763870401456 i 9f86d081884c
    deleted 1763870400123 4712

`score` has four decimals; (`event_ms`, `offset`) is its order; `flags` are letters (`i` no image, `t` no
text, `c` text cut, `e` event time clamped) or `-`; `digest` starts the sha256 of the canonical input.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    NoPermissionError,
    NoScriptError,
    ReadOnlyError,
    RedisError,
)
from redis.retry import Retry

from adgauge.errors import BackendUnavailable, ConfigurationError, ContractMismatch
from adgauge.records import Flag, Order, Score, Tombstone

log = logging.getLogger(__name__)

LIVE_KEY = "ag:live"
TOMBSTONE_TTL_MS = 7 * 24 * 3600 * 1000
"""How long a deletion is remembered, so that a late older record cannot bring a product back."""
DIGEST_DIGITS = 12

_DELETED = "deleted"
_LETTERS = {Flag.NO_IMAGE: "i", Flag.NO_TEXT: "t", Flag.TEXT_CUT: "c", Flag.EVENT_CLAMPED: "e"}
_FLAGS = {letter: flag for flag, letter in _LETTERS.items()}
_BACKEND = "redis"

# One key, so it may run on any node of a cluster. Numbers are compared as digits: Lua's lose precision.
_PUT = """
local function less(a, b)
  if #a ~= #b then return #a < #b end
  return a < b
end
local line, event, offset = ARGV[1], ARGV[2], ARGV[3]
local held = redis.pcall('GET', KEYS[1])
if type(held) ~= 'string' then held = '' end -- nothing, or a key of another type, which is none of ours
local held_event, held_offset = held:match('^%S+ (%d+) (%d+)')
if held_event and (less(event, held_event) or (event == held_event and less(offset, held_offset))) then
  return 0
end
redis.call('SET', KEYS[1], line, 'PX', ARGV[4])
return 1
"""


@dataclass(frozen=True, slots=True)
class StoredScore:
    """What Redis holds of a score; `digest` is a prefix of the content digest."""

    product_id: str
    value: float
    order: Order
    scored_at_ms: int
    flags: frozenset[Flag]
    digest: str


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one read. `generation` None: none is live yet, and nothing is known of any product.

    A product is None when it was never scored or its score expired, and a Tombstone when it was deleted.
    """

    generation: int | None
    entries: Mapping[str, StoredScore | Tombstone | None]

    @property
    def scores(self) -> dict[str, StoredScore | None]:
        """What a recommender needs: a deleted product has no score."""
        return {
            name: entry if isinstance(entry, StoredScore) else None for name, entry in self.entries.items()
        }


def encode(entry: Score | Tombstone) -> str:
    """The line that is stored for an entry."""
    order = f"{entry.order.event_ms} {entry.order.offset}"
    if isinstance(entry, Tombstone):
        return f"{_DELETED} {order}"
    flags = "".join(sorted(_LETTERS[flag] for flag in entry.flags)) or "-"
    return f"{entry.value:.4f} {order} {entry.scored_at_ms} {flags} {entry.digest[:DIGEST_DIGITS]}"


def decode(product_id: str, line: str) -> StoredScore | Tombstone:
    """The entry in a stored line; raises ValueError when it is none of ours."""
    try:
        score, event_ms, offset, *rest = line.split(" ")
        order = Order(int(event_ms), int(offset))
        if score == _DELETED and not rest:
            return Tombstone(product_id, order)
        scored_at_ms, letters, digest = rest
        flags = frozenset(_FLAGS[letter] for letter in letters if letter != "-")
        return StoredScore(product_id, float(score), order, int(scored_at_ms), flags, digest)
    except (ValueError, KeyError) as exc:
        raise ValueError(f"not a stored score: {line[:80]!r}") from exc


def score_key(generation: int, product_id: str) -> str:
    """Where the score of a product is."""
    return f"ag:{generation}:{product_id}"


def connect(url: str, timeout_s: float) -> redis.Redis:
    """A client whose calls end within about `timeout_s` and are not repeated: retrying is ours.

    Raises ConfigurationError for a wrong URL or credentials, BackendUnavailable when nobody answers.
    """
    try:
        client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
            encoding_errors="replace",
        )
        client.ping()
    except ValueError:
        # The error may quote a part of the password, so it is not repeated.
        raise ConfigurationError(
            "ADGAUGE_REDIS_URL: not of the form redis://[user:password@]host:port/db; in a password"
            " write / as %2F, # as %23, ? as %3F, @ as %40"
        ) from None
    except (AuthenticationError, AuthorizationError, NoPermissionError) as exc:
        raise ConfigurationError(
            f"Redis at {_address(url)} refuses us: {exc}; check the user and password in ADGAUGE_REDIS_URL"
        ) from exc
    except RedisError as exc:
        raise BackendUnavailable(
            _BACKEND, f"no answer at {_address(url)}: {exc}; is ADGAUGE_REDIS_URL right and the server up?"
        ) from exc
    return client


def require_writable(client: redis.Redis) -> None:
    """Write a key that lives a second; raises ConfigurationError when we may not, BackendUnavailable."""
    try:
        client.set("ag:check", "1", px=1000)
    except (NoPermissionError, ReadOnlyError) as exc:
        raise ConfigurationError(
            f"Redis does not let us write: {exc}; allow SET and EVALSHA on ag:*, on the primary"
        ) from exc
    except RedisError as exc:
        # A pipeline puts the whole command before what went wrong.
        raise BackendUnavailable(_BACKEND, str(exc).rsplit("caused error: ", 1)[-1]) from exc


def register_generation(client: redis.Redis, generation: int, description: Mapping[str, str]) -> None:
    """Describe a generation, once, and make it live when none is.

    Raises ContractMismatch when its scores came from another model, BackendUnavailable.
    """
    key, ours = f"ag:gen:{generation}", json.dumps(description, sort_keys=True)
    with _translated():
        client.set(key, ours, nx=True)
        held = json.loads(cast(str | None, client.get(key)) or ours)
        if held["digest"] != description["digest"]:
            raise ContractMismatch(
                f"generation {generation} holds scores of contract {held['digest']}, this model is"
                f" {description['digest']}: choose another ADGAUGE_GENERATION"
            )
        client.set(LIVE_KEY, generation, nx=True)


class RedisScoreStore:
    """Writes one generation. A score lives `ttl_s`, give or take a tenth, so that not all expire at once.

    `random()` is uniform in [0, 1). A write that timed out and is applied later is harmless: it is
    compared with what is there then.
    """

    def __init__(
        self, client: redis.Redis, generation: int, ttl_s: float, random: Callable[[], float]
    ) -> None:
        self._client = client
        self._generation = generation
        self._ttl_s = ttl_s
        self._random = random
        self._sha = hashlib.sha1(_PUT.encode(), usedforsecurity=False).hexdigest()

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        if not entries:
            return []
        with _translated():
            try:
                return self._put(entries)
            except NoScriptError:  # a server that has just started knows no scripts
                self._client.script_load(_PUT)
                return self._put(entries)
            except ReadOnlyError:  # demoted: its name may lead to the new master by now
                self._client.connection_pool.disconnect()
                raise

    def _put(self, entries: Sequence[Score | Tombstone]) -> list[bool]:
        pipeline = self._client.pipeline(transaction=False)
        for entry in entries:
            key = score_key(self._generation, entry.product_id)
            order = (str(entry.order.event_ms), str(entry.order.offset))
            pipeline.evalsha(self._sha, 1, key, encode(entry), *order, str(self._ttl_ms(entry)))
        return [result == 1 for result in pipeline.execute()]

    def _ttl_ms(self, entry: Score | Tombstone) -> int:
        if isinstance(entry, Tombstone):
            return TOMBSTONE_TTL_MS
        return int(self._ttl_s * 1000 * (0.9 + 0.2 * self._random()))

    def close(self) -> None:
        """See `ports.ScoreStore`."""
        _close(self._client)


class ScoreReader:
    """For recommenders: scores of the live generation. The name of that generation is kept for a second.

    `clock` counts seconds. Raises BackendUnavailable.
    """

    def __init__(self, client: redis.Redis, clock: Callable[[], float], live_s: float = 1.0) -> None:
        self._client = client
        self._clock = clock
        self._live_s = live_s
        self._live: tuple[float, int | None] | None = None

    def get(self, product_ids: Sequence[str], generation: int | None = None) -> Reading:
        """One round trip for all ids; of `generation` instead of the live one when it is given."""
        generation = self._live_generation() if generation is None else generation
        if generation is None or not product_ids:
            return Reading(generation, dict.fromkeys(product_ids))
        with _translated():
            keys = [score_key(generation, name) for name in product_ids]
            lines = cast(Sequence[str | None], self._client.mget(keys))
        found = zip(product_ids, lines, strict=True)
        return Reading(generation, {name: _decoded(name, line) for name, line in found})

    def _live_generation(self) -> int | None:
        now = self._clock()
        if self._live is None or now - self._live[0] > self._live_s:
            with _translated():
                self._live = now, _generation(self._client.get(LIVE_KEY))
        return self._live[1]

    def close(self) -> None:
        """Close connections. Never raises."""
        _close(self._client)


def _decoded(product_id: str, line: str | None) -> StoredScore | Tombstone | None:
    """A line that somebody else wrote is as good as none, but said in the log."""
    try:
        return None if line is None else decode(product_id, line)
    except ValueError as error:
        log.warning("%s", error)
        return None


def _generation(live: Any) -> int | None:
    return int(live) if isinstance(live, str) and live.isdecimal() else None


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except RedisError as exc:
        # A pipeline puts the whole command before what went wrong.
        raise BackendUnavailable(_BACKEND, str(exc).rsplit("caused error: ", 1)[-1]) from exc


def _address(url: str) -> str:
    """The URL without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or 6379}"


def _close(client: redis.Redis) -> None:
    try:
        client.close()
    except RedisError:
        log.debug("closing redis", exc_info=True)
