"""Deciding records of the log once more: several batches at a time, as many as may be in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from adgauge.errors import RecordRejected
from adgauge.product import parse_id, parse_product
from adgauge.records import Envelope, Order, Outcome

T = TypeVar("T")

Raw = Envelope[bytes | None]
Decide = Callable[[Sequence[Raw]], Sequence[Outcome]]
Held = Callable[[Sequence[str]], Mapping[str, Order | None]]
"""What the store holds of each product; None: nothing."""

LOOK_UPS = 500
"""Products asked for in one trip."""
AT_ONCE = 4
"""Batches that are decided at the same time."""
GROUP_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of the log and when it was written there, in ms."""

    envelope: Raw
    written_ms: int


class Redecider:
    """Decides records again, through the same `decide` as a scorer: newer wins there as well.

    `pace(n)` waits until n more may be decided.
    """

    def __init__(
        self, decide: Decide, executor: Executor, *, batch_records: int, pace: Callable[[int], None]
    ) -> None:
        self._decide = decide
        self._executor = executor
        self._batch_records = batch_records
        self._pace = pace

    def decided(self, envelopes: Iterable[Raw]) -> Iterator[tuple[Raw, Outcome]]:
        """Each record with what became of it, in order."""
        for group in _groups(envelopes, AT_ONCE * self._batch_records):
            self._pace(len(group))
            batches = list(batched(group, self._batch_records))
            for batch, outcomes in zip(batches, self._executor.map(self._decide, batches), strict=True):
                yield from zip(batch, outcomes, strict=True)


def product_of(envelope: Raw, max_record_bytes: int) -> str | None:
    """The product that a record speaks of; None when it names none, and so was rejected."""
    try:
        if envelope.key is not None:
            return parse_id(envelope.key.decode())
        if envelope.value is not None:
            return parse_product(envelope.value, max_record_bytes).parent_asin
    except (UnicodeDecodeError, RecordRejected):
        pass
    return None


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size`, the last one of what is left."""
    rest = iter(items)
    while batch := list(islice(rest, size)):
        yield batch


def _groups(envelopes: Iterable[Raw], records: int) -> Iterator[list[Raw]]:
    """As many as may be in memory at once."""
    group: list[Raw] = []
    held_bytes = 0
    for envelope in envelopes:
        group.append(envelope)
        held_bytes += len(envelope.value or b"")
        if len(group) >= records or held_bytes >= GROUP_BYTES:
            yield group
            group, held_bytes = [], 0
    if group:
        yield group
