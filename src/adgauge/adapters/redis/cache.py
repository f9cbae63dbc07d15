"""The content cache: content that was scored before is not scored again. Losing it costs work, no score.

Keys: `ag:content:<generation>:<contract>:<content digest>` holds the score with all digits of a float, and
`ag:source:<generation>:<contract>:<source digest>` what came of a text with certain picture references, as a
JSON list: content digest, score, and validators of each picture (etag, last-modified, sha256, fresh until,
location). <contract> is 12 hex digits of the contract's digest.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from pydantic import FiniteFloat, TypeAdapter, ValidationError

from adgauge.adapters.redis.connection import Client, close
from adgauge.adapters.redis.pipelines import Command, Pipelines, raised
from adgauge.errors import AdgaugeError, BackendUnavailable
from adgauge.records import Creative, Validators

log = logging.getLogger(__name__)

TTL_S = 30 * 86400.0
REST_S = 5.0
"""After a failure the cache is left alone so long: it must not cost every batch its time-out."""
_CREATIVE = TypeAdapter(tuple[str, FiniteFloat, list[tuple[str, str, str, int, str]]])


class RedisScoreCache:
    """Scores of one generation and contract; a failing server is a miss, and is left alone for REST_S.

    `connect` gives a client with a short time-out; `random()` is uniform in [0, 1), `clock` counts seconds.
    The constructor raises ConfigurationError for a wrong address or credentials.
    """

    def __init__(
        self,
        connect: Callable[[], Client],
        generation: int,
        contract: str,
        random: Callable[[], float],
        clock: Callable[[], float],
    ) -> None:
        self._connect = connect
        self._content = f"ag:content:{generation}:{contract[:12]}:"
        self._source = f"ag:source:{generation}:{contract[:12]}:"
        self._random = random
        self._clock = clock
        self._connecting = threading.Lock()
        self._client: Client | None = None
        self._pipelines: Pipelines | None = None
        self._rests_until: float | None = None
        try:
            self._awake()
        except BackendUnavailable as error:
            self._failed(error)

    def get(self, digests: Sequence[str]) -> Sequence[float | None]:
        """See `ports.ScoreCache`."""
        return [_number(text) for text in self._values(self._content, digests)]

    def recall(self, sources: Sequence[str]) -> Sequence[Creative | None]:
        """See `ports.ScoreCache`."""
        return [_creative(text) for text in self._values(self._source, sources)]

    def put(self, scores: Mapping[str, float], creatives: Mapping[str, Creative]) -> None:
        """See `ports.ScoreCache`."""
        commands = [self._set(self._content + digest, repr(value)) for digest, value in scores.items()]
        commands += [self._set(self._source + source, _line(each)) for source, each in creatives.items()]
        with self._never_raising():
            if (pipelines := self._awake()) is not None:
                answers, _ = pipelines.run(commands)
                for answer in answers:
                    raised(answer)

    def _values(self, prefix: str, digests: Sequence[str]) -> Sequence[str | None]:
        found: Sequence[str | None] = [None] * len(digests)
        with self._never_raising():
            if (pipelines := self._awake()) is not None:
                found = pipelines.values([prefix + digest for digest in digests])
                self._rests_until = None
        return found

    def _set(self, key: str, value: str) -> Command:
        ttl_ms = int(TTL_S * 1000 * (0.9 + 0.2 * self._random()))
        return Command(key, ("SET", key, value, "PX", str(ttl_ms)))

    def _awake(self) -> Pipelines | None:
        """None while the cache rests after a failure."""
        if self._rests_until is not None and self._clock() < self._rests_until:
            return None
        with self._connecting:
            if self._client is None:
                self._client = self._connect()
                self._pipelines = Pipelines(self._client)
            return self._pipelines

    @contextmanager
    def _never_raising(self) -> Iterator[None]:
        try:
            yield
        except AdgaugeError as error:
            self._failed(error)

    def _failed(self, error: AdgaugeError) -> None:
        if self._rests_until is None:
            log.warning("the content cache does not answer, everything is scored: %s", error)
        self._rests_until = self._clock() + REST_S

    def close(self) -> None:
        """Close connections. Never raises."""
        if self._client is not None:
            close(self._client)


def _number(text: str | None) -> float | None:
    """A value that somebody else wrote is a miss."""
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _line(creative: Creative) -> str:
    validators = [
        [each.etag, each.last_modified, each.sha256, each.fresh_until_ms, each.location]
        for each in creative.validators
    ]
    return json.dumps([creative.digest, creative.rating, validators], separators=(",", ":"))


def _creative(text: str | None) -> Creative | None:
    """A value that somebody else wrote is a miss."""
    if text is None:
        return None
    try:
        digest, rating, validators = _CREATIVE.validate_json(text)
    except ValidationError:
        return None
    return Creative(digest, rating, tuple(Validators(*each) for each in validators))
