"""A master of a Redis Cluster dies with writes that it had acknowledged and its replica never got."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from redis.cluster import RedisCluster

from services.embedded.cache import Valkey, ValkeyCluster
from tests.chaos.checker import Verdict
from tests.chaos.commands import reconcile, until
from tests.chaos.world import World, running_world
from tests.outages.load import Load, Say

UNSAFE_S = 4.0
"""So long the master acknowledges what nobody else has."""
FAILOVER_S = 30.0


@dataclass(frozen=True)
class Forgotten:
    """The verdicts before and after `adgauge reconcile`; seconds until the replica had taken over."""

    failover_s: float
    before: Verdict
    after: Verdict


@contextmanager
def world_with_cluster() -> Iterator[tuple[World, ValkeyCluster]]:
    """Workers keep their scores in a cluster; raises ServerFailed."""
    with running_world("everysec", cached=False) as world:
        cluster = ValkeyCluster(world.workspace)
        cluster.start()
        world.settings["ADGAUGE_REDIS_URL"] = cluster.url
        yield world, cluster


def play(load: Load, cluster: ValkeyCluster, calm_s: float, say: Say) -> Forgotten:
    """Kill a master with load for `calm_s` before and after, judge, reconcile, judge. Raises ServerFailed."""
    load.publisher.resume()
    time.sleep(calm_s)
    failover_s = _lose_a_master(cluster)
    say(f"a replica took over {failover_s:.1f} s after its master's death")
    time.sleep(calm_s)
    before = load.judged()
    say(f"before reconcile: lost {before.lost}, stale {before.stale} of {before.produced}")
    said = reconcile(load.world.settings, load.world.workspace.folder)
    say(f"reconcile: {said}")
    return Forgotten(failover_s, before, load.judged())


def problems(found: Forgotten) -> list[str]:
    """The bounds that were missed, in words."""
    missed = []
    if not found.before.lost + found.before.stale:
        missed.append("redis cluster: nothing was lost with the master, so nothing is proven")
    if not found.after.sound:
        missed.append(f"redis cluster: {found.after.lost} lost, {found.after.stale} stale after reconcile")
    return missed


def rows(found: Forgotten) -> dict[str, str]:
    """What the table says."""
    return {
        "replica took over after": f"{found.failover_s:.1f} s",
        "lost, stale before reconcile": f"{found.before.lost}, {found.before.stale}",
        "lost, stale": f"{found.after.lost}, {found.after.stale} of {found.after.produced:,}",
    }


def figures(found: Forgotten) -> dict[str, object]:
    """Numbers by name, for docs/figures."""
    return {
        "failover_s": round(found.failover_s, 1),
        "unsafe_s": UNSAFE_S,
        "lost_before_reconcile": found.before.lost,
        "stale_before_reconcile": found.before.stale,
        "produced": found.after.produced,
        "lost": found.after.lost,
        "stale": found.after.stale,
    }


def _lose_a_master(cluster: ValkeyCluster) -> float:
    """Kill it with what it alone holds, and start it again; seconds until its replica had taken over."""
    master, replica = _shard(cluster)
    os.kill(replica.process.pid, signal.SIGSTOP)
    try:
        _cut_replication(master)
        time.sleep(UNSAFE_S)
        master.kill()
    finally:
        os.kill(replica.process.pid, signal.SIGCONT)
    killed_s = time.monotonic()
    until(lambda: _role(replica) == "master", FAILOVER_S, "no replica took over")
    failover_s = time.monotonic() - killed_s
    master.start()  # as an orchestrator would: it follows the new master and brings nothing back
    cluster.wait_until_whole()
    return failover_s


def _shard(cluster: ValkeyCluster) -> tuple[Valkey, Valkey]:
    """A master, not the one by which workers find the others, and its replica."""
    with RedisCluster.from_url(cluster.url) as client:
        shards = client.nodes_manager.slots_cache.values()
        master, replica = next(shard for shard in shards if shard[0].port != cluster.nodes[0].port)
        return cluster.node_at(master.port), cluster.node_at(replica.port)


def _cut_replication(master: Valkey) -> None:
    """What is written from now on reaches the replica only once it connects again."""
    with redis.Redis.from_url(master.url) as admin:
        admin.client_kill_filter(_type="replica")


def _role(server: Valkey) -> str:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        return str(client.info("replication")["role"])
