"""The scorer with exactly one thing broken: `python -m tests.chaos.planted BUG`, settings as for the scorer.

Each bug is one that systems of this kind have had. It is put into the seam where the composition root of the
scorer takes a part, so that everything around it is what production runs.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import redis

from adgauge.adapters.admission import AdmittedModel
from adgauge.adapters.kafka import KafkaSource
from adgauge.adapters.redis import score_key
from adgauge.errors import BackendUnavailable, RecordRejected, RejectReason
from adgauge.pipeline.ports import Scorer, ScoreStore
from adgauge.records import CanonicalInput, Envelope, Score, Tombstone
from adgauge.telemetry.metrics import Stage
from services.scorer import __main__ as scorer


class CommitsOnPoll(KafkaSource):
    """Commits what it delivers before anybody has looked at it."""

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """See `ports.Source`."""
        records = super().poll(timeout_s)
        if records:
            self.commit({each.position.partition: each.position.offset + 1 for each in records})
        return records


class _Keys:
    """The store's keys, deleted behind its back."""

    def __init__(self) -> None:
        self._client = redis.Redis.from_url(os.environ["ADGAUGE_REDIS_URL"])
        self._generation = int(os.environ["ADGAUGE_GENERATION"])

    def delete(self, entries: Sequence[Score | Tombstone]) -> None:
        if entries:
            self._client.delete(*(score_key(self._generation, each.product_id) for each in entries))


class UnconditionalStore:
    """Compares with nothing: what is written last stays."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store
        self._keys = _Keys()

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        self._keys.delete(entries)
        return self._store.put(entries)

    def close(self) -> None:
        """See `ports.ScoreStore`."""
        self._store.close()


class DeletingStore:
    """Deletes a deleted product and remembers nothing of it."""

    def __init__(self, store: ScoreStore) -> None:
        self._store = store
        self._keys = _Keys()

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        stored = self._store.put(entries)
        self._keys.delete([each for each in entries if isinstance(each, Tombstone)])
        return stored

    def close(self) -> None:
        """See `ports.ScoreStore`."""
        self._store.close()


class BlamingScorer:
    """Rejects the records when it is the model that cannot answer; nobody asks whether the model lives."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def score(self, inputs: Sequence[CanonicalInput]) -> Sequence[float | RecordRejected]:
        """See `ports.Scorer`."""
        try:
            return self._scorer.score(inputs)
        except BackendUnavailable as error:
            rejected = RecordRejected(RejectReason.MODEL_ERROR, Stage.SCORE, error.detail)
            return [rejected] * len(inputs)

    def close(self) -> None:
        """See `ports.Scorer`."""
        self._scorer.close()


def _wrapped(part: str, wrap: Callable[[Any], object]) -> None:
    """Wrap what the composition root makes with `part`."""
    make = getattr(scorer, part)
    setattr(scorer, part, lambda *arguments, **named: wrap(make(*arguments, **named)))


def _blaming(admitted: AdmittedModel) -> AdmittedModel:
    blaming = BlamingScorer(admitted.scorer)
    return replace(admitted, scorer=blaming, probe=lambda: None)  # type: ignore[arg-type]  # by its port


BUGS: Mapping[str, Callable[[], None]] = {
    "commit-before-store": lambda: setattr(scorer, "KafkaSource", CommitsOnPoll),
    "unconditional-set": lambda: _wrapped("score_store", UnconditionalStore),
    "bare-delete": lambda: _wrapped("score_store", DeletingStore),
    "reject-on-dead-model": lambda: _wrapped("admit", _blaming),
}


def main(bug: str) -> int:
    """Plant the bug and run the scorer; KeyError for one that is not known."""
    BUGS[bug]()
    return scorer.main()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
