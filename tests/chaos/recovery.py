"""How long the workers needed after each fault, and whether their memory grew: computed from samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from tests.chaos.schedule import Fault, Kind
from tests.chaos.watch import Memory, Progress

SETTLED_S = 30.0
"""A process that is younger still grows to its working size."""
TELLING_S = 45.0
"""Of fewer samples nothing is said; every run of `make test` and `make chaos` has more."""
GROWTH = 1.15
"""Memory of the last third over that of the first: what is more is not flat."""


@dataclass(frozen=True)
class Struck:
    """A fault as it happened; `lifted_s` is when the server that had been killed answered again."""

    fault: Fault
    began_s: float
    lifted_s: float


@dataclass(frozen=True)
class Recovery:
    """Seconds until each partition with lag committed again; None: it never did.

    Where another fault struck before that, the time counts from the end of the last of them.
    """

    kind: Kind
    target: str
    seconds: float | None


def recoveries(struck: Sequence[Struck], samples: Sequence[Progress]) -> list[Recovery]:
    """One for each fault, in their order."""
    return [Recovery(each.fault.kind, each.fault.target, _seconds(each, struck, samples)) for each in struck]


def longest(found: Sequence[Recovery]) -> dict[Kind, float | None]:
    """By kind; None where one never recovered."""
    by_kind: dict[Kind, float | None] = {}
    for each in found:
        known = by_kind.setdefault(each.kind, each.seconds)
        if known is not None and (each.seconds is None or each.seconds > known):
            by_kind[each.kind] = each.seconds
    return by_kind


def peak_bytes(samples: Sequence[Memory]) -> int:
    """The most that one worker held."""
    return max((sample.bytes for sample in samples), default=0)


def growth(samples: Sequence[Memory], worker: str) -> float | None:
    """What a worker held in the last third of the samples over what it held in the first.

    None: they cover less than TELLING_S.
    """
    settled = _settled([sample for sample in samples if sample.worker == worker])
    if not settled or settled[-1].at_s - settled[0].at_s < TELLING_S:
        return None
    held = [sample.bytes for sample in settled]
    third = len(held) // 3
    return median(held[-third:]) / median(held[:third])


def _settled(samples: Sequence[Memory]) -> list[Memory]:
    born: dict[int, float] = {}
    return [
        sample for sample in samples if sample.at_s - born.setdefault(sample.pid, sample.at_s) >= SETTLED_S
    ]


def _seconds(own: Struck, struck: Sequence[Struck], samples: Sequence[Progress]) -> float | None:
    since = own.lifted_s
    while (recovered := _recovered(since, samples)) is not None:
        later = [each.lifted_s for each in struck if own.began_s < each.began_s < recovered]
        if not (again := [lifted for lifted in later if lifted > since]):
            return recovered - since
        since = max(again)
    return None


def _recovered(since: float, samples: Sequence[Progress]) -> float | None:
    """When each partition that had lag at `since` had committed after it."""
    before = [sample for sample in samples if sample.at_s <= since]
    after = [sample for sample in samples if sample.at_s > since]
    start, rest = (before[-1], after) if before else (after[0], after[1:]) if after else (None, [])
    if start is None:
        return None
    waiting = start.behind
    if not waiting:
        return since
    for sample in rest:
        waiting = {number: at for number, at in waiting.items() if sample.committed[number] <= at}
        if not waiting:
            return sample.at_s
    return None
