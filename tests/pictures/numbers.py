"""Numbers of a measurement out of what was found: rates, freshness, how far commits trail."""

import math
import time
from collections.abc import Iterable, Sequence
from itertools import groupby

from tests.chaos.watch import Progress
from tests.pictures.verdict import Found


def finished_s(found: Iterable[Found]) -> float:
    """The time of day at which the last of them was scored; infinite where one was not."""
    return max(each.line.scored_at_ms / 1000 if each.line else math.inf for each in found)


def rate(found: Sequence[Found], began_s: float) -> float:
    """Records a second until the last of them was scored."""
    return len(found) / (finished_s(found) - began_s)


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest that so large a share is not above; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else 0.0


def trail_s(found: Iterable[Found], progress: Sequence[Progress]) -> float:
    """The longest time between a record's score and the commit that covers it; infinite without one."""
    day_s = time.time() - time.monotonic()
    longest = 0.0
    by_partition = sorted(found, key=lambda each: (each.published.partition, each.published.offset))
    for partition, records in groupby(by_partition, key=lambda each: each.published.partition):
        samples = iter([(each.at_s + day_s, each.committed[partition]) for each in progress])
        at_s, committed = next(samples, (math.inf, 0))
        for each in records:
            while committed <= each.published.offset and at_s < math.inf:
                at_s, committed = next(samples, (math.inf, committed))
            longest = max(longest, at_s - (each.line.scored_at_ms / 1000 if each.line else 0.0))
    return longest
