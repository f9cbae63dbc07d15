"""What every `ScoreCache` does: in memory, Valkey, Valkey Cluster; and what one does without its server."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from adgauge.adapters.memory import MemoryScoreCache
from adgauge.adapters.redis import RedisScoreCache, connect
from adgauge.adapters.redis.cache import REST_S, TTL_S
from adgauge.errors import ConfigurationError
from adgauge.pipeline.ports import ScoreCache
from adgauge.records import Creative, Validators
from services.embedded.cache import Valkey, ValkeyCluster
from services.embedded.workspace import Workspace

TIMEOUT_S = 0.25
CONTRACT = "c" * 64


def cache_at(url: str, clock: Callable[[], float] = lambda: 0.0, generation: int = 1) -> RedisScoreCache:
    return RedisScoreCache(partial(connect, url, TIMEOUT_S), generation, CONTRACT, lambda: 0.5, clock)


@pytest.fixture(params=["memory", "valkey", "cluster"])
def cache(request: pytest.FixtureRequest) -> Iterator[ScoreCache]:
    if request.param == "memory":
        yield MemoryScoreCache()
        return
    if request.param == "valkey":
        url = request.getfixturevalue("redis_url")
    else:
        cluster: ValkeyCluster = request.getfixturevalue("valkey_cluster")
        url = cluster.url
        with RedisCluster.from_url(url) as admin:
            admin.flushall(target_nodes=RedisCluster.PRIMARIES)
    cache = cache_at(url)
    yield cache
    cache.close()


@pytest.fixture
def troubled(workspace: Workspace) -> Iterator[Valkey]:
    """A server of one's own, to be killed or stopped."""
    server = Valkey(workspace, f"cache-{random.randrange(10**9)}")
    server.start()
    yield server
    server.kill()


def test_what_was_never_put_is_not_there(cache: ScoreCache) -> None:
    assert list(cache.get(["a", "b"])) == [None, None]
    assert list(cache.get([])) == []


def test_scores_are_found_by_digest_in_the_order_of_the_question(cache: ScoreCache) -> None:
    cache.put({"a": 3.5, "b": 4.0}, {})
    assert list(cache.get(["b", "x", "a"])) == [4.0, None, 3.5]


def test_a_later_score_of_the_same_content_stays(cache: ScoreCache) -> None:
    cache.put({"a": 3.5}, {})
    cache.put({"a": 3.6}, {})
    assert list(cache.get(["a"])) == [3.6]


def test_a_score_keeps_all_its_digits(cache: ScoreCache) -> None:
    draw = random.Random(7)
    scores = {f"d{number}": 1 + 4 * draw.random() for number in range(200)}
    cache.put(scores, {})
    assert list(cache.get(list(scores))) == list(scores.values())


CREATIVE = Creative(
    "d" * 64, 3.25, (Validators('"e"', "Mon", "s" * 32, 7, "https://a.example/"), Validators())
)


def test_creatives_are_recalled_by_their_source(cache: ScoreCache) -> None:
    cache.put({}, {"s": CREATIVE, "t": Creative("e", 1.0, ())})
    assert list(cache.recall(["t", "x", "s"])) == [Creative("e", 1.0, ()), None, CREATIVE]
    assert list(cache.get(["s"])) == [None]
    assert list(cache.recall([])) == []


def test_contracts_are_apart(redis_url: str) -> None:
    one = cache_at(redis_url)
    two = RedisScoreCache(partial(connect, redis_url, TIMEOUT_S), 1, "d" * 64, lambda: 0.5, lambda: 0.0)
    one.put({"a": 3.5}, {"s": CREATIVE})
    assert (list(two.get(["a"])), list(two.recall(["s"]))) == ([None], [None])
    one.close()
    two.close()


@pytest.mark.parametrize(
    "line", ["", "[]", "nan", '["d",NaN,[]]', '["d","x",[]]', '["d",1.0,[["e"]]]', "[" * 5000]
)
def test_a_creative_that_somebody_else_wrote_is_a_miss(redis_url: str, line: str) -> None:
    cache = cache_at(redis_url)
    with redis.Redis.from_url(redis_url) as admin:
        admin.set(f"ag:source:1:{CONTRACT[:12]}:s", line)
    assert list(cache.recall(["s"])) == [None]
    cache.close()


def test_generations_are_apart(redis_url: str) -> None:
    one, two = cache_at(redis_url, generation=1), cache_at(redis_url, generation=2)
    one.put({"a": 3.5}, {})
    assert list(two.get(["a"])) == [None]
    one.close()
    two.close()


def test_a_score_expires_and_foreign_values_are_misses(redis_url: str) -> None:
    cache = cache_at(redis_url)
    cache.put({"a": 3.5}, {})
    admin: Any = redis.Redis.from_url(redis_url)
    assert admin.pttl(f"ag:content:1:{CONTRACT[:12]}:a") == pytest.approx(TTL_S * 1000, rel=0.001)
    admin.mset({f"ag:content:1:{CONTRACT[:12]}:b": "nan", f"ag:content:1:{CONTRACT[:12]}:c": "hello"})
    admin.hset(f"ag:content:1:{CONTRACT[:12]}:d", "field", "value")
    assert list(cache.get(["a", "b", "c", "d"])) == [3.5, None, None, None]
    cache.close()
    admin.close()


def test_a_killed_server_is_a_miss_and_is_used_again_after_a_rest(troubled: Valkey) -> None:
    now = 0.0
    cache = cache_at(troubled.url, lambda: now)
    cache.put({"a": 3.5}, {})
    troubled.kill()
    assert list(cache.get(["a"])) == [None]
    cache.put({"a": 3.5}, {})
    troubled.start()
    assert list(cache.get(["a"])) == [None]
    now = REST_S + 0.1
    assert list(cache.get(["a"])) == [3.5]
    cache.close()


def test_a_hung_server_costs_one_short_time_out_and_then_nothing(troubled: Valkey) -> None:
    cache = cache_at(troubled.url)
    cache.put({"a": 3.5}, {})
    os.kill(troubled.process.pid, signal.SIGSTOP)
    try:
        first, rest = _seconds(lambda: cache.get(["a"])), _seconds(lambda: cache.get(["a"]))
    finally:
        os.kill(troubled.process.pid, signal.SIGCONT)
    assert first < 2 * TIMEOUT_S + 0.2
    assert rest < 0.05
    cache.close()


def test_a_server_that_comes_later_is_found(troubled: Valkey) -> None:
    now = 0.0
    troubled.kill()
    cache = cache_at(troubled.url, lambda: now)
    cache.put({"a": 3.5}, {})
    troubled.start()
    now = REST_S + 0.1
    cache.put({"a": 3.5}, {})
    assert list(cache.get(["a"])) == [3.5]
    cache.close()


def test_missing_rights_are_a_miss(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.acl_setuser("blind", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-mget"])
        cache = cache_at(redis_url.replace("://", "://blind:x@"))
        cache.put({"a": 3.5}, {})
        assert list(cache.get(["a"])) == [None]
        cache.close()
        admin.acl_deluser("blind")


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError):
        cache_at("127.0.0.1:6379")


def _seconds(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began
