"""The values that flow through the pipeline. Position travels with payload; only the payload changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from adgauge.errors import RejectReason

T = TypeVar("T")
U = TypeVar("U")

EVENT_HEADER = "adgauge-event-ms"
CLOCK_SKEW_MS = 5 * 60 * 1000
"""How far an event time may lie past its reference before it is clamped: five minutes."""


class Flag(StrEnum):
    """What is unusual about a stored score. A closed list."""

    NO_IMAGE = "no_image"
    NO_TEXT = "no_text"
    TEXT_CUT = "text_cut"
    EVENT_CLAMPED = "event_clamped"


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """One partition of a topic: the unit of ordering and of committing."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True)
class Position:
    """Where a record stands in the log."""

    partition: Partition
    offset: int


@dataclass(frozen=True, slots=True, order=True)
class Order:
    """Which of two records of one product is newer: the larger (event time in ms, offset) wins."""

    event_ms: int
    offset: int


@dataclass(frozen=True, slots=True)
class Envelope(Generic[T]):
    """A payload with the position, order and original bytes that it keeps through every stage."""

    payload: T
    position: Position
    order: Order
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]
    flags: frozenset[Flag]

    def carrying(self, payload: U) -> Envelope[U]:
        """The same envelope around another payload."""
        return replace(self, payload=payload)  # type: ignore[arg-type, return-value]  # replace() cannot retype T


@dataclass(frozen=True, slots=True)
class ImageMissing:
    """Why a picture is not there: a reason from a closed list for metrics, and words for people."""

    reason: str
    detail: str


ImageResult = npt.NDArray[np.uint8] | ImageMissing
"""A canonical picture, uint8 [3, height, width] RGB, or why there is none."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What tells whether the bytes behind a reference are still the same (RFC 9110, 8.8; RFC 9111, 4.2).

    `etag` as it was sent, `last_modified` an HTTP date, `sha256` the first 32 hex digits of the body's; each
    may be empty. Until `fresh_until_ms` (Unix time) nobody need ask. `location` is where redirects led to.
    """

    etag: str = ""
    last_modified: str = ""
    sha256: str = ""
    fresh_until_ms: int = 0
    location: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A canonical picture, uint8 [3, height, width] RGB, and how to ask later whether it changed."""

    pixels: npt.NDArray[np.uint8]
    validators: Validators


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The bytes are those that were asked about; `validators` are the latest."""

    validators: Validators


@dataclass(frozen=True, slots=True)
class Wanted:
    """A picture to get, and how to tell that it is the one that was seen before, where one was."""

    reference: str
    known: Validators | None = None


Loaded = Picture | Unchanged | ImageMissing
"""What became of a wanted picture; `Unchanged` only where `known` was given."""


@dataclass(frozen=True, slots=True)
class CanonicalInput:
    """What the model sees of one product: the contract's input arrays by name, without a batch dimension.

    `rung` is the padded text length, so that a request can hold rows of one shape only. `digest` is the
    sha256 (hex) of the arrays: equal digests mean equal scores under one contract.
    """

    arrays: Mapping[str, npt.NDArray[np.generic]]
    rung: int
    flags: frozenset[Flag]
    digest: str


@dataclass(frozen=True, slots=True)
class Creative:
    """What is remembered of a creative: its content digest and rating, and a validator for each picture."""

    digest: str
    rating: float
    validators: tuple[Validators, ...]


@dataclass(frozen=True, slots=True)
class Score:
    """A predicted average rating in [1, 5] and what it was made from; `image_reason` as in `Outcome`."""

    product_id: str
    value: float
    order: Order
    scored_at_ms: int
    flags: frozenset[Flag]
    digest: str
    image_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A product that was deleted at `order`; kept for a while so that a late older record stays dead."""

    product_id: str
    order: Order


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a record went to the dead letters."""

    reason: RejectReason
    stage: str
    detail: str


class OutcomeKind(StrEnum):
    """Every input ends in exactly one of these."""

    SCORED = "scored"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one record ended; `rejection` is set exactly when `kind` is REJECTED, `score` when SCORED.

    `image_reason` says why a product had no picture; None where it had one, or was not looked at.
    """

    kind: OutcomeKind
    position: Position
    product_id: str | None
    score: Score | None
    rejection: Rejection | None
    image_reason: str | None


def event_order(header: bytes | None, record_ms: int, now_ms: int, offset: int) -> tuple[Order, bool]:
    """The order of a record, and whether its event time was clamped.

    A valid `adgauge-event-ms` header wins over the Kafka timestamp, but may lie at most five minutes past
    it; nothing may lie more than five minutes past now. A clock from 2099 must not freeze a product.
    """
    # A negative timestamp is how Kafka writes that there is none.
    record_clamped = record_ms > now_ms + CLOCK_SKEW_MS or record_ms < 0
    reference = now_ms if record_clamped else record_ms
    stated = _parse_event_ms(header)
    if stated is None:
        return Order(reference, offset), record_clamped
    if stated > reference + CLOCK_SKEW_MS:
        return Order(reference, offset), True
    return Order(stated, offset), record_clamped


def _parse_event_ms(header: bytes | None) -> int | None:
    """Decimal digits only; anything else is as if the header were absent."""
    if header is None or len(header) > 16 or not header.isdigit():
        return None
    return int(header)
