"""Three scorers at work under a publisher's load, watched from outside, and judged at the end."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.checker import Verdict, check
from tests.chaos.commands import until
from tests.chaos.facts import Run
from tests.chaos.publisher import Publisher
from tests.chaos.watch import Progress, Watch
from tests.chaos.world import DEAD_LETTERS, GENERATION, GROUP, PRODUCTS, SCORES, World
from tests.outages.readings import Readings

SEED = 3
RECORDS, PRODUCT_COUNT = 100_000, 33_000
"""More than any outage sees."""
FIRST_COMMIT_S = 90.0
CAUGHT_UP_S = 300.0
LAST_SENT_S = 1.0

Say = Callable[[str], object]


@dataclass
class Load:
    """What runs, and all that is measured meanwhile."""

    world: World
    publisher: Publisher
    watch: Watch
    readings: Readings
    ledger: Path

    @property
    def progress(self) -> Progress:
        """How far the group is, a moment ago."""
        return self.watch.progress[-1]

    def catch_up(self) -> float:
        """Publish nothing until the group has committed all there is; after so many seconds.

        Raises ServerFailed.
        """
        self.publisher.pause()
        began_s = time.monotonic()
        until(lambda: self._caught_up(began_s), CAUGHT_UP_S, "the group has not committed everything")
        return time.monotonic() - began_s

    def judged(self) -> Verdict:
        """The checker's word on everything so far; raises ServerFailed when the group never catches up."""
        self.catch_up()
        return check(
            Run(
                ledger=self.ledger,
                bootstrap=self.world.broker.bootstrap,
                products_topic=PRODUCTS,
                scores_topic=SCORES,
                dead_letters_topic=DEAD_LETTERS,
                group=GROUP,
                redis_url=self.world.settings["ADGAUGE_REDIS_URL"],
                generation=GENERATION,
            )
        )

    def _caught_up(self, began_s: float) -> bool:
        """As of a sample that was taken once nothing was in flight to the broker any more."""
        return self.progress.at_s > began_s + LAST_SENT_S and self.progress.lag == 0


@contextmanager
def under_load(world: World, rate: float) -> Iterator[Load]:
    """Entered once every partition moves; raises ServerFailed. `rate` is in records a second."""
    ledger = world.workspace.folder / "ledger.jsonl"
    publisher = Publisher(
        world.broker.bootstrap,
        PRODUCTS,
        ledger,
        seed=SEED,
        products=PRODUCT_COUNT,
        records=RECORDS,
        rate=rate,
        distinct_titles=True,
        slow_image_url=None,
    )
    watch = Watch(world.broker.bootstrap, PRODUCTS, GROUP, world.everybody)
    world.start_workers()
    with watch, Readings(world.everybody) as readings:
        publisher.start()
        try:
            until(lambda: _all_move(watch), FIRST_COMMIT_S, "not every partition is committed")
            until(lambda: _all_ready(readings, len(world.workers)), FIRST_COMMIT_S, "a worker is not ready")
            yield Load(world, publisher, watch, readings, ledger)
        finally:
            publisher.stop()


def _all_move(watch: Watch) -> bool:
    return bool(watch.progress) and all(watch.progress[-1].committed.values())


def _all_ready(readings: Readings, workers: int) -> bool:
    latest = readings.latest().values()
    return len(latest) == workers and all(each.ready for each in latest)
