"""Which generation recommenders read, what was live before, and which generations there are.

`ag:live` and its history are in one slot of a cluster, so that one script changes both or neither.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, cast

import redis
from pydantic import TypeAdapter, ValidationError
from redis.cluster import ClusterNode, RedisCluster

from adgauge.adapters.redis.connection import Client, translated
from adgauge.adapters.redis.line import LIVE_KEY, StoredScore, decode, score_key
from adgauge.adapters.redis.pipelines import Pipelines

log = logging.getLogger(__name__)

HISTORY_KEY = f"ag:history:{{{LIVE_KEY}}}"
"""What stands in braces decides the slot."""
KEPT_FLIPS = 1000
PAGE = 5000
"""Keys that a server looks at for one answer: a few milliseconds."""

# Whoever saw another state changes nothing: two operators cannot cross.
_FLIP = """
local live = redis.call('GET', KEYS[1]) or ''
local newest = redis.call('LINDEX', KEYS[2], 0) or ''
if live ~= ARGV[1] or newest ~= ARGV[2] then return 0 end
redis.call('SET', KEYS[1], ARGV[3])
redis.call('LPUSH', KEYS[2], ARGV[4])
redis.call('LTRIM', KEYS[2], 0, ARGV[5])
return 1
"""


class Why(StrEnum):
    """Why another generation became live."""

    GATE = "gate"
    FORCED = "forced"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Flip:
    """One change of the live generation, at `at_ms` since 1970; `before` None: none was live."""

    at_ms: int
    before: int | None
    after: int
    why: Why


@dataclass(frozen=True, slots=True)
class Live:
    """What is live, and how that came: `flips`, newest first. `seen` is for `Generations.flip`."""

    generation: int | None
    flips: tuple[Flip, ...]
    seen: tuple[str, str]

    def before(self) -> int | None:
        """The generation that a rollback leads to: None when none is known.

        A rollback takes back the latest promotion that is not yet taken back, so two of them lead two back.
        """
        promoted_over: list[int] = []
        live: int | None = None
        for flip in reversed(self.flips):
            promoted_over += _unrecorded(live, flip.before)
            if flip.why is Why.ROLLBACK:
                _pop_to(promoted_over, flip.after)
            elif flip.before is not None:
                promoted_over.append(flip.before)
            live = flip.after
        promoted_over += _unrecorded(live, self.generation)
        return promoted_over[-1] if promoted_over else None


@dataclass(frozen=True, slots=True)
class Generation:
    """What `ag:gen:<n>` says: the model, as name/version, and the digest of its contract."""

    number: int
    model: str
    digest: str


_FLIPS = TypeAdapter(Flip)
_DESCRIPTION = TypeAdapter(dict[str, Any])


class Generations:
    """For operators. Raises BackendUnavailable, ConfigurationError when rights are missing."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pipelines = Pipelines(client)

    def live(self) -> Live:
        """What is live now, and the history of that."""
        held = self._pipelines.one(LIVE_KEY, "GET", LIVE_KEY) or ""
        lines = cast(list[str], self._pipelines.one(HISTORY_KEY, "LRANGE", HISTORY_KEY, "0", "-1"))
        generation = int(held) if held.isdecimal() else None
        return Live(generation, tuple(_flips(lines)), (held, lines[0] if lines else ""))

    def flip(self, seen: Live, to: int, why: Why, at_ms: int) -> bool:
        """Make a generation live, and remember that; False, and nothing is done, when `seen` is over.

        After a BackendUnavailable it may have been done: `live` says so.
        """
        line = json.dumps(asdict(Flip(at_ms, seen.generation, to, why)), separators=(",", ":"))
        keys, words = (LIVE_KEY, HISTORY_KEY), (*seen.seen, str(to), line, str(KEPT_FLIPS - 1))
        return bool(self._pipelines.one(LIVE_KEY, "EVAL", _FLIP, "2", *keys, *words))

    def described(self, number: int) -> Generation | None:
        """What is known of a generation; None when no scorer ever wrote it."""
        key = f"ag:gen:{number}"
        return _generation(number, self._pipelines.one(key, "GET", key))

    def all(self) -> list[Generation]:
        """Every generation that is described, by number; looks at all keys, a page at a time."""
        prefix = "ag:gen:"
        numbers = {key.removeprefix(prefix) for page in self._pages(f"{prefix}*") for key in page}
        found = [self.described(int(number)) for number in numbers if number.isdecimal()]
        return sorted((each for each in found if each is not None), key=lambda each: each.number)

    def sizes(self) -> dict[int, int]:
        """About how many products each generation holds, deletions included: a page of each server tells."""
        sizes: Counter[int] = Counter()
        with translated():
            for server in self._servers():
                _, keys = cast(Any, server).scan(0, count=PAGE)
                of_key = cast(Any, server).dbsize() / max(len(keys), 1)
                for number, held in Counter(filter(None, map(_number, keys))).items():
                    sizes[number] += round(held * of_key)
        return dict(sizes)

    def scored(self, number: int, most: int) -> list[str]:
        """Ids of up to `most` products that have a score in a generation, in no order."""
        prefix = score_key(number, "")
        found: list[str] = []
        for keys in self._pages(f"{prefix}*"):
            found += [key.removeprefix(prefix) for key, line in self._lines(keys) if _is_score(line)]
            if len(found) >= most:
                break
        return found[:most]

    def _lines(self, keys: Sequence[str]) -> Iterator[tuple[str, str | None]]:
        return zip(keys, self._pipelines.values(keys), strict=True)

    def _pages(self, pattern: str) -> Iterator[list[str]]:
        """Keys of all servers that hold some; a key may come twice."""
        for server in self._servers():
            cursor: Any = None
            while cursor != 0:
                with translated():
                    cursor, keys = cast(Any, server).scan(cursor or 0, match=pattern, count=PAGE)
                yield keys

    def _servers(self) -> list[redis.Redis]:
        if not isinstance(self._client, RedisCluster):
            return [self._client]
        cluster = cast(Any, self._client)
        nodes = cast(list[ClusterNode], cluster.get_primaries())
        return [cluster.get_redis_connection(node) for node in nodes]


def _flips(lines: Sequence[str]) -> Iterator[Flip]:
    """A line that somebody else wrote is as good as none, but said in the log."""
    for line in lines:
        try:
            yield _FLIPS.validate_json(line)
        except ValidationError:
            log.warning("%s holds what is no change of ours: %r", HISTORY_KEY, line[:80])


def _generation(number: int, held: str | None) -> Generation | None:
    try:
        said = _DESCRIPTION.validate_json(held or "")
    except ValidationError:
        return None
    return Generation(number, str(said.get("model", "")), str(said.get("digest", "")))


def _number(key: str) -> int | None:
    """The generation whose product a key holds."""
    first, _, rest = key.partition(":")
    number, _, product_id = rest.partition(":")
    return int(number) if first == "ag" and number.isdecimal() and product_id else None


def _is_score(line: str | None) -> bool:
    try:
        return isinstance(decode("", line or ""), StoredScore)
    except ValueError:
        return False


def _unrecorded(known: int | None, found: int | None) -> list[int]:
    """What was live before a change that nobody recorded (`SET ag:live` by hand)."""
    return [known] if known is not None and known != found else []


def _pop_to(promoted_over: list[int], generation: int) -> None:
    while promoted_over and promoted_over.pop() != generation:
        pass
