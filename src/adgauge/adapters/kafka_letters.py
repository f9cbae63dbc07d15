"""Dead letters as values: what a record of the dead-letter topic says, and the record that replays it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from adgauge.adapters.kafka.writers import (
    DETAIL_HEADER,
    ORIGIN_EVENT_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    STAGE_HEADER,
    VERSION_HEADER,
    Message,
)
from adgauge.adapters.kafka_admin import TopicRecord, topic_record
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.records import EVENT_HEADER

REPLAYS_HEADER = "adgauge-replays"
"""How often a record was replayed: in the products topic, and so in its next dead letter."""
REPLAY_OF_HEADER = "adgauge-replay-of"
"""Origin of the record that was replayed first; letters that share it are one record's."""

_OURS = (
    REASON_HEADER, STAGE_HEADER, DETAIL_HEADER, ORIGIN_HEADER, ORIGIN_EVENT_HEADER, VERSION_HEADER,
)  # fmt: skip
_REPLACED = (EVENT_HEADER, REPLAYS_HEADER, REPLAY_OF_HEADER)
_MOST_DIGITS = 16
UNKNOWN = "?"

Headers = tuple[tuple[str, bytes], ...]
Identity = tuple[str, bytes | None, bytes]
"""First origin, key, and sha256 of the value."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A rejected record; `headers` are its own. Positions are `topic/partition/offset`.

    `origin` None: whoever wrote this letter was not adgauge. `event_ms` None: no event time is stated.
    `first_origin` is the record that was replayed first, the origin where none was.
    """

    position: str
    origin: str | None
    first_origin: str
    written_ms: int
    event_ms: int | None
    reason: str
    stage: str
    detail: str
    version: str
    replays: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def identity(self) -> Identity:
        """Letters that share it are of one record, which a header alone, anybody's to copy, does not make."""
        return self.first_origin, self.key, hashlib.sha256(self.value or b"").digest()


def parse_letter(record: TopicRecord) -> DeadLetter:
    """What any record of the dead-letter topic says; never raises."""
    ours, own = _parted(record.headers)
    position = f"{record.topic}/{record.partition}/{record.offset}"
    origin = _text(ours.get(ORIGIN_HEADER))
    carried = dict(own)
    return DeadLetter(
        position=position,
        origin=origin,
        first_origin=_text(carried.get(REPLAY_OF_HEADER)) or origin or position,
        written_ms=record.timestamp_ms,
        event_ms=_number(ours.get(ORIGIN_EVENT_HEADER)),
        reason=_text(ours.get(REASON_HEADER)) or UNKNOWN,
        stage=_text(ours.get(STAGE_HEADER)) or UNKNOWN,
        detail=_text(ours.get(DETAIL_HEADER)) or "",
        version=_text(ours.get(VERSION_HEADER)) or UNKNOWN,
        replays=_number(carried.get(REPLAYS_HEADER)) or 0,
        key=record.key,
        value=record.value,
        headers=own,
    )


def replayed(letter: DeadLetter) -> Message:
    """The record that sends a letter back: as it came, at its event time, counted. It must state one."""
    marks = {
        EVENT_HEADER: str(letter.event_ms),
        REPLAYS_HEADER: str(letter.replays + 1),
        REPLAY_OF_HEADER: letter.first_origin,
    }
    own = tuple(header for header in letter.headers if header[0] not in _REPLACED)
    ours = tuple((name, text.encode(errors="replace")) for name, text in marks.items())
    return letter.key, letter.value, own + ours


def read_letters(
    log: KafkaLog, chosen: Callable[[DeadLetter], bool], since_ms: int | None = None
) -> Iterator[DeadLetter]:
    """The chosen letters of a dead-letter topic; `since_ms` by when they were written."""
    for record in log.read(log.partitions, since_ms):
        letter = parse_letter(topic_record(record))
        if chosen(letter):
            yield letter


def _parted(headers: Headers) -> tuple[dict[str, bytes], Headers]:
    """Ours, which were written last, and the record's own: a publisher may use our names as well."""
    ours: dict[str, bytes] = {}
    own: list[tuple[str, bytes]] = []
    for name, value in reversed(headers):
        if name in _OURS and name not in ours:
            ours[name] = value
        else:
            own.append((name, value))
    return ours, tuple(reversed(own))


def _text(value: bytes | None) -> str | None:
    return value.decode(errors="replace") if value else None


def _number(value: bytes | None) -> int | None:
    return int(value) if value and value.isdigit() and len(value) <= _MOST_DIGITS else None
