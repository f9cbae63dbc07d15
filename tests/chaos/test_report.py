from dataclasses import replace

import pytest

from tests.chaos.checker import Verdict
from tests.chaos.plans import ALWAYS, EVERYSEC
from tests.chaos.recovery import GROWTH, Recovery
from tests.chaos.report import PEAK_BYTES, RECOVERY_S, figures, problems, table
from tests.chaos.run import Result
from tests.chaos.schedule import Kind

SOUND = Result(
    plan=ALWAYS,
    verdict=Verdict(produced=10, scored=5, superseded=2, deleted=2, rejected=1, twice=3),
    before=None,
    recoveries=(Recovery(Kind.TRITON_KILLED, "triton", 4.0), Recovery(Kind.TRITON_KILLED, "triton", 7.5)),
    peak_bytes=300 * 2**20,
    growth=1.02,
    departures=(),
    crashes=(),
    seconds=90.0,
)


def test_a_sound_run_has_no_problems_and_its_table_says_what_happened() -> None:
    repaired = replace(SOUND, plan=EVERYSEC, before=Verdict(lost=4, stale=3))
    lines = dict(line.split("  ", 1) for line in table([SOUND, repaired]).splitlines())

    assert problems(SOUND) == []
    assert lines["produced"].split() == ["10", "10"]
    assert lines["work done twice"].split() == ["3", "3"]
    assert lines["lost before reconcile"].split() == ["-", "7"]
    assert lines["recovery: triton killed"].split() == ["7.5", "s", "7.5", "s"]
    assert lines["peak memory of a worker"].split() == ["300", "MiB", "300", "MiB"]


@pytest.mark.parametrize(
    ("result", "problem"),
    [
        (replace(SOUND, verdict=replace(SOUND.verdict, lost=1)), "1 lost"),
        (replace(SOUND, verdict=replace(SOUND.verdict, stale=2)), "2 stale"),
        (replace(SOUND, verdict=replace(SOUND.verdict, undecided=3)), "3 undecided"),
        (replace(SOUND, verdict=replace(SOUND.verdict, strangers=4)), "4 strangers"),
        (replace(SOUND, verdict=replace(SOUND.verdict, scored=4)), "the outcomes do not add up"),
        (replace(SOUND, verdict=Verdict()), "the outcomes do not add up"),
        (replace(SOUND, recoveries=(Recovery(Kind.REBALANCE, "guest", None),)), "no recovery from: worker"),
        (
            replace(SOUND, recoveries=(Recovery(Kind.REBALANCE, "guest", RECOVERY_S + 1),)),
            "recovery after 31.0 s from: worker joins",
        ),
        (replace(SOUND, growth=GROWTH + 0.1), "memory grew by"),
        (replace(SOUND, peak_bytes=PEAK_BYTES + 2**20), "a worker held 513 MiB"),
    ],
)
def test_whatever_is_not_as_promised_is_a_problem(result: Result, problem: str) -> None:
    (found,) = problems(result)

    assert problem in found


def test_figures_are_numbers_by_name() -> None:
    found = figures(SOUND)

    assert found["recovery_s"] == {"triton_killed": 7.5}
    assert (found["lost"], found["longest_recovery_s"], found["peak_mib"]) == (0, 7.5, 300)
