"""The ports in memory: typed, bounded by nothing, for tests and for `adgauge score FILE`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np

from adgauge.errors import RecordRejected
from adgauge.pipeline.ports import PartitionListener
from adgauge.records import (
    CanonicalInput,
    Creative,
    Envelope,
    ImageMissing,
    ImageResult,
    Loaded,
    Order,
    Partition,
    Picture,
    Position,
    Rejection,
    Score,
    Tombstone,
    Unchanged,
    Validators,
    Wanted,
)


@dataclass
class MemoryLog:
    """A topic: the records of each partition in order. Outlives the sources that read it."""

    topic: str
    partitions: int
    records: dict[Partition, list[Envelope[bytes | None]]] = field(init=False)
    committed: dict[Partition, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records = {Partition(self.topic, number): [] for number in range(self.partitions)}

    def publish(
        self,
        key: bytes | None,
        value: bytes | None,
        *,
        event_ms: int = 0,
        partition: int = 0,
        headers: tuple[tuple[str, bytes], ...] = (),
    ) -> Position:
        """Append one record and return where it stands."""
        name = Partition(self.topic, partition)
        position = Position(name, len(self.records[name]))
        order = Order(event_ms, position.offset)
        self.records[name].append(Envelope(value, position, order, key, value, headers, frozenset()))
        return position


class MemorySource:
    """The only consumer of a MemoryLog. `revoke`, `lose` and `assign` play a rebalance.

    A poll with nothing to deliver calls `idle(timeout_s)`; `max_records` bounds one poll.
    """

    def __init__(self, log: MemoryLog, idle: Callable[[float], None], max_records: int) -> None:
        self._log = log
        self._idle = idle
        self._max_records = max_records
        self._listener: PartitionListener | None = None
        self._next: dict[Partition, int] = {}
        self.paused = False
        self.closed = False

    def subscribe(self, listener: PartitionListener) -> None:
        """Join with all partitions."""
        self._listener = listener
        self.assign(list(self._log.records))

    def assign(self, partitions: Sequence[Partition]) -> None:
        """Give partitions to this source; it starts at their committed offsets."""
        self._next |= {partition: self._log.committed.get(partition, 0) for partition in partitions}
        self._told().assigned(partitions)

    def revoke(self, partitions: Sequence[Partition]) -> None:
        """Take partitions away; what is done may still be committed."""
        self._drop(partitions)
        self._log.committed |= self._told().revoked(partitions)

    def lose(self, partitions: Sequence[Partition]) -> None:
        """Take partitions away when it is too late to commit."""
        self._drop(partitions)
        self._told().lost(partitions)

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """See `ports.Source`."""
        records: list[Envelope[bytes | None]] = []
        for partition in () if self.paused else list(self._next):
            start = self._next[partition]
            found = self._log.records[partition][start : start + self._max_records - len(records)]
            self._next[partition] += len(found)
            records += found
        if not records:
            self._idle(timeout_s)
        return records

    def pause(self) -> None:
        """See `ports.Source`."""
        self.paused = True

    def resume(self) -> None:
        """See `ports.Source`."""
        self.paused = False

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """See `ports.Source`."""
        self._log.committed |= next_offsets

    def lag(self, undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """See `ports.Source`."""
        first = self._next | {name: undecided[name] for name in self._next.keys() & undecided.keys()}
        return {name: len(self._log.records[name]) - offset for name, offset in first.items()}

    def close(self) -> None:
        """See `ports.Source`."""
        if not self.closed and self._listener is not None:
            self.revoke(list(self._next))
        self.closed = True

    def _drop(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._next.pop(partition, None)

    def _told(self) -> PartitionListener:
        if self._listener is None:
            raise RuntimeError("subscribe comes first")
        return self._listener


class MemoryImages:
    """Pictures by reference; every other reference is missing. What is in `late` comes when its future does.

    The validator of a picture is its pixels' sha256; `asked` counts what was wanted.
    """

    def __init__(
        self, pictures: Mapping[str, ImageResult], late: Mapping[str, Future[Loaded]] | None = None
    ) -> None:
        self.pictures = dict(pictures)
        self._late = late or {}
        self.asked = 0

    def begin(self, wanted: Sequence[Wanted]) -> Sequence[Future[Loaded]]:
        """See `ports.Images`."""
        self.asked += len(wanted)
        return [self._late.get(each.reference) or self._loaded(each) for each in wanted]

    def held(self) -> int:
        """See `ports.Images`."""
        return sum(not future.done() for future in self._late.values())

    def _loaded(self, wanted: Wanted) -> Future[Loaded]:
        future: Future[Loaded] = Future()
        future.set_result(self._result(wanted))
        return future

    def _result(self, wanted: Wanted) -> Loaded:
        image = self.pictures.get(wanted.reference, ImageMissing("not_found", "no such picture"))
        if isinstance(image, ImageMissing):
            return image
        validators = Validators(sha256=sha256(image.tobytes()).hexdigest()[:32])
        return Unchanged(validators) if wanted.known == validators else Picture(image, validators)

    def close(self) -> None:
        """See `ports.Images`."""


class MemoryScoreCache:
    """What was scored before, as long as the process lives."""

    def __init__(self) -> None:
        self._scores: dict[str, float] = {}
        self.creatives: dict[str, Creative] = {}

    def get(self, digests: Sequence[str]) -> Sequence[float | None]:
        """See `ports.ScoreCache`."""
        return [self._scores.get(digest) for digest in digests]

    def recall(self, sources: Sequence[str]) -> Sequence[Creative | None]:
        """See `ports.ScoreCache`."""
        return [self.creatives.get(source) for source in sources]

    def put(self, scores: Mapping[str, float], creatives: Mapping[str, Creative]) -> None:
        """See `ports.ScoreCache`."""
        self._scores |= scores
        self.creatives |= creatives


class BrightnessScorer:
    """Score = 1 + 4 · mean pixel / 255 of the input called `image`; `refused` digests are rejected."""

    def __init__(self, image: str, refused: Mapping[str, RecordRejected] | None = None) -> None:
        self._image = image
        self._refused = refused or {}
        self.rows = 0

    def score(self, inputs: Sequence[CanonicalInput]) -> Sequence[float | RecordRejected]:
        """See `ports.Scorer`."""
        self.rows += len(inputs)
        return [self._refused.get(each.digest) or self._brightness(each) for each in inputs]

    def _brightness(self, canonical: CanonicalInput) -> float:
        pixels = canonical.arrays[self._image].astype(np.float64)
        return 1.0 + 4.0 * float(pixels.mean()) / 255.0

    def close(self) -> None:
        """See `ports.Scorer`."""


class MemoryScoreStore:
    """The newest entry of each product."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.entries: dict[str, Score | Tombstone] = {}

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """See `ports.ScoreStore`."""
        with self._lock:
            return [self._put(entry) for entry in entries]

    def _put(self, entry: Score | Tombstone) -> bool:
        current = self.entries.get(entry.product_id)
        if current is not None and current.order > entry.order:
            return False
        self.entries[entry.product_id] = entry
        return True

    def close(self) -> None:
        """See `ports.ScoreStore`."""


class MemoryScoreLog:
    """History in order of writing."""

    def __init__(self) -> None:
        self.entries: list[Score | Tombstone] = []

    def append(self, entries: Sequence[Score | Tombstone]) -> None:
        """See `ports.ScoreLog`."""
        self.entries += entries

    def close(self) -> None:
        """See `ports.ScoreLog`."""


class MemoryDeadLetters:
    """Rejected records in order of writing."""

    def __init__(self) -> None:
        self.letters: list[tuple[Envelope[bytes | None], Rejection]] = []

    def put(self, rejected: Sequence[tuple[Envelope[bytes | None], Rejection]]) -> None:
        """See `ports.DeadLetters`."""
        self.letters += rejected

    def close(self) -> None:
        """See `ports.DeadLetters`."""
