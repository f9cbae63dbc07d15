import pytest

from tests.chaos.recovery import SETTLED_S, Struck, growth, longest, peak_bytes, recoveries
from tests.chaos.schedule import Fault, Kind
from tests.chaos.watch import Memory, Progress


def progress(at_s: float, *committed: int, end: int = 100) -> Progress:
    return Progress(at_s, dict(enumerate(committed)), dict.fromkeys(range(len(committed)), end))


def struck(began_s: float, lifted_s: float, kind: Kind = Kind.TRITON_KILLED) -> Struck:
    return Struck(Fault(began_s, kind, "triton", lifted_s - began_s), began_s, lifted_s)


def seconds(faults: list[Struck], *samples: Progress) -> list[float | None]:
    return [each.seconds for each in recoveries(faults, samples)]


def test_recovery_lasts_until_the_last_partition_with_lag_has_committed() -> None:
    samples = [progress(9, 5, 5), progress(11, 6, 5), progress(12, 7, 5), progress(13, 8, 6)]

    assert seconds([struck(8, 10)], *samples) == [3.0]


def test_a_partition_without_lag_has_nothing_to_recover() -> None:
    assert seconds([struck(8, 10)], progress(9, 100, 5), progress(11, 100, 6)) == [1.0]
    assert seconds([struck(8, 10)], progress(9, 100, 100), progress(11, 100, 100)) == [0.0]


def test_what_never_commits_again_never_recovered() -> None:
    assert seconds([struck(8, 10)], progress(9, 5), progress(100, 5)) == [None]
    assert seconds([struck(8, 10)]) == [None]


def test_a_fault_that_strikes_meanwhile_starts_the_clock_again() -> None:
    samples = [progress(9, 5), progress(19, 5), progress(26, 6)]

    assert seconds([struck(8, 10), struck(12, 20)], *samples) == [6.0, 6.0]


def test_a_fault_that_was_over_before_does_not() -> None:
    samples = [progress(9, 5), progress(19, 5), progress(26, 6)]

    assert seconds([struck(8, 20), struck(12, 13)], *samples)[0] == 6.0


def test_the_longest_recovery_is_kept_by_kind() -> None:
    faults = [struck(8, 10), struck(20, 22), struck(30, 31, Kind.BROKER_KILLED)]
    samples = [progress(9, 5), progress(12, 6), progress(21, 6), progress(27, 7), progress(29, 7)]

    assert longest(recoveries(faults, samples)) == {Kind.TRITON_KILLED: 5.0, Kind.BROKER_KILLED: None}


def test_growth_compares_thirds_and_leaves_out_the_young() -> None:
    young = [Memory(at, "w", 1, 10) for at in range(int(SETTLED_S))]
    held = [100, 100, 105, 105, 120, 120]
    old = [Memory(SETTLED_S + 60 * at, "w", 1, each) for at, each in enumerate(held)]
    others = [Memory(1000.0, "v", 2, 999)]

    assert growth(young + old + others, "w") == pytest.approx(1.2)
    assert growth(young, "w") is None
    assert growth(young + old[:1], "w") is None
    assert peak_bytes(old + others) == 999
