"""Tritonserver stopped, or hung, for a long time under load: everybody waits, and goes on when it is back."""

import time
from dataclasses import dataclass
from typing import Literal

from services.scorer.settings import ScorerSettings
from tests.chaos.checker import Verdict
from tests.chaos.commands import until
from tests.chaos.recovery import Struck, peak_bytes, recoveries
from tests.chaos.report import PEAK_BYTES
from tests.chaos.schedule import Fault, Kind
from tests.chaos.watch import Progress
from tests.chaos.workers import go_on
from tests.chaos.world import PARTITIONS, World
from tests.outages.load import Load, Say

How = Literal["stopped", "hung"]

RESUMES_WITHIN_S = 5.0
READY_AGAIN_S = 30.0
STEADY_S = 3.0
_LIMITS = ScorerSettings(generation=1)
MOST_RECORDS = _LIMITS.in_flight_records + _LIMITS.batch_records
"""The limit is looked at after each poll, which brings as many as a batch has."""
MOST_BYTES = _LIMITS.in_flight_bytes + 2 * PARTITIONS * 2**20
"""As the runner's docstring reckons."""


@dataclass(frozen=True)
class Away:
    """What one outage did. Seconds count from its begin (`not_ready_s`) or its end, for the slowest worker.

    `moves_s`: until any committed offset moves. `all_move_s`: until each partition with lag has committed.
    `held_bytes` is the most that a worker held meanwhile, `peak_bytes` the most until all was caught up.
    """

    how: How
    seconds: float
    backlog: int
    rebalances: int
    replaced: int
    most_records: int
    most_bytes: int
    held_bytes: int
    peak_bytes: int
    not_ready_s: float | None
    ready_s: float | None
    moves_s: float | None
    all_move_s: float | None
    caught_up_s: float
    verdict: Verdict


def play(load: Load, how: How, seconds: float, say: Say) -> Away:
    """Take tritonserver away for `seconds` and judge once all is caught up; raises ServerFailed."""
    load.publisher.resume()
    time.sleep(STEADY_S)
    say(f"triton {how} for {seconds:g} s")
    began_s = time.monotonic()
    _be_away(load.world, how, seconds)
    back_s = time.monotonic()
    until(lambda: _ready_s(load, back_s) is not None, READY_AGAIN_S, "a worker is not ready again")
    load.catch_up()
    ended_s = time.monotonic()
    return _away(load, how, (began_s, back_s, ended_s), load.judged())


def problems(away: Away) -> list[str]:
    """The bounds that were missed, in words."""
    name = f"triton {away.how} for {away.seconds:.0f} s"
    found = []
    if away.rebalances or away.replaced:
        found.append(f"{name}: {away.rebalances} rebalances, {away.replaced} workers replaced")
    if away.most_records > MOST_RECORDS or away.most_bytes > MOST_BYTES:
        found.append(f"{name}: {away.most_records} records, {away.most_bytes} bytes in flight")
    if away.peak_bytes > PEAK_BYTES:
        found.append(f"{name}: a worker held {away.peak_bytes / 2**20:.0f} MiB")
    if away.not_ready_s is None:
        found.append(f"{name}: a worker stayed ready")
    if away.all_move_s is None or away.all_move_s > RESUMES_WITHIN_S:
        found.append(f"{name}: offsets of all partitions moved {_s(away.all_move_s)} after its return")
    if not away.verdict.sound:
        found.append(f"{name}: {away.verdict.lost} lost, {away.verdict.stale} stale, or not all decided")
    return found


def rows(away: Away) -> dict[str, str]:
    """What the table says."""
    return {
        "records published meanwhile": f"{away.backlog:,}",
        "rebalances": f"{away.rebalances}",
        "not ready after": _s(away.not_ready_s),
        "ready again after its return": _s(away.ready_s),
        "first commit after its return": _s(away.moves_s),
        "all partitions commit": _s(away.all_move_s),
        "caught up": _s(away.caught_up_s),
        "most in flight": f"{away.most_records} records, {away.most_bytes / 2**20:.1f} MiB",
        "most memory of a worker meanwhile": f"{away.held_bytes / 2**20:.0f} MiB",
        "most memory of a worker catching up": f"{away.peak_bytes / 2**20:.0f} MiB",
        "lost, stale": f"{away.verdict.lost}, {away.verdict.stale} of {away.verdict.produced:,}",
    }


