"""What recommenders read: scores of the live generation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adgauge.adapters.redis.connection import Client, close
from adgauge.adapters.redis.line import LIVE_KEY, StoredScore, decode, score_key
from adgauge.adapters.redis.pipelines import Pipelines
from adgauge.records import Tombstone

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reading:
    """The answer to one read. `generation` None: none is live yet, and nothing is known of any product.

    A product is None when it was never scored or its score expired, and a Tombstone when it was deleted.
    """

    generation: int | None
    entries: Mapping[str, StoredScore | Tombstone | None]

    @property
    def scores(self) -> dict[str, StoredScore | None]:
        """What a recommender needs: a deleted product has no score."""
        return {
            name: entry if isinstance(entry, StoredScore) else None for name, entry in self.entries.items()
        }


class ScoreReader:
    """For recommenders: scores of the live generation. The name of that generation is kept for a second.

    `clock` counts seconds. Raises BackendUnavailable, ConfigurationError when rights are missing.
    """

    def __init__(self, client: Client, clock: Callable[[], float], live_s: float = 1.0) -> None:
        self._client = client
        self._pipelines = Pipelines(client)
        self._clock = clock
        self._live_s = live_s
        self._live: tuple[float, int | None] | None = None

    def get(self, product_ids: Sequence[str], generation: int | None = None) -> Reading:
        """One round trip (a node) for all ids; of `generation` instead of the live one when it is given."""
        generation = self._live_generation() if generation is None else generation
        if generation is None or not product_ids:
            return Reading(generation, dict.fromkeys(product_ids))
        lines = self._pipelines.values([score_key(generation, name) for name in product_ids])
        found = zip(product_ids, lines, strict=True)
        return Reading(generation, {name: _decoded(name, line) for name, line in found})

    def _live_generation(self) -> int | None:
        now = self._clock()
        if self._live is None or now - self._live[0] > self._live_s:
            self._live = now, _generation(self._pipelines.one(LIVE_KEY, "GET", LIVE_KEY))
        return self._live[1]

    def close(self) -> None:
        """Close connections. Never raises."""
        close(self._client)


def _decoded(product_id: str, line: str | None) -> StoredScore | Tombstone | None:
    """A line that somebody else wrote is as good as none, but said in the log."""
    try:
        return None if line is None else decode(product_id, line)
    except ValueError as error:
        log.warning("%s", error)
        return None


def _generation(live: Any) -> int | None:
    return int(live) if isinstance(live, str) and live.isdecimal() else None
