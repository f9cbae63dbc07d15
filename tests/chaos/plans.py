"""The runs there are: two long ones for `make chaos`, a short one for `make test`."""

from dataclasses import dataclass, replace
from typing import Literal

SEED = 3


@dataclass(frozen=True)
class Plan:
    """What a run is made of; equal plans have equal schedules. `rate` is in records a second.

    With `distinct_titles` no two records have the same content, so that a content cache never answers.
    """

    name: str
    seed: int
    products: int
    records: int
    rate: float
    faults: int
    appendfsync: Literal["always", "everysec"]
    cached: bool
    distinct_titles: bool

    @property
    def losses(self) -> bool:
        """Only `everysec` loses what it has acknowledged; `adgauge reconcile` then brings it back."""
        return self.appendfsync == "everysec"

    @property
    def command(self) -> str:
        """What runs it again."""
        size = f"--records {self.records} --products {self.products} --rate {self.rate:g}"
        return (
            f"python -m tests.chaos --seed {self.seed} {size} --faults {self.faults}"
            f" --appendfsync {self.appendfsync}"
        )


ALWAYS = Plan(
    name="always",
    seed=SEED,
    products=20_500,
    records=62_000,
    rate=72.0,
    faults=44,
    appendfsync="always",
    cached=False,
    distinct_titles=True,
)
EVERYSEC = replace(
    ALWAYS, name="everysec, reconcile", appendfsync="everysec", cached=True, distinct_titles=False
)
# With this seed nine faults strike each server, a link each of Redis and Kafka, a worker, and the group.
SHORT = replace(ALWAYS, name="short", seed=448, products=700, records=3000, rate=27.0, faults=9)
