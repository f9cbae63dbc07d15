"""What every `ScoreStore` does: in memory, Valkey, Redis over TLS with few rights, Valkey Cluster."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from adgauge.adapters.memory import MemoryScoreStore
from adgauge.adapters.redis import (
    TOMBSTONE_TTL_MS,
    RedisScoreStore,
    ScoreReader,
    connect,
    encode,
    register_generation,
    require_writable,
    score_key,
)
from adgauge.errors import BackendUnavailable, ConfigurationError, ContractMismatch
from adgauge.pipeline.ports import ScoreStore
from adgauge.records import Flag, Order, Score, Tombstone
from services.embedded.cache import ValkeyCluster
from tests.redis_over_tls import RedisOverTls, allow_what_is_documented

GENERATION = 3
DAY_S = 86400.0

Held = Callable[[str], str | None]
"""What the store holds of a product, as Redis would write it."""


def score(event_ms: int, offset: int = 0, value: float = 3.0, product_id: str = "P1") -> Score:
    return Score(product_id, value, Order(event_ms, offset), event_ms + 500, frozenset(), "ab" * 32)


def tombstone(event_ms: int, offset: int = 0) -> Tombstone:
    return Tombstone("P1", Order(event_ms, offset))


@pytest.fixture
def valkey_client(redis_url: str) -> Iterator[Any]:
    client = connect(redis_url, timeout_s=2.0)
    yield client
    client.close()


@pytest.fixture
def limited_client(redis_over_tls: RedisOverTls) -> Iterator[Any]:
    client = connect(redis_over_tls.url_of("adgauge-scorer"), 2.0, redis_over_tls.ca_file)
    yield client
    client.close()


@pytest.fixture
def cluster_client(valkey_cluster: ValkeyCluster) -> Iterator[Any]:
    client: Any = connect(valkey_cluster.url, timeout_s=2.0)
    client.flushall(target_nodes=RedisCluster.PRIMARIES)
    yield client
    client.close()


@pytest.fixture(params=["valkey_client", "cluster_client"])
def client(request: pytest.FixtureRequest) -> Any:
    """With all rights. What redis-py's cluster client returns has no useful types."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["memory", "valkey_client", "limited_client", "cluster_client"])
def store_and_held(request: pytest.FixtureRequest) -> tuple[ScoreStore, Held]:
    if request.param == "memory":
        memory = MemoryScoreStore()

        def of_memory(product_id: str) -> str | None:
            entry = memory.entries.get(product_id)
            return None if entry is None else encode(entry)

        return memory, of_memory
    client = request.getfixturevalue(request.param)

    def of_redis(product_id: str) -> str | None:
        line = client.get(score_key(GENERATION, product_id))
        return line if isinstance(line, str) else None

    return RedisScoreStore(client, GENERATION, DAY_S, lambda: 0.5), of_redis


