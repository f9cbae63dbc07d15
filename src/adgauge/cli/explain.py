"""`adgauge explain`: where a product stands, from what Redis holds and the topics still have of it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from adgauge.adapters.files import key_and_value
from adgauge.adapters.kafka.writers import (
    DETAIL_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    STAGE_HEADER,
)
from adgauge.adapters.kafka_admin import KafkaAdmin, OutOfTime, TopicRecord
from adgauge.adapters.kafka_letters import parse_letter
from adgauge.adapters.redis import Reading, StoredScore
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.scores import describe, entry_as_json, read_scores, utc
from adgauge.errors import ConfigurationError
from adgauge.records import EVENT_HEADER, Order, Tombstone, event_order

Entry = StoredScore | Tombstone | None


@dataclass(frozen=True, slots=True)
class Version:
    """One record of the product, how it ended, and why."""

    position: str
    published_ms: int
    event_ms: int
    state: str
    why: str


@dataclass(frozen=True, slots=True)
class Scan:
    """The product's records in a topic; not `complete` when the time was up first."""

    topic: str
    records: list[TopicRecord]
    read: int
    complete: bool

    def __str__(self) -> str:
        return f"{self.read} records of {self.topic}{'' if self.complete else ' (the time was up)'}"


def explain_product(product_id: str, *, timeout_s: float, as_json: bool) -> int:
    """Print the product's state, each of its records, and what was looked at."""
    settings = load_settings(ServerSettings)
    deadline = time.monotonic() + timeout_s
    with KafkaAdmin(settings.kafka()) as admin:
        # In this order: what is committed was stored or dead-lettered before, so it is found afterwards.
        products = _scan(admin, settings.products_topic, product_id, deadline)
        committed = _committed(admin, settings, products)
        letters = _scan(admin, settings.dead_letters_topic, product_id, deadline)
    reading = read_scores(settings, [product_id])
    entry = reading.entries[product_id]
    versions = _versions(products, letters, committed, entry)
    if as_json:
        print(_as_json(product_id, reading, versions, products, letters))
    else:
        _print(product_id, reading, versions, products, letters)
    return 0


def _scan(admin: KafkaAdmin, topic: str, product_id: str, deadline: float) -> Scan:
    if not admin.topics([topic]):
        raise ConfigurationError(f"there is no topic {topic}: create it with `adgauge topics create`")
    found, read = [], 0
    try:
        for record in admin.read(topic, deadline):
            read += 1
            if product_id.encode() in (record.key, key_and_value(record.value or b"")[0]):
                found.append(record)
    except OutOfTime:
        return Scan(topic, found, read, complete=False)
    return Scan(topic, found, read, complete=True)


def _committed(admin: KafkaAdmin, settings: ServerSettings, products: Scan) -> Mapping[int, int]:
    partitions = sorted({record.partition for record in products.records})
    return admin.committed(settings.group, products.topic, partitions) if partitions else {}


def _versions(products: Scan, letters: Scan, committed: Mapping[int, int], entry: Entry) -> list[Version]:
    """The product's records in the order in which they were published."""
    rejected = {
        (letter.header(ORIGIN_HEADER) or b"").decode(errors="replace"): letter for letter in letters.records
    }
    versions = [
        _version(record, rejected.pop(_position(record), None), committed, entry)
        for record in products.records
    ]
    # Compaction may have removed the record of a letter.
    versions += [_rejected(position, letter) for position, letter in rejected.items()]
    return sorted(versions, key=lambda version: version.published_ms)


def _version(
    record: TopicRecord, letter: TopicRecord | None, committed: Mapping[int, int], entry: Entry
) -> Version:
    if letter is not None:
        return replace(_rejected(_position(record), letter), published_ms=record.timestamp_ms)
    now_ms = time.time_ns() // 1_000_000
    order, _ = event_order(record.header(EVENT_HEADER), record.timestamp_ms, now_ms, record.offset)
    waiting = record.offset >= committed[record.partition]
    state, why = _decided(order, entry, is_deletion=record.value is None)
    if waiting and (entry is None or order > entry.order):
        state, why = "waiting", "no scorer has decided it yet"
    return Version(_position(record), record.timestamp_ms, order.event_ms, state, why)


def _decided(order: Order, entry: Entry, *, is_deletion: bool) -> tuple[str, str]:
    if entry is None:
        return "expired", "it was decided, and nothing is stored: expired, or another generation is live"
    if order < entry.order:
        return "superseded", f"a newer record is stored, of {utc(entry.order.event_ms)}"
    if order > entry.order:
        return "decided", "it was decided, but not in the generation that is live"
    return ("deleted", "") if is_deletion else ("scored", "")


def _rejected(position: str, letter: TopicRecord) -> Version:
    reason, stage, detail = (
        (letter.header(name) or b"?").decode(errors="replace")
        for name in (REASON_HEADER, STAGE_HEADER, DETAIL_HEADER)
    )
    event_ms = parse_letter(letter).event_ms or 0
    return Version(position, letter.timestamp_ms, event_ms, "rejected", f"{reason} at {stage}: {detail}")


def _position(record: TopicRecord) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"


def _state(entry: Entry, versions: list[Version]) -> str:
    """How the product's latest record ended; what Redis holds when the topics know of none."""
    if versions:
        return versions[-1].state
    if entry is None:
        return "not seen"
    return "deleted" if isinstance(entry, Tombstone) else "scored"


def _print(product_id: str, reading: Reading, versions: list[Version], *scans: Scan) -> None:
    entry = reading.entries[product_id]
    print(f"{product_id}: {_state(entry, versions)}")
    stored = "nothing: never scored or expired" if entry is None else describe(entry)
    print(f"stored   {stored}")
    for version in versions:
        why = f": {version.why}" if version.why else ""
        print(f"record   {version.position}  event {utc(version.event_ms)}  {version.state}{why}")
    generation = "no live generation" if reading.generation is None else f"generation {reading.generation}"
    print(f"looked at {', '.join([f'Redis ({generation})', *map(str, scans)])}")


def _as_json(product_id: str, reading: Reading, versions: list[Version], *scans: Scan) -> str:
    entry = reading.entries[product_id]
    looked_at = {scan.topic: {"records": scan.read, "complete": scan.complete} for scan in scans}
    explanation: dict[str, Any] = {
        "id": product_id,
        "state": _state(entry, versions),
        "generation": reading.generation,
        "stored": entry_as_json(entry),
        "records": [
            {"position": v.position, "event_ms": v.event_ms, "state": v.state, "why": v.why} for v in versions
        ],
        "looked_at": looked_at,
    }
    return json.dumps(explanation, ensure_ascii=False)
