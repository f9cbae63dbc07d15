"""What goes wrong and when: a pure function of the seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

WARM_UP_S = 8.0
"""Nothing goes wrong before: what never worked proves nothing."""
REPAIRED_S = 1.0
"""Between two faults of one process."""
TOGETHER = 5
"""Every so many faults one strikes while the one before it lasts."""
SESSION_S = 10.0
"""The group takes a worker's partitions away when it has been silent for so long."""


class Kind(StrEnum):
    """One way for something to go wrong; the value names it in the table."""

    WORKER_KILLED = "worker killed"
    WORKER_STOPPED = "worker stopped"
    WORKER_EXPIRED = "worker stopped past its session"
    TRITON_KILLED = "triton killed"
    TRITON_STOPPED = "triton stopped"
    STUB_KILLED = "triton's stub killed"
    STUB_STOPPED = "triton's stub stopped"
    REDIS_KILLED = "valkey killed"
    REDIS_STOPPED = "valkey stopped"
    REDIS_LOST = "valkey killed, its last second lost"
    BROKER_KILLED = "broker killed"
    BROKER_STOPPED = "broker stopped"
    LINK_CUT = "link cut"
    LINK_HUNG = "link hung"
    LINK_SLOW = "link slow"
    REBALANCE = "worker joins and leaves"


@dataclass(frozen=True)
class Fault:
    """Begins `at_s` seconds into the run and is lifted `duration_s` later."""

    at_s: float
    kind: Kind
    target: str
    duration_s: float

    @property
    def lifted_s(self) -> float:
        """When what was broken is whole again, as far as we are concerned."""
        return self.at_s + self.duration_s


@dataclass(frozen=True)
class Hazard:
    """A kind of fault with its possible targets; durations in seconds."""

    kind: Kind
    targets: tuple[str, ...]
    shortest_s: float
    longest_s: float


WORKERS = ("worker-0", "worker-1", "worker-2")
VETERAN = WORKERS[-1]
"""Never killed, so that its memory can be followed from the first minute to the last."""
LINKS = ("kafka", "redis", "triton")

HAZARDS = (
    Hazard(Kind.WORKER_KILLED, WORKERS[:-1], 0.0, 0.0),
    Hazard(Kind.WORKER_STOPPED, WORKERS, 2.0, 5.0),
    Hazard(Kind.WORKER_EXPIRED, WORKERS, SESSION_S + 2, SESSION_S + 5),
    Hazard(Kind.TRITON_KILLED, ("triton",), 1.0, 6.0),
    Hazard(Kind.TRITON_STOPPED, ("triton",), 3.0, 12.0),
    Hazard(Kind.STUB_KILLED, ("triton",), 0.0, 0.0),
    Hazard(Kind.STUB_STOPPED, ("triton",), 4.0, 12.0),
    Hazard(Kind.REDIS_KILLED, ("redis",), 0.5, 5.0),
    Hazard(Kind.REDIS_STOPPED, ("redis",), 3.0, 10.0),
    Hazard(Kind.BROKER_KILLED, ("broker",), 1.0, 5.0),
    Hazard(Kind.BROKER_STOPPED, ("broker",), 3.0, 9.0),
    *(Hazard(Kind.LINK_CUT, (f"link {link}",), 2.0, 6.0) for link in LINKS),
    *(Hazard(Kind.LINK_HUNG, (f"link {link}",), 4.0, 10.0) for link in LINKS),
    *(Hazard(Kind.LINK_SLOW, (f"link {link}",), 8.0, 12.0) for link in LINKS),
    Hazard(Kind.REBALANCE, ("guest",), 8.0, 12.0),
)
LOSS = Hazard(Kind.REDIS_LOST, ("redis",), 0.5, 2.0)


def schedule(seed: int, faults: int, seconds: float, *, losses: bool) -> tuple[Fault, ...]:
    """`faults` faults within `seconds`, in order of time; the same for the same arguments.

    They are spread evenly, give or take, and one in TOGETHER strikes while another lasts; one process has one
    fault at a time. Every hazard comes once before any comes twice, and of several links or workers each has
    its turn. With `losses` some faults, the last one among them, lose acknowledged writes of Valkey.
    """
    draw = random.Random(seed)
    pool = [*HAZARDS, LOSS] if losses else list(HAZARDS)
    # A short run takes each kind once before it takes a kind on a second link.
    deck = _distinct_first(draw.sample(pool, len(pool)))
    planned: list[Fault] = []
    pace_s = (seconds - WARM_UP_S) / faults
    for number in range(faults):
        at_s = WARM_UP_S + pace_s * (number + draw.uniform(0.0, 0.5))
        if number % TOGETHER == TOGETHER - 1:
            at_s = planned[-1].at_s + draw.uniform(0.5, 2.0)
        last = number == faults - 1
        hazard = LOSS if losses and last else _next(deck, planned, at_s)
        if not deck:
            deck = draw.sample(pool, len(pool))
        target = _target(draw, hazard, planned, at_s)
        duration_s = draw.uniform(hazard.shortest_s, hazard.longest_s)
        planned.append(Fault(_free_at(planned, target, at_s), hazard.kind, target, duration_s))
    return tuple(sorted(planned, key=lambda fault: fault.at_s))


def _distinct_first(hazards: Sequence[Hazard]) -> list[Hazard]:
    first = {hazard.kind: hazard for hazard in reversed(hazards)}
    kinds = [hazard for hazard in hazards if first[hazard.kind] is hazard]
    return [*kinds, *(hazard for hazard in hazards if hazard not in kinds)]


def _next(deck: list[Hazard], planned: Sequence[Fault], at_s: float) -> Hazard:
    """Take the first card that has a target which is whole at that time, or the first of all."""
    able = (card for card in deck if any(_free_at(planned, each, at_s) == at_s for each in card.targets))
    card = next(able, deck[0])
    deck.remove(card)
    return card


def _target(draw: random.Random, hazard: Hazard, planned: Sequence[Fault], at_s: float) -> str:
    """Of those that are whole by then, one that had this fault least often."""
    whole = [target for target in hazard.targets if _free_at(planned, target, at_s) == at_s]
    candidates = whole or list(hazard.targets)
    had = [fault.target for fault in planned if fault.kind is hazard.kind]
    return min(draw.sample(candidates, len(candidates)), key=had.count)


def _free_at(planned: Sequence[Fault], target: str, at_s: float) -> float:
    """`at_s`, or later: when the last fault of that target is over."""
    ends = [fault.lifted_s + REPAIRED_S for fault in planned if fault.target == target]
    return max([at_s, *ends])
