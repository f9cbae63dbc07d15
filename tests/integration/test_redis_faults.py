"""Redis in trouble: servers that hang, replicas that fall behind, a cluster that loses a master."""

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from adgauge.adapters.redis import RedisScoreStore, ScoreReader, connect, encode, score_key
from adgauge.errors import BackendUnavailable
from adgauge.records import Order, Score
from services.embedded.cache import Valkey, ValkeyCluster
from services.embedded.workspace import Workspace

log = logging.getLogger(__name__)

TIMEOUT_S = 1.0
FAILOVER_S = 15.0


def score(product_id: str, event_ms: int = 1) -> Score:
    return Score(product_id, 3.0, Order(event_ms, 0), event_ms + 500, frozenset(), "ab" * 32)


def store_at(url: str, *, timeout_s: float = TIMEOUT_S, wait_replicas: int = 0) -> RedisScoreStore:
    client = connect(url, timeout_s)
    return RedisScoreStore(client, 1, 3600.0, lambda: 0.5, wait_replicas=wait_replicas, wait_s=timeout_s / 2)


@contextmanager
def stopped(server: Valkey) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


def await_that(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def server(workspace: Workspace, request: pytest.FixtureRequest) -> Iterator[Valkey]:
    server = Valkey(workspace, f"valkey-{request.node.name}")
    server.start()
    yield server
    server.kill()


@pytest.fixture
def cluster(valkey_cluster: ValkeyCluster) -> Iterator[ValkeyCluster]:
    """Whole and empty; what a test kills is started again."""
    with RedisCluster.from_url(valkey_cluster.url) as admin:
        admin.flushall(target_nodes=RedisCluster.PRIMARIES)
    yield valkey_cluster
    for node in valkey_cluster.nodes:
        if not node.process.is_running():
            node.start()
    valkey_cluster.wait_until_whole()


def test_a_write_that_timed_out_is_applied_late_and_replaces_nothing_newer(server: Valkey) -> None:
    hasty, patient = store_at(server.url, timeout_s=0.3), store_at(server.url, timeout_s=20.0)
    hasty.put([score("warm")])  # the script is known, the connection is open
    reader: Any = connect(server.url, TIMEOUT_S)
    with ThreadPoolExecutor() as pool:
        with stopped(server):
            began = time.monotonic()
            with pytest.raises(BackendUnavailable, match="redis"):
                hasty.put([score("P1", event_ms=1), score("Q", event_ms=1)])
            assert time.monotonic() - began < 1.0
            newer = pool.submit(patient.put, [score("P1", event_ms=2)])
        assert list(newer.result()) == [True]
    await_that(lambda: reader.get(score_key(1, "Q")) == encode(score("Q")))
    assert reader.get(score_key(1, "P1")) == encode(score("P1", event_ms=2))
    for each in (hasty, patient, reader):
        each.close()


def test_data_survive_a_kill_with_appendfsync_always(server: Valkey) -> None:
    store = store_at(server.url)
    store.put([score("P1")])
    server.kill()
    with pytest.raises(BackendUnavailable):
        store.put([score("P1")])
    server.start()
    client: Any = connect(server.url, TIMEOUT_S)
    assert client.get(score_key(1, "P1")) == encode(score("P1"))
    assert list(store.put([score("P1", 2)])) == [True]
    store.close()
    client.close()


def test_a_write_waits_for_replicas_when_asked_to(server: Valkey, workspace: Workspace) -> None:
    master = ["--replicaof", f"127.0.0.1 {server.port}", "--repl-diskless-sync-delay", "0"]
    replica = Valkey(workspace, "replica", options=master)
    replica.start()
    client: Any = connect(replica.url, TIMEOUT_S)
    await_that(lambda: client.info("replication")["master_link_status"] == "up")
    store = store_at(server.url, wait_replicas=1)
    assert list(store.put([score("P1")])) == [True]
    assert client.get(score_key(1, "P1")) == encode(score("P1"))

    with stopped(replica), pytest.raises(BackendUnavailable, match="only 0 replicas of 1"):
        store.put([score("P2")])
    await_that(lambda: client.get(score_key(1, "P2")) == encode(score("P2")))
    assert list(store.put([score("P2")])) == [True]
    client.close()
    store.close()
    replica.kill()


def test_a_slot_is_followed_while_it_moves_and_afterwards(cluster: ValkeyCluster) -> None:
    store = store_at(cluster.url)
    store.put([score(f"P{number}") for number in range(50)])
    client: Any = connect(cluster.url, TIMEOUT_S)
    slot, old = client.keyslot(score_key(1, "new")), client.get_node_from_key(score_key(1, "new"))
    new = next(node for node in client.get_primaries() if node.name != old.name)
    ids = {
        node.name: client.execute_command("CLUSTER MYID", target_nodes=node)
        for node in client.get_primaries()
    }

    def set_slot(state: str, at: Any, of: Any) -> None:
        client.get_redis_connection(at).execute_command("CLUSTER SETSLOT", slot, state, ids[of.name])

    set_slot("IMPORTING", new, old)
    set_slot("MIGRATING", old, new)
    assert list(store.put([score("new"), score("P1", 2)])) == [True, True]
    for node in (new, old):
        set_slot("NODE", node, new)
    assert list(store.put([score("new"), score("new", 2), score("P2", 2)])) == [True, True, True]

    assert client.get_redis_connection(new).get(score_key(1, "new")) == encode(score("new", 2))
    store.close()
    client.close()


def test_a_hung_master_ends_a_write_in_time_and_its_replica_takes_over(cluster: ValkeyCluster) -> None:
    store = store_at(cluster.url, timeout_s=0.5)
    entries = [score(f"P{number}") for number in range(100)]
    store.put(entries)
    longest, began = 0.0, time.monotonic()
    with stopped(_master_of(cluster, "P1")):
        while True:
            asked = time.monotonic()
            try:
                store.put(entries)
                break
            except BackendUnavailable:
                longest = max(longest, time.monotonic() - asked)
                assert time.monotonic() - began < FAILOVER_S
                time.sleep(0.05)
    assert 0.4 < longest < 2 * 0.5 + 0.5
    store.close()


def test_a_second_put_makes_good_what_a_cluster_forgot_with_its_master(cluster: ValkeyCluster) -> None:
    """What an asynchronous failover forgets was acknowledged; `adgauge reconcile` puts it again."""
    store, careful = store_at(cluster.url), store_at(cluster.url, wait_replicas=1)
    written = [score(f"P{number}") for number in range(2000)]
    careful.put(written)
    master, replica = _shard_of(cluster, "P0")
    with stopped(replica):
        _cut_replication(master)
        unsafe = [score(f"Q{number}") for number in range(500)]
        assert all(store.put(unsafe))
        with pytest.raises(BackendUnavailable, match="only 0 replicas of 1"):
            careful.put([score("P0", 2)])
        master.kill()
    began, rest = time.monotonic(), [score(f"R{number}") for number in range(500)]
    _put_until_stored(store, rest)
    failover_s = time.monotonic() - began

    reader = ScoreReader(connect(cluster.url, TIMEOUT_S), time.monotonic)
    lost = _missing(reader, written + unsafe + rest)
    log.info("writes went on after %.1f s; %d of %d unsafe ones lost", failover_s, len(lost), len(unsafe))
    assert lost
    assert set(lost) < set(unsafe)
    store.put(lost)
    assert _missing(reader, written + unsafe + rest) == []
    for each in (store, careful, reader):
        each.close()


def _put_until_stored(store: RedisScoreStore, entries: list[Score]) -> None:
    deadline = time.monotonic() + FAILOVER_S
    while True:
        try:
            store.put(entries)
            return
        except BackendUnavailable:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _cut_replication(master: Valkey) -> None:
    """What is written from now on reaches a replica only once it connects again."""
    with redis.Redis.from_url(master.url) as admin:
        admin.client_kill_filter(_type="replica")


def _missing(reader: ScoreReader, written: list[Score]) -> list[Score]:
    scores = reader.get([each.product_id for each in written], generation=1).scores
    return [each for each in written if scores[each.product_id] is None]


def _master_of(cluster: ValkeyCluster, product_id: str) -> Valkey:
    return _shard_of(cluster, product_id)[0]


def _shard_of(cluster: ValkeyCluster, product_id: str) -> tuple[Valkey, Valkey]:
    """Master and replica."""
    with RedisCluster.from_url(cluster.url) as client:
        master, replica = client.nodes_manager.slots_cache[client.keyslot(score_key(1, product_id))]
        return cluster.node_at(master.port), cluster.node_at(replica.port)
