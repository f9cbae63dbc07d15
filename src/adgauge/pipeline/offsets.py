"""Which offsets may be committed: those before the first record of a partition that is not yet done."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from adgauge.records import Partition, Position


@dataclass(slots=True)
class _Progress:
    """One partition: delivered and not yet committable offsets in order, True where done."""

    open: dict[int, bool] = field(default_factory=dict)
    last: int = -1  # the latest delivered
    next: int | None = None  # every record before it is done
    committed: int | None = None
    certain: bool = True  # what was delivered belongs to the present assignment


class OffsetTracker:
    """Follows deliveries and completions of each partition; completions may come in any order.

    It also knows which partitions are ours; records of others are ignored. The runner's thread and the
    source's rebalance thread call it. Offsets may have gaps (compaction).

    A completion counts whichever assignment the record was delivered under: it says that this record was
    stored, which stays true when the partition goes away and comes back. What was not stored, because a
    backend was given up or a batch broke, is never completed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._partitions: dict[Partition, _Progress] = {}
        self._moves: dict[Partition, int] = {}

    def assign(self, partitions: Iterable[Partition]) -> None:
        """These partitions are ours from now on."""
        with self._lock:
            for partition in partitions:
                if partition not in self._partitions:
                    self._partitions[partition] = _Progress()
                    self._moved(partition)

    def owned(self) -> frozenset[Partition]:
        """The partitions that are ours now."""
        with self._lock:
            return frozenset(self._partitions)

    def moves(self) -> Mapping[Partition, int]:
        """How often each partition came or went until now; ask before a poll, for `deliver`."""
        with self._lock:
            return dict(self._moves)

    def deliver(self, position: Position, moves: Mapping[Partition, int]) -> bool:
        """A record was polled since `moves`; False when its partition went away in the meantime.

        Going back in a partition starts it anew: its records come again. When the partition went and came
        back during the poll, nobody knows whether the record is of the assignment before, with records in
        front of it that come again: nothing of the partition is committable until the next poll goes back
        or goes on.
        """
        with self._lock:
            progress = self._partitions.get(position.partition)
            if progress is None:
                return False
            certain = self._moves[position.partition] - moves.get(position.partition, 0) <= 1
            if certain and not progress.certain and position.offset <= progress.last:
                progress = self._partitions[position.partition] = _Progress()
            progress.certain = certain
            if position.offset in progress.open:
                return True
            if position.offset <= progress.last:
                progress = self._partitions[position.partition] = _Progress(certain=certain)
            progress.open[position.offset] = False
            progress.last = position.offset
            return True

    def complete(self, position: Position) -> None:
        """A record ended. Ignored when its partition went away in the meantime."""
        with self._lock:
            progress = self._partitions.get(position.partition)
            if progress is None or position.offset not in progress.open:
                return
            progress.open[position.offset] = True
            for offset in list(_leading(progress.open)):
                del progress.open[offset]
                progress.next = offset + 1

    def tracks(self, position: Position) -> bool:
        """True while the record is delivered, still ours and not committable."""
        with self._lock:
            progress = self._partitions.get(position.partition)
            return progress is not None and position.offset in progress.open

    def held(self) -> int:
        """Records that are delivered and not committable, done or not."""
        with self._lock:
            return sum(len(each.open) for each in self._partitions.values())

    def undecided(self) -> dict[Partition, int]:
        """The first offset that is delivered and not done, of each partition that has one."""
        with self._lock:
            return {name: next(iter(each.open)) for name, each in self._partitions.items() if each.open}

    def committable(self) -> dict[Partition, int]:
        """Next offset to read, for each partition that moved since the last `committed`."""
        with self._lock:
            return self._committable(self._partitions)

    def committed(self, next_offsets: Mapping[Partition, int]) -> None:
        """These commits were acknowledged."""
        with self._lock:
            for partition, offset in next_offsets.items():
                if partition in self._partitions:
                    self._partitions[partition].committed = offset

    def forget(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Drop partitions that are no longer ours; returns what could still be committed for them."""
        with self._lock:
            partitions = list(partitions)
            committable = self._committable(partitions)
            for partition in partitions:
                if self._partitions.pop(partition, None) is not None:
                    self._moved(partition)
            return committable

    def _moved(self, partition: Partition) -> None:
        self._moves[partition] = self._moves.get(partition, 0) + 1

    def _committable(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        progress = {name: self._partitions[name] for name in partitions if name in self._partitions}
        return {
            name: each.next
            for name, each in progress.items()
            if each.certain and each.next is not None and each.next != each.committed
        }


def _leading(offsets: Mapping[int, bool]) -> Iterable[int]:
    """The offsets at the front that are done."""
    for offset, done in offsets.items():
        if not done:
            return
        yield offset
