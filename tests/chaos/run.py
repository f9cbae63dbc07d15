"""One run: the world starts, records are published, faults strike and are lifted, the judge judges."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Verdict, check
from tests.chaos.commands import reconcile, until
from tests.chaos.facts import Run
from tests.chaos.faults import inflict
from tests.chaos.plans import Plan
from tests.chaos.publisher import Publisher
from tests.chaos.recovery import Recovery, growth, peak_bytes, recoveries
from tests.chaos.schedule import VETERAN, schedule
from tests.chaos.watch import Offsets, Watch
from tests.chaos.workers import Departure
from tests.chaos.world import (
    DEAD_LETTERS,
    GENERATION,
    GROUP,
    PRODUCTS,
    SCORES,
    World,
    running_world,
)

FIRST_COMMIT_S = 90.0
"""Three workers start at once, and then join one after the other."""
LAST_COMMIT_S = 180.0
"""From the last record to the last commit: a backlog may have to be worked off."""
CALM_S = 10.0
"""The publisher still publishes so long after the last fault, so that its recovery can be seen."""
POLL_S = 0.25

Say = Callable[[str], object]


@dataclass(frozen=True)
class Result:
    """What came of it; `before` is the verdict before `adgauge reconcile`, where it was needed."""

    plan: Plan
    verdict: Verdict
    before: Verdict | None
    recoveries: tuple[Recovery, ...]
    peak_bytes: int
    growth: float | None
    departures: tuple[Departure, ...]
    crashes: tuple[Departure, ...]
    seconds: float


def perform(plan: Plan, kept: Path, say: Say) -> Result:
    """Run it; logs and ledger are in `kept` afterwards. Raises ServerFailed when the run itself fails."""
    began_s = time.monotonic()
    with running_world(plan.appendfsync, cached=plan.cached) as world:
        try:
            return _perform(plan, world, began_s, say)
        finally:
            _keep(world.workspace.folder, kept)


def _perform(plan: Plan, world: World, began_s: float, say: Say) -> Result:
    ledger = world.workspace.folder / "ledger.jsonl"
    faults = schedule(plan.seed, plan.faults, plan.records / plan.rate - CALM_S, losses=plan.losses)
    watch = Watch(world.broker.bootstrap, PRODUCTS, GROUP, world.everybody)
    publisher = Publisher(
        world.broker.bootstrap,
        PRODUCTS,
        ledger,
        seed=plan.seed,
        products=plan.products,
        records=plan.records,
        rate=plan.rate,
        distinct_titles=plan.distinct_titles,
        slow_image_url=world.images.url,
    )
    world.start_workers()
    with watch:
        publisher.start()
        until(lambda: _all_commit(watch), FIRST_COMMIT_S, "not every partition is committed")
        say(f"{plan.name}: all partitions move after {time.monotonic() - began_s:.0f} s")
        struck = inflict(world, faults, say)
        publisher.wait(timeout_s=plan.records / plan.rate)
        publisher.stop()
        say(f"{publisher.acknowledged} records acknowledged")
        _wait_for_the_end(world, say)
    for worker in world.workers.values():
        worker.close()
    before, verdict = _judge(plan, world, ledger, say)
    return Result(
        plan=plan,
        verdict=verdict,
        before=before,
        recoveries=tuple(recoveries(struck, watch.progress)),
        peak_bytes=peak_bytes(watch.memory),
        growth=growth(watch.memory, VETERAN),
        departures=tuple(each for worker in world.everybody() for each in worker.departures),
        crashes=tuple(world.triton.departures),
        seconds=time.monotonic() - began_s,
    )


def _all_commit(watch: Watch) -> bool:
    return bool(watch.progress) and all(watch.progress[-1].committed.values())


def _wait_for_the_end(world: World, say: Say) -> None:
    """Return when the group has committed every record, or nothing more can be expected of it."""
    offsets = Offsets(world.broker.bootstrap, PRODUCTS, GROUP)
    began_s = time.monotonic()
    try:
        while time.monotonic() - began_s < LAST_COMMIT_S:
            if (progress := offsets.now()) is not None and progress.lag == 0:
                say(f"all committed {time.monotonic() - began_s:.1f} s after the last record")
                return
            time.sleep(POLL_S)
        say(f"not all committed {LAST_COMMIT_S:g} s after the last record")  # the judge counts them
    finally:
        offsets.close()


def _judge(plan: Plan, world: World, ledger: Path, say: Say) -> tuple[Verdict | None, Verdict]:
    run = Run(
        ledger=ledger,
        bootstrap=world.broker.bootstrap,
        products_topic=PRODUCTS,
        scores_topic=SCORES,
        dead_letters_topic=DEAD_LETTERS,
        group=GROUP,
        redis_url=world.redis.url,
        generation=GENERATION,
    )
    verdict = check(run)
    if not plan.losses:
        return None, verdict
    say(f"before reconcile: lost {verdict.lost}, stale {verdict.stale}")
    direct = {
        "ADGAUGE_KAFKA_BOOTSTRAP": world.broker.bootstrap,
        "ADGAUGE_REDIS_URL": world.redis.url,
        "ADGAUGE_TRITON_URL": f"127.0.0.1:{world.triton.port}",
    }
    say(f"reconcile: {reconcile(world.settings | direct, world.workspace.folder)}")
    return verdict, check(run)


def _keep(folder: Path, kept: Path) -> None:
    """Copy what tells a story: logs and the ledger, not the servers' data."""
    kept.mkdir(parents=True, exist_ok=True)
    for file in [*folder.glob("*.log"), *folder.glob("*.jsonl")]:
        shutil.copy(file, kept)