def figures(away: Away) -> dict[str, object]:
    """Numbers by name, for docs/figures."""
    return {
        "seconds": round(away.seconds),
        "backlog": away.backlog,
        "rebalances": away.rebalances,
        "workers_replaced": away.replaced,
        "most_records_in_flight": away.most_records,
        "most_mib_in_flight": round(away.most_bytes / 2**20, 1),
        "held_mib": round(away.held_bytes / 2**20),
        "peak_mib": round(away.peak_bytes / 2**20),
        "not_ready_s": round(away.not_ready_s or 0.0, 1),
        "ready_s": round(away.ready_s or 0.0, 1),
        "first_commit_s": round(away.moves_s or 0.0, 1),
        "all_commit_s": round(away.all_move_s or 0.0, 1),
        "caught_up_s": round(away.caught_up_s, 1),
        "produced": away.verdict.produced,
        "lost": away.verdict.lost,
        "stale": away.verdict.stale,
    }


def _be_away(world: World, how: How, seconds: float) -> None:
    """Return when it answers again."""
    if how == "hung":
        stopped = world.triton.stop()
        time.sleep(seconds)
        go_on(stopped)
        return
    world.triton.kill()
    time.sleep(seconds)
    world.triton.start()


def _away(load: Load, how: How, times: tuple[float, float, float], verdict: Verdict) -> Away:
    began_s, back_s, ended_s = times
    meanwhile = load.readings.between(began_s, ended_s)
    fault = Fault(0.0, Kind.TRITON_KILLED, "triton", back_s - began_s)
    (recovery,) = recoveries([Struck(fault, began_s, back_s)], load.watch.progress)
    return Away(
        how=how,
        seconds=back_s - began_s,
        backlog=_at(load, back_s).lag,
        rebalances=_rebalances(load, began_s, ended_s),
        replaced=sum(len(worker.departures) for worker in load.world.everybody()),
        most_records=round(max(each.records for each in meanwhile)),
        most_bytes=round(max(each.bytes for each in meanwhile)),
        held_bytes=_peak(load, began_s, back_s),
        peak_bytes=_peak(load, began_s, ended_s),
        not_ready_s=_not_ready_s(load, began_s, back_s),
        ready_s=_ready_s(load, back_s),
        moves_s=_moves_s(load, back_s),
        all_move_s=recovery.seconds,
        caught_up_s=ended_s - back_s,
        verdict=verdict,
    )


def _peak(load: Load, began_s: float, ended_s: float) -> int:
    return peak_bytes([each for each in load.watch.memory if began_s <= each.at_s <= ended_s])


def _rebalances(load: Load, began_s: float, ended_s: float) -> int:
    """How often any worker's assignment changed from just before the outage until all was committed."""
    before = {each.worker: each.rebalances for each in load.readings.between(0.0, began_s)}
    after = {each.worker: each.rebalances for each in load.readings.between(began_s, ended_s)}
    return round(sum(after[worker] - before[worker] for worker in before))


def _not_ready_s(load: Load, began_s: float, back_s: float) -> float | None:
    """Seconds until the last worker says that it is not ready; None when one never does."""
    first: dict[str, float] = {}
    for each in load.readings.between(began_s, back_s):
        if not each.ready:
            first.setdefault(each.worker, each.at_s)
    return max(first.values()) - began_s if len(first) == len(load.world.workers) else None


def _ready_s(load: Load, back_s: float) -> float | None:
    """Seconds until the last worker is ready again; None while one is not."""
    first: dict[str, float] = {}
    for each in load.readings.between(back_s, time.monotonic()):
        if each.ready:
            first.setdefault(each.worker, each.at_s)
    return max(first.values()) - back_s if len(first) == len(load.world.workers) else None


def _moves_s(load: Load, back_s: float) -> float | None:
    start = sum(_at(load, back_s).committed.values())
    later = (each for each in load.watch.progress if each.at_s > back_s)
    return next((each.at_s - back_s for each in later if sum(each.committed.values()) > start), None)


def _at(load: Load, at_s: float) -> Progress:
    """The last sample before that."""
    return [each for each in load.watch.progress if each.at_s <= at_s][-1]


def _s(seconds: float | None) -> str:
    return "never" if seconds is None else f"{seconds:.1f} s"