def test_a_newer_score_replaces_an_older_one(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    assert list(store.put([score(1), score(2)])) == [True, True]
    assert held("P1") == encode(score(2))


def test_an_older_score_is_not_stored(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([score(2)])
    assert list(store.put([score(1)])) == [False]
    assert held("P1") == encode(score(2))


def test_within_one_call_the_newest_stays_whatever_the_order(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    assert list(store.put([score(5), score(7), score(6)])) == [True, True, False]
    assert held("P1") == encode(score(7))


def test_the_offset_decides_between_equal_event_times(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([score(1, offset=10)])
    assert list(store.put([score(1, offset=9), score(1, offset=100)])) == [False, True]
    assert held("P1") == encode(score(1, offset=100))


def test_numbers_are_compared_as_numbers(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, _ = store_and_held
    large = 2**62
    store.put([score(9, offset=large)])
    assert list(store.put([score(9, offset=large - 1), score(10, offset=0)])) == [False, True]


def test_a_redelivered_score_is_stored_again(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([score(1, value=2.0)])
    assert list(store.put([score(1, value=2.5)])) == [True]
    assert held("P1") == encode(score(1, value=2.5))


def test_a_late_older_score_does_not_bring_a_deleted_product_back(
    store_and_held: tuple[ScoreStore, Held],
) -> None:
    store, held = store_and_held
    store.put([score(1)])
    assert list(store.put([tombstone(3), score(2)])) == [True, False]
    assert held("P1") == encode(tombstone(3))


def test_an_older_tombstone_does_not_delete(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([score(5)])
    assert list(store.put([tombstone(4)])) == [False]
    assert held("P1") == encode(score(5))


def test_a_newer_score_brings_a_deleted_product_back(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([tombstone(1)])
    assert list(store.put([score(2)])) == [True]
    assert held("P1") == encode(score(2))


def test_products_are_apart_and_results_in_order(store_and_held: tuple[ScoreStore, Held]) -> None:
    store, held = store_and_held
    store.put([score(5, product_id="A")])
    assert list(store.put([score(4, product_id="A"), score(4, product_id="B")])) == [False, True]
    assert held("B") == encode(score(4, product_id="B"))


def test_nothing_to_store_is_fine(store_and_held: tuple[ScoreStore, Held]) -> None:
    assert list(store_and_held[0].put([])) == []


def test_scores_expire_about_when_they_should_and_tombstones_after_a_week(client: Any) -> None:
    for random, share in ((0.0, 0.9), (0.5, 1.0), (1.0, 1.1)):
        store = RedisScoreStore(client, GENERATION, DAY_S, lambda value=random: value)  # type: ignore[misc]
        store.put([score(1)])
        assert client.pttl(score_key(GENERATION, "P1")) == pytest.approx(share * DAY_S * 1000, rel=0.001)
    store.put([tombstone(2)])
    assert client.pttl(score_key(GENERATION, "P1")) == pytest.approx(TOMBSTONE_TTL_MS, rel=0.001)


def test_a_server_that_forgot_its_scripts_learns_them_again(client: Any) -> None:
    store = RedisScoreStore(client, GENERATION, DAY_S, lambda: 0.5)
    store.put([score(1)])
    client.script_flush()
    assert list(store.put([score(2), score(1)])) == [True, False]


def test_a_foreign_value_is_replaced(client: Any) -> None:
    client.set(score_key(GENERATION, "P1"), "hello")
    assert list(RedisScoreStore(client, GENERATION, DAY_S, lambda: 0.5).put([score(1)])) == [True]


def test_a_reader_sees_the_live_generation_and_says_which(client: Any) -> None:
    entry = replace(score(7, value=4.21), flags=frozenset({Flag.NO_IMAGE}))
    RedisScoreStore(client, GENERATION, DAY_S, lambda: 0.5).put([entry])
    register_generation(client, GENERATION, {"digest": "d", "model": "m/1"})
    reading = ScoreReader(client, lambda: 0.0).get(["P1", "P2"])
    stored = reading.scores["P1"]

    assert reading.generation == GENERATION
    assert reading.scores["P2"] is None
    assert stored is not None
    assert (stored.value, stored.order, stored.flags) == (4.21, Order(7, 0), frozenset({Flag.NO_IMAGE}))
    assert entry.digest.startswith(stored.digest)


def test_a_deleted_product_reads_as_none_and_says_that_it_is_deleted(client: Any) -> None:
    RedisScoreStore(client, GENERATION, DAY_S, lambda: 0.5).put([tombstone(7)])
    reading = ScoreReader(client, lambda: 0.0).get(["P1"], generation=GENERATION)

    assert reading.scores == {"P1": None}
    assert reading.entries == {"P1": tombstone(7)}


def test_without_a_live_generation_nothing_is_known(client: Any) -> None:
    reading = ScoreReader(client, lambda: 0.0).get(["P1"])
    assert (reading.generation, reading.scores) == (None, {"P1": None})


def test_a_reader_follows_a_promotion_within_a_second(client: Any) -> None:
    now = 0.0
    client.set("ag:live", 1)
    reader = ScoreReader(client, lambda: now)
    assert reader.get(["P1"]).generation == 1
    client.set("ag:live", 2)
    assert reader.get(["P1"]).generation == 1
    now = 1.1
    assert reader.get(["P1"]).generation == 2


def test_a_value_nobody_understands_reads_as_none(client: Any) -> None:
    client.set(score_key(GENERATION, "P1"), "hello")
    assert ScoreReader(client, lambda: 0.0).get(["P1"], GENERATION).scores == {"P1": None}


def test_a_generation_belongs_to_one_contract(client: Any) -> None:
    register_generation(client, 1, {"digest": "one", "model": "m/1"})
    register_generation(client, 1, {"digest": "one", "model": "m/1"})
    with pytest.raises(ContractMismatch, match=r"one.*two.*ADGAUGE_GENERATION"):
        register_generation(client, 1, {"digest": "two", "model": "m/2"})


def test_only_the_first_generation_becomes_live_by_itself(client: Any) -> None:
    register_generation(client, 1, {"digest": "one", "model": "m/1"})
    register_generation(client, 2, {"digest": "two", "model": "m/2"})
    assert client.get("ag:live") == "1"


def test_a_wrong_address_is_one_line_that_says_where() -> None:
    with pytest.raises(BackendUnavailable, match=r"redis: no answer at 127\.0\.0\.1:1.*ADGAUGE_REDIS_URL"):
        connect("redis://user:secret@127.0.0.1:1/0", timeout_s=1.0)


def test_a_url_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="ADGAUGE_REDIS_URL"):
        connect("127.0.0.1:6379", timeout_s=1.0)


def test_a_wrong_password_is_a_configuration_error(redis_url: str) -> None:
    with pytest.raises(ConfigurationError, match="refuses us"):
        connect(redis_url.replace("://", "://nobody:wrong@"), timeout_s=1.0)


def test_a_password_that_breaks_the_url_is_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="%2F") as caught:
        connect("redis://:s3c/ret@host:6379/0", timeout_s=1.0)
    assert "s3c" not in str(caught.value)


def test_a_key_of_another_type_is_overwritten(client: Any) -> None:
    client.hset(score_key(1, "P1"), "field", "value")
    store = RedisScoreStore(client, 1, ttl_s=60.0, random=lambda: 0.5)
    assert list(store.put([score(1)])) == [True]


def test_a_refused_write_says_what_redis_said_and_not_the_command(redis_url: str) -> None:
    admin = redis.Redis.from_url(redis_url)
    admin.acl_setuser("reader", enabled=True, passwords=["+x"], keys=["*"], commands=["+@all", "-set"])
    client = connect(redis_url.replace("://", "://reader:x@"), timeout_s=2.0)
    store = RedisScoreStore(client, 1, ttl_s=60.0, random=lambda: 0.5)
    with pytest.raises(ConfigurationError, match="Redis refuses us") as caught:
        store.put([score(1)])
    assert "ag:1:P1" not in str(caught.value)
    store.close()
    admin.acl_deluser("reader")
    admin.close()


def test_the_documented_rights_are_enough_and_the_readers_cannot_write(redis_over_tls: RedisOverTls) -> None:
    scorer = connect(redis_over_tls.url_of("adgauge-scorer"), 2.0, redis_over_tls.ca_file)
    reader = connect(redis_over_tls.url_of("adgauge-reader"), 2.0, redis_over_tls.ca_file)
    require_writable(scorer)
    register_generation(scorer, 1, {"digest": "d"})
    store = RedisScoreStore(scorer, 1, DAY_S, lambda: 0.5)
    assert list(store.put([score(1)])) == [True]
    scores = ScoreReader(reader, lambda: 0.0)
    assert scores.get(["P1"]).scores["P1"] is not None
    with pytest.raises(ConfigurationError, match=r"refuses us.*docs/contracts"):
        require_writable(reader)
    store.close()
    scores.close()


def test_the_documented_rights_are_enough_on_a_cluster(valkey_cluster: ValkeyCluster) -> None:
    for node in valkey_cluster.nodes:
        with redis.Redis.from_url(node.url) as admin:
            allow_what_is_documented(admin)
    scorer, reader = (
        connect(valkey_cluster.url.replace("://", f"://adgauge-{role}:p%2Fss@"), 2.0)
        for role in ("scorer", "reader")
    )
    store = RedisScoreStore(scorer, 8, DAY_S, lambda: 0.5, wait_replicas=1)
    register_generation(scorer, 8, {"digest": "d"})
    assert list(store.put([score(1)])) == [True]
    scores = ScoreReader(reader, lambda: 0.0)
    assert scores.get(["P1"], 8).scores["P1"] is not None
    store.close()
    scores.close()


def test_an_unknown_authority_is_a_configuration_error(redis_over_tls: RedisOverTls) -> None:
    with pytest.raises(ConfigurationError, match="ADGAUGE_REDIS_CA_FILE"):
        connect(redis_over_tls.url_of("adgauge-scorer"), timeout_s=2.0)


def test_a_ca_file_without_tls_is_a_configuration_error(redis_over_tls: RedisOverTls) -> None:
    with pytest.raises(ConfigurationError, match="rediss://"):
        connect("redis://127.0.0.1:1/0", 2.0, redis_over_tls.ca_file)


def test_a_full_memory_passes(valkey_client: Any) -> None:
    store = RedisScoreStore(valkey_client, 1, DAY_S, lambda: 0.5)
    valkey_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(BackendUnavailable, match="maxmemory"):
            store.put([score(1)])
    finally:
        valkey_client.config_set("maxmemory", 0)
    assert list(store.put([score(1)])) == [True]


def test_a_key_of_ours_with_another_type_is_for_the_operator(client: Any) -> None:
    client.hset("ag:live", "field", "value")
    with pytest.raises(ConfigurationError, match="another program uses our keys"):
        ScoreReader(client, lambda: 0.0).get(["P1"])


def test_a_product_key_of_another_type_reads_as_none(client: Any) -> None:
    client.hset(score_key(GENERATION, "P1"), "field", "value")
    assert ScoreReader(client, lambda: 0.0).get(["P1"], GENERATION).scores == {"P1": None}
