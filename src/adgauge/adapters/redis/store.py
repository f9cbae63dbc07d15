"""What the scorer writes: one key per product and generation, newer wins, every key expires."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from adgauge.adapters.redis.connection import BACKEND, Client, close
from adgauge.adapters.redis.line import LIVE_KEY, encode, score_key
from adgauge.adapters.redis.pipelines import Command, Pipelines, raised
from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.records import Score, Tombstone

TOMBSTONE_TTL_MS = 7 * 24 * 3600 * 1000
"""How long a deletion is remembered, so that a late older record cannot bring a product back."""

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
_SHA = hashlib.sha1(_PUT.encode(), usedforsecurity=False).hexdigest()


def require_writable(client: Client) -> None:
    """Write a key that lives a second; raises ConfigurationError when we may not, BackendUnavailable."""
    Pipelines(client).one("ag:check", "SET", "ag:check", "1", "PX", "1000")


def register_generation(client: Client, generation: int, description: Mapping[str, str]) -> None:
    """Describe a generation, once, and make it live when none is.

    Raises ContractMismatch when its scores came from another model, BackendUnavailable.
    """
    key, ours = f"ag:gen:{generation}", json.dumps(description, sort_keys=True)
    pipelines = Pipelines(client)
    pipelines.one(key, "SET", key, ours, "NX")
    held = json.loads(pipelines.one(key, "GET", key) or ours)
    if held["digest"] != description["digest"]:
        raise ContractMismatch(
            f"generation {generation} holds scores of contract {held['digest']}, this model is"
            f" {description['digest']}: choose another ADGAUGE_GENERATION"
        )
    pipelines.one(LIVE_KEY, "SET", LIVE_KEY, str(generation), "NX")


class RedisScoreStore:
    """Writes one generation. A score lives `ttl_s`, give or take a tenth, so that not all expire at once.

    `random()` is uniform in [0, 1). A write that timed out and is applied later is harmless: it is
    compared with what is there then. With `wait_replicas` a write counts only once so many replicas of
    its server have it, for which they have `wait_s`, less than the client's time-out.
    """

    def __init__(
        self,
        client: Client,
        generation: int,
        ttl_s: float,
        random: Callable[[], float],
        *,
        wait_replicas: int = 0,
        wait_s: float = 1.0,
    ) -> None:
        self._client = client
        self._pipelines = Pipelines(client)
        self._generation = generation
        self._ttl_s = ttl_s
        self._random = random
        self._wait_replicas = wait_replicas
        wait = ("WAIT", str(wait_replicas), str(int(wait_s * 1000)))
        self._closing = wait if wait_replicas else None

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        answers, acknowledged = self._pipelines.run([self._command(each) for each in entries], self._closing)
        stored = [raised(answer) == 1 for answer in answers]
        for replicas in acknowledged:
            self._require_enough(raised(replicas))
        return stored

    def _command(self, entry: Score | Tombstone) -> Command:
        key = score_key(self._generation, entry.product_id)
        order = (str(entry.order.event_ms), str(entry.order.offset))
        words = ("1", key, encode(entry), *order, str(self._ttl_ms(entry)))
        # EVAL also teaches the script to a server that has just started or been promoted.
        return Command(key, ("EVALSHA", _SHA, *words), in_full=("EVAL", _PUT, *words))

    def _require_enough(self, replicas: int) -> None:
        if replicas < self._wait_replicas:
            raise BackendUnavailable(
                BACKEND,
                f"only {replicas} replicas of {self._wait_replicas} hold the write in time: bring them up"
                " or lower ADGAUGE_REDIS_WAIT_REPLICAS",
            )

    def _ttl_ms(self, entry: Score | Tombstone) -> int:
        if isinstance(entry, Tombstone):
            return TOMBSTONE_TTL_MS
        return int(self._ttl_s * 1000 * (0.9 + 0.2 * self._random()))

    def close(self) -> None:
        """See `ports.ScoreStore`."""
        close(self._client)
