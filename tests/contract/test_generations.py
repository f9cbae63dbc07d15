"""Which generation is live: on Valkey, on Redis with few rights, and on a Valkey Cluster."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from adgauge.adapters.redis import (
    HISTORY_KEY,
    LIVE_KEY,
    Client,
    Generation,
    Generations,
    RedisScoreStore,
    ScoreReader,
    Why,
    connect,
    register_generation,
    score_key,
)
from adgauge.errors import BackendUnavailable, ConfigurationError
from adgauge.records import Order, Score, Tombstone
from services.embedded.cache import ValkeyCluster
from tests.redis_over_tls import RedisOverTls, allow_what_is_documented

PRODUCTS = [f"P{number}" for number in range(200)]
LOADED_S = 4.0

Connect = Callable[[], Client]


@pytest.fixture
def connect_valkey(redis_url: str) -> Connect:
    return lambda: connect(redis_url, timeout_s=2.0)


@pytest.fixture
def connect_limited(redis_over_tls: RedisOverTls) -> Connect:
    url = redis_over_tls.url_of("adgauge-operator")
    return lambda: connect(url, 2.0, redis_over_tls.ca_file)


@pytest.fixture
def connect_cluster(valkey_cluster: ValkeyCluster) -> Connect:
    """With the rights of an operator."""
    for node in valkey_cluster.nodes:
        with redis.Redis.from_url(node.url) as admin:
            allow_what_is_documented(admin)
    with RedisCluster.from_url(valkey_cluster.url) as admin:
        admin.flushall(target_nodes=RedisCluster.PRIMARIES)
    url = valkey_cluster.url.replace("://", "://adgauge-operator:p%2Fss@")
    return lambda: connect(url, timeout_s=2.0)


@pytest.fixture(params=["connect_valkey", "connect_limited", "connect_cluster"])
def connected(request: pytest.FixtureRequest) -> Connect:
    made: Connect = request.getfixturevalue(request.param)
    return made


@pytest.fixture
def client(connected: Connect) -> Iterator[Any]:
    client = connected()
    yield client
    client.close()


def score(product_id: str, generation: int) -> Score:
    """Its value says which generation it is of."""
    return Score(product_id, float(generation), Order(1, 0), 501, frozenset(), "ab" * 32)


def fill(client: Client, generation: int, products: list[str] = PRODUCTS) -> None:
    """As the operator, whose rights suffice to write by hand."""
    for name in products:
        client.set(score_key(generation, name), f"{generation}.0000 1 0 501 - abababababab")


def describe(client: Client, generation: int) -> None:
    client.set(f"ag:gen:{generation}", f'{{"model": "m/{generation}", "digest": "d{generation}"}}')


def test_at_first_nothing_is_live_and_nothing_was(client: Any) -> None:
    live = Generations(client).live()
    assert (live.generation, live.flips, live.before()) == (None, (), None)


def test_a_flip_changes_what_readers_read_and_is_remembered(client: Any) -> None:
    register_generation(client, 1, {"model": "m/1", "digest": "d1"})
    generations = Generations(client)

    assert generations.flip(generations.live(), 2, Why.GATE, at_ms=1_000)
    assert ScoreReader(client, time.monotonic).get([]).generation == 2
    assert generations.live().before() == 1
    assert client.lrange(HISTORY_KEY, 0, -1) == ['{"at_ms":1000,"before":1,"after":2,"why":"gate"}']


def test_who_saw_another_generation_live_changes_nothing(client: Any) -> None:
    generations = Generations(client)
    seen = generations.live()

    assert generations.flip(seen, 2, Why.FORCED, at_ms=1)
    assert not generations.flip(seen, 3, Why.FORCED, at_ms=2)
    live = generations.live()
    assert (live.generation, [flip.after for flip in live.flips]) == (2, [2])


def test_who_saw_the_same_generation_live_after_another_history_changes_nothing(client: Any) -> None:
    """There and back: a rollback now leads elsewhere than it would have led."""
    generations = Generations(client)
    generations.flip(generations.live(), 1, Why.FORCED, at_ms=1)
    seen = generations.live()
    for number in (2, 1):
        generations.flip(generations.live(), number, Why.FORCED, at_ms=2)

    assert generations.live().generation == seen.generation
    assert not generations.flip(seen, 3, Why.ROLLBACK, at_ms=3)


def test_a_rollback_goes_back_and_a_second_one_further(client: Any) -> None:
    client.set(LIVE_KEY, 1)
    generations = Generations(client)
    for number in (2, 3):
        generations.flip(generations.live(), number, Why.GATE, at_ms=number)
    went_to = []
    while (before := generations.live().before()) is not None:
        assert generations.flip(generations.live(), before, Why.ROLLBACK, at_ms=9)
        went_to.append(before)

    assert went_to == [2, 1]
    assert len(generations.live().flips) == 4


def test_a_line_of_somebody_else_in_the_history_is_passed_over(
    client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    client.set(LIVE_KEY, 1)
    generations = Generations(client)
    generations.flip(generations.live(), 2, Why.GATE, at_ms=1)
    client.lpush(HISTORY_KEY, "hello")

    assert generations.live().before() == 1
    assert "no change of ours: 'hello'" in caplog.text
    assert generations.flip(generations.live(), 1, Why.ROLLBACK, at_ms=2)


def test_every_described_generation_is_found_with_about_its_size(client: Any) -> None:
    for generation, products in ((1, PRODUCTS), (12, PRODUCTS[:50]), (3, [])):
        describe(client, generation)
        fill(client, generation, products)
    client.set("ag:gen:7", "hello")
    client.set("ag:content:1:abc:def", "3.5")
    generations = Generations(client)

    assert generations.all() == [Generation(n, f"m/{n}", f"d{n}") for n in (1, 3, 12)]
    assert generations.sizes() == {1: 200, 12: 50}
    assert (generations.described(12), generations.described(4)) == (Generation(12, "m/12", "d12"), None)


def test_only_scores_count_as_scored_products(client: Any) -> None:
    fill(client, 1, ["P1"])
    client.set(score_key(1, "GONE"), "deleted 1 0")
    client.set(score_key(1, "BAD"), "hello")
    fill(client, 12, ["P2"])
    fill(client, 13)
    generations = Generations(client)

    assert generations.scored(1, 10) == ["P1"]
    assert generations.scored(11, 1) == []
    assert len(set(generations.scored(13, 1000))) == 200
    assert len(generations.scored(13, 7)) == 7


def test_of_operators_at_the_same_moment_one_at_a_time_succeeds(connected: Connect) -> None:
    """Every change starts where the one before it ended, and none is lost."""

    def operate(number: int) -> int:
        client = connected()
        generations = Generations(client)
        done = sum(generations.flip(generations.live(), number, Why.FORCED, at_ms=at) for at in range(60))
        client.close()
        return done

    with ThreadPoolExecutor(6) as pool:
        done = sum(pool.map(operate, range(1, 7)))
    client = connected()
    live = Generations(client).live()
    client.close()
    befores, afters = [flip.before for flip in live.flips], [flip.after for flip in live.flips]
    assert befores == [*afters[1:], None]
    assert (len(live.flips), live.generation) == (done, afters[0])
    assert 6 < done < 360


@contextmanager
def threads(*works: Callable[[], None]) -> Iterator[threading.Event]:
    """Each repeated until the end; what one raises fails the test."""
    ended = threading.Event()

    def repeat(work: Callable[[], None]) -> None:
        while not ended.is_set():
            work()

    with ThreadPoolExecutor(len(works)) as pool:
        running = [pool.submit(repeat, work) for work in works]
        try:
            yield ended
        finally:
            ended.set()
    for each in running:
        each.result()


def test_no_answer_under_load_holds_scores_of_two_generations(connected: Connect) -> None:
    clients = [connected() for _ in range(4)]
    for generation in (1, 2, 3):
        fill(clients[0], generation)
    clients[0].set(LIVE_KEY, 1)
    hasty = ScoreReader(clients[1], time.monotonic, live_s=0.0)  # threads share it, and it asks each time
    usual = ScoreReader(clients[2], time.monotonic)
    generations = Generations(clients[3])
    answered: list[int] = []

    def read(reader: ScoreReader) -> None:
        reading = reader.get(PRODUCTS)
        held = {each.value for each in reading.scores.values() if each is not None}
        assert held == {float(reading.generation or 0)}
        answered.append(reading.generation or 0)

    def write() -> None:
        fill(clients[0], 2, PRODUCTS[:20])

    flips, began = 0, time.monotonic()
    with threads(lambda: read(hasty), lambda: read(hasty), lambda: read(usual), write):
        while time.monotonic() - began < LOADED_S:
            live = generations.live()
            to = 2 if live.generation == 1 else 3 if live.generation == 2 else live.before()
            if to is not None:
                why = Why.ROLLBACK if live.generation == 3 else Why.GATE
                flips += generations.flip(live, to, why, at_ms=flips)
            if flips % 3 == 2 and (back := generations.live().before()) is not None:
                flips += generations.flip(generations.live(), back, Why.ROLLBACK, at_ms=flips)
    changes = sum(one != following for one, following in pairwise(answered))
    assert {1, 2, 3} == set(answered)
    assert flips > 100
    assert changes > 20
    for client in clients:
        client.close()


def test_readers_follow_a_flip_within_a_second(client: Any) -> None:
    client.set(LIVE_KEY, 1)
    reader, generations = ScoreReader(client, time.monotonic), Generations(client)
    assert reader.get([]).generation == 1
    generations.flip(generations.live(), 2, Why.GATE, at_ms=1)
    flipped = time.monotonic()
    while reader.get([]).generation == 1:
        assert time.monotonic() - flipped < 1.2
        time.sleep(0.01)


def test_without_the_right_nothing_is_changed_and_the_document_is_named(redis_over_tls: RedisOverTls) -> None:
    client = connect(redis_over_tls.url_of("adgauge-reader"), 2.0, redis_over_tls.ca_file)
    with pytest.raises(ConfigurationError, match="docs/contracts"):
        Generations(client).live()
    client.close()


def test_a_server_that_is_away_is_said(connect_valkey: Connect) -> None:
    client = connect_valkey()
    client.close()
    gone = redis.Redis(port=1, socket_timeout=0.2, socket_connect_timeout=0.2)
    for ask in (Generations(gone).live, Generations(gone).all, Generations(gone).sizes):
        with pytest.raises(BackendUnavailable):
            ask()
    gone.close()


def test_what_the_scorer_writes_counts_and_its_deletions_do_not(connect_valkey: Connect) -> None:
    client = connect_valkey()
    store = RedisScoreStore(client, 5, 60.0, lambda: 0.5)
    store.put([score("P1", 5), Tombstone("P2", Order(1, 0))])
    assert Generations(client).scored(5, 10) == ["P1"]
    store.close()
