"""Strikes and lifts the faults of a schedule, each on a thread of its own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from tests.chaos.recovery import Struck
from tests.chaos.schedule import Fault, Kind
from tests.chaos.workers import go_on
from tests.chaos.world import World

TOGETHER = 8
"""Faults that may last at the same time, more than a schedule ever has."""

Lift = Callable[[], object]
Strike = Callable[[World, str], Lift]
"""Does the harm to a target and returns what ends it, when what was killed answers again."""


def inflict(world: World, faults: Sequence[Fault], say: Callable[[str], object]) -> list[Struck]:
    """Return when all are lifted; raises what went wrong in a way nobody planned.

    A target has one fault at a time: while a killed server still starts the next one waits.
    """
    began_s = time.monotonic()
    locks = {fault.target: threading.Lock() for fault in faults}
    with ThreadPoolExecutor(TOGETHER, thread_name_prefix="fault") as pool:
        running: list[Future[Struck]] = []
        for fault in faults:
            time.sleep(max(began_s + fault.at_s - time.monotonic(), 0.0))
            world.check()
            for failed in (each for each in running if each.done() and each.exception()):
                failed.result()
            say(f"{fault.at_s:6.1f} s  {fault.kind} ({fault.target}, {fault.duration_s:.1f} s)")
            running.append(pool.submit(_one, world, fault, locks[fault.target]))
        return [each.result() for each in running]


def _one(world: World, fault: Fault, lock: threading.Lock) -> Struck:
    with lock:
        began_s = time.monotonic()
        lift = STRIKES[fault.kind](world, fault.target)
        time.sleep(fault.duration_s)
        lift()
        return Struck(fault, began_s, time.monotonic())


def _kill_worker(world: World, target: str) -> Lift:
    world.worker(target).kill()
    return _nothing


def _stop_worker(world: World, target: str) -> Lift:
    stopped = world.worker(target).stop()
    return lambda: go_on(stopped)


def _kill_triton(world: World, _: str) -> Lift:
    world.triton.kill()
    return world.triton.start


def _stop_triton(world: World, _: str) -> Lift:
    stopped = world.triton.stop()
    return lambda: go_on(stopped)


def _kill_stub(world: World, _: str) -> Lift:
    world.triton.kill_stub()
    return _nothing  # healing is the product's


def _stop_stub(world: World, _: str) -> Lift:
    stopped = world.triton.stop_stub()
    return lambda: go_on(stopped)


def _kill_redis(world: World, _: str) -> Lift:
    world.redis.kill()
    return world.redis.start


def _stop_redis(world: World, _: str) -> Lift:
    stopped = world.redis.stop()
    return lambda: go_on(stopped)


def _lose_in_redis(world: World, _: str) -> Lift:
    world.redis.kill_and_lose()
    return world.redis.start


def _kill_broker(world: World, _: str) -> Lift:
    world.broker.kill()
    return world.broker.start


def _stop_broker(world: World, _: str) -> Lift:
    stopped = world.broker.stop()
    return lambda: go_on(stopped)


def _cut(world: World, target: str) -> Lift:
    link = world.link(target)
    link.cut()
    return link.restore


def _hang(world: World, target: str) -> Lift:
    link = world.link(target)
    link.hang()
    return link.restore


def _slow(world: World, target: str) -> Lift:
    link = world.link(target)
    link.slow()
    return link.restore


def _join(world: World, _: str) -> Lift:
    return world.add_worker().close


def _nothing() -> None:
    return


STRIKES: Mapping[Kind, Strike] = {
    Kind.WORKER_KILLED: _kill_worker,
    Kind.WORKER_STOPPED: _stop_worker,
    Kind.WORKER_EXPIRED: _stop_worker,
    Kind.TRITON_KILLED: _kill_triton,
    Kind.TRITON_STOPPED: _stop_triton,
    Kind.STUB_KILLED: _kill_stub,
    Kind.STUB_STOPPED: _stop_stub,
    Kind.REDIS_KILLED: _kill_redis,
    Kind.REDIS_STOPPED: _stop_redis,
    Kind.REDIS_LOST: _lose_in_redis,
    Kind.BROKER_KILLED: _kill_broker,
    Kind.BROKER_STOPPED: _stop_broker,
    Kind.LINK_CUT: _cut,
    Kind.LINK_HUNG: _hang,
    Kind.LINK_SLOW: _slow,
    Kind.REBALANCE: _join,
}
