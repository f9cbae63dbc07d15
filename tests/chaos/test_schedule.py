from collections import Counter
from itertools import pairwise

import pytest

from tests.chaos.plans import SHORT
from tests.chaos.run import CALM_S
from tests.chaos.schedule import HAZARDS, REPAIRED_S, VETERAN, WARM_UP_S, Fault, Kind, schedule


def standard(seed: int, *, losses: bool = False) -> tuple[Fault, ...]:
    return schedule(seed, 44, 860.0, losses=losses)


def test_a_seed_gives_one_schedule() -> None:
    assert standard(7) == standard(7)
    assert standard(7) != standard(8)


@pytest.mark.parametrize("seed", range(20))
def test_a_standard_run_holds_every_kind_of_fault_and_every_link(seed: int) -> None:
    faults = standard(seed)

    assert len(faults) == 44
    assert {fault.kind for fault in faults} == set(Kind) - {Kind.REDIS_LOST}
    wanted = {(hazard.kind, hazard.targets[0]) for hazard in HAZARDS if len(hazard.targets) == 1}
    assert wanted <= {(fault.kind, fault.target) for fault in faults}


@pytest.mark.parametrize("seed", range(20))
def test_one_process_has_one_fault_at_a_time_and_different_ones_overlap(seed: int) -> None:
    faults = standard(seed)
    for target in {fault.target for fault in faults}:
        own = [fault for fault in faults if fault.target == target]
        assert all(a.lifted_s + REPAIRED_S <= b.at_s for a, b in pairwise(own))
    overlaps = sum(later.at_s < earlier.lifted_s for earlier, later in pairwise(faults))

    assert 3 <= overlaps <= len(faults) // 3
    assert all(WARM_UP_S <= fault.at_s <= 860.0 for fault in faults)


@pytest.mark.parametrize("seed", range(20))
def test_a_run_with_losses_ends_with_one(seed: int) -> None:
    faults = standard(seed, losses=True)

    assert {fault.kind for fault in faults} == set(Kind)
    assert faults[-1].kind is Kind.REDIS_LOST


@pytest.mark.parametrize("seed", range(20))
def test_a_short_run_takes_no_kind_twice(seed: int) -> None:
    faults = schedule(seed, 9, 110.0, losses=False)

    assert set(Counter(fault.kind for fault in faults).values()) == {1}


def test_the_short_run_among_the_tests_strikes_everything() -> None:
    faults = schedule(SHORT.seed, SHORT.faults, SHORT.records / SHORT.rate - CALM_S, losses=SHORT.losses)
    targets = {fault.target for fault in faults}

    assert {"broker", "redis", "triton", "guest", "link redis", "link kafka"} <= targets
    assert {
        Kind.BROKER_KILLED,
        Kind.REDIS_KILLED,
        Kind.TRITON_KILLED,
        Kind.STUB_KILLED,
        Kind.WORKER_KILLED,
    } <= {fault.kind for fault in faults}


def test_the_veteran_is_never_killed() -> None:
    killed = {
        fault.target for seed in range(50) for fault in standard(seed) if fault.kind is Kind.WORKER_KILLED
    }

    assert VETERAN not in killed
    assert len(killed) == 2
