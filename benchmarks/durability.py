"""What the durability of Redis costs a batch of scores; writes docs/figures/durability.json.

    python -m benchmarks.durability

Real Valkey servers on this machine's disk and loopback, asked in turn, so that all meet the same noise. The
time is that of `RedisScoreStore.put`, one pipelined trip with a batch of the scorer's default size.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from statistics import median
from typing import Literal

from adgauge.adapters.redis import RedisScoreStore, connect
from adgauge.records import Order, Score
from benchmarks.record import write_figures
from services.embedded.cache import Valkey
from services.embedded.workspace import Workspace

ROWS = 64
"""The scorer's default batch."""
ROUNDS, WARM_UP = 400, 20
TIMEOUT_S = 5.0


def main() -> None:
    """Measure and write."""
    with ExitStack() as stack:
        workspace = stack.enter_context(Workspace())
        stores = {
            "everysec": stack.enter_context(_store(workspace, "everysec")),
            "always": stack.enter_context(_store(workspace, "always")),
            "everysec_wait_1": stack.enter_context(_store(workspace, "replicated", replicas=1)),
        }
        figures = _figures(_measured(stores))
    print(json.dumps(figures, indent=2))
    write_figures("durability", "make proof", figures)


@contextmanager
def _store(workspace: Workspace, name: str, *, replicas: int = 0) -> Iterator[RedisScoreStore]:
    """A store on a server of its own, with so many replicas to wait for."""
    at_once = ["--repl-diskless-sync-delay", "0"]
    fsync: Literal["always", "everysec"] = "always" if name == "always" else "everysec"
    server = Valkey(workspace, name, appendfsync=fsync, options=at_once)
    server.start()
    for number in range(replicas):
        master = ["--replicaof", f"127.0.0.1 {server.port}"]
        Valkey(workspace, f"{name}-{number}", appendfsync="everysec", options=master).start()
    client = connect(server.url, TIMEOUT_S)
    store = RedisScoreStore(client, 1, 3600.0, lambda: 0.5, wait_replicas=replicas, wait_s=TIMEOUT_S / 2)
    yield store
    store.close()


def _measured(stores: Mapping[str, RedisScoreStore]) -> Mapping[str, list[float]]:
    """Seconds of each put, by store; a replica has its data once the first put returns."""
    seconds: dict[str, list[float]] = {name: [] for name in stores}
    for number in range(WARM_UP + ROUNDS):
        entries = [_score(f"P{number}-{row}") for row in range(ROWS)]
        for name, store in stores.items():
            began = time.perf_counter()
            store.put(entries)
            seconds[name].append(time.perf_counter() - began)
    return {name: each[WARM_UP:] for name, each in seconds.items()}


def _score(product_id: str) -> Score:
    return Score(product_id, 3.0, Order(1, 0), 2, frozenset(), "ab" * 32)


def _figures(seconds: Mapping[str, list[float]]) -> dict[str, object]:
    base = median(seconds["everysec"])
    return {
        "rows": ROWS,
        "rounds": ROUNDS,
        "median_ms": {name: round(median(each) * 1e3, 3) for name, each in seconds.items()},
        "p99_ms": {
            name: round(sorted(each)[int(len(each) * 0.99)] * 1e3, 2) for name, each in seconds.items()
        },
        "times_everysec": {name: round(median(each) / base, 2) for name, each in seconds.items()},
    }


if __name__ == "__main__":
    main()
