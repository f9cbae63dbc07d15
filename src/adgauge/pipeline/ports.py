"""What the pipeline asks of the outside. Each Protocol says who calls it, when, and what it may raise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Protocol

from adgauge.errors import RecordRejected
from adgauge.records import (
    CanonicalInput,
    Creative,
    Envelope,
    Loaded,
    Partition,
    Rejection,
    Score,
    Tombstone,
    Wanted,
)


class PartitionListener(Protocol):
    """Told by a Source, from inside `poll()` or from its own thread, how the assignment changes.

    Neither method may block: the group waits for them.
    """

    def assigned(self, partitions: Sequence[Partition]) -> None:
        """These partitions are ours from now on."""

    def revoked(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """These partitions go to another worker; returns the next offsets that may still be committed."""

    def lost(self, partitions: Sequence[Partition]) -> None:
        """These partitions are no longer ours; nothing may be committed for them."""


class Source(Protocol):
    """A log of records. Only the runner's thread calls it."""

    def subscribe(self, listener: PartitionListener) -> None:
        """Join the group; called once, before the first poll."""

    def poll(self, timeout_s: float) -> Sequence[Envelope[bytes | None]]:
        """Records that arrived within `timeout_s`; also keeps the membership alive, so it is called
        all the time, paused or not. Raises BackendUnavailable when the log cannot be reached,
        ConfigurationError, again at every call, when it cannot be read on.
        """

    def pause(self) -> None:
        """Deliver nothing until `resume`, partitions assigned meanwhile included; polling goes on."""

    def resume(self) -> None:
        """Deliver again."""

    def commit(self, next_offsets: Mapping[Partition, int]) -> None:
        """Commit the offset of the next record to read of each partition; bounded in time.

        Raises BackendUnavailable when it was not acknowledged; the runner tries again later.
        """

    def lag(self, undecided: Mapping[Partition, int]) -> Mapping[Partition, int]:
        """Records from the first undecided offset of each assigned partition to its end; may be stale.

        A partition that `undecided` does not name has decided all that was delivered. Raises
        BackendUnavailable when it is not known.
        """

    def close(self) -> None:
        """Leave the group. Never raises."""


class Images(Protocol):
    """Gets and decodes pictures. Called from pipeline threads, many at once."""

    def begin(self, wanted: Sequence[Wanted]) -> Sequence[Future[Loaded]]:
        """Begin to get each picture. Returns at once; each future ends within the loader's limits of time.

        A bad picture is an `ImageMissing`, an ordinary input. Raises BackendUnavailable, here or from a
        future, when pictures cannot be had at all; then they are asked for again.
        """

    def held(self) -> int:
        """Pictures that wait for somebody else and keep nobody busy here. Cheap: asked all the time."""

    def close(self) -> None:
        """Stop the pools. Never raises."""


class ScoreCache(Protocol):
    """What was scored before, under the worker's generation. Called from pipeline threads.

    A cache may forget at any time and must never raise: a failing cache is a miss.
    """

    def get(self, digests: Sequence[str]) -> Sequence[float | None]:
        """The score of each content digest, or None."""

    def recall(self, sources: Sequence[str]) -> Sequence[Creative | None]:
        """What came of each source digest (text and references) when it was last scored, or None."""

    def put(self, scores: Mapping[str, float], creatives: Mapping[str, Creative]) -> None:
        """Remember scores by content digest, and creatives by source digest."""


class Scorer(Protocol):
    """Predicts ratings. Called from pipeline threads, many at once; bounded requests in flight."""

    def score(self, inputs: Sequence[CanonicalInput]) -> Sequence[float | RecordRejected]:
        """One rating in the contract's range per input, in order; RecordRejected where the model refuses it.

        Raises BackendUnavailable (then all are asked again) or ContractMismatch.
        """

    def close(self) -> None:
        """Close connections. Never raises."""


class ScoreStore(Protocol):
    """Where recommenders read. Newer wins: the larger `Order` stays, compared atomically."""

    def put(self, entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
        """Store each entry unless a newer one is there; True where it was stored.

        An entry whose order equals the stored one is stored again: redelivery is harmless.
        Returns only after the store acknowledged. Raises BackendUnavailable; then any part may be stored.
        """

    def close(self) -> None:
        """Close connections. Never raises."""


class ScoreLog(Protocol):
    """The history of scores, keyed by product id; the monitor's only source."""

    def append(self, entries: Sequence[Score | Tombstone]) -> None:
        """Write stored scores and deletions; returns after the log acknowledged all of them.

        Raises BackendUnavailable; then any part may be written, and writing again is harmless.
        """

    def close(self) -> None:
        """Close connections. Never raises."""


class DeadLetters(Protocol):
    """Rejected records with their original bytes, so that they can be read and replayed."""

    def put(self, rejected: Sequence[tuple[Envelope[bytes | None], Rejection]]) -> None:
        """Write key, value and headers as they came, plus reason, stage, detail and origin.

        Returns after the log acknowledged all of them. Raises BackendUnavailable.
        """

    def close(self) -> None:
        """Close connections. Never raises."""
