"""Redis: where recommenders read. One server, or a cluster, which is found out when connecting."""

from adgauge.adapters.redis.cache import RedisScoreCache
from adgauge.adapters.redis.connection import Client, connect, persistence
from adgauge.adapters.redis.generations import (
    HISTORY_KEY,
    Flip,
    Generation,
    Generations,
    Live,
    Why,
)
from adgauge.adapters.redis.line import (
    DIGEST_DIGITS,
    LIVE_KEY,
    StoredScore,
    decode,
    encode,
    score_key,
)
from adgauge.adapters.redis.reader import Reading, ScoreReader
from adgauge.adapters.redis.store import (
    TOMBSTONE_TTL_MS,
    RedisScoreStore,
    register_generation,
    require_writable,
)

__all__ = [
    "DIGEST_DIGITS",
    "HISTORY_KEY",
    "LIVE_KEY",
    "TOMBSTONE_TTL_MS",
    "Client",
    "Flip",
    "Generation",
    "Generations",
    "Live",
    "Reading",
    "RedisScoreCache",
    "RedisScoreStore",
    "ScoreReader",
    "StoredScore",
    "Why",
    "connect",
    "decode",
    "encode",
    "persistence",
    "register_generation",
    "require_writable",
    "score_key",
]
