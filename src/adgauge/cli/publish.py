"""`adgauge publish`: a catalog file into the input topic, and waiting until all of it is decided."""

from __future__ import annotations

import json
import sys
import time
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path

from adgauge.adapters.csv_catalog import open_catalog
from adgauge.adapters.files import NO_PRODUCT, STANDARD_INPUT, Catalog, Unreadable, key_and_value
from adgauge.adapters.kafka import KafkaConnection, KafkaWriter, require_topics
from adgauge.adapters.kafka_admin import MESSAGE_BYTES, KafkaAdmin
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.terminal import Progress, named_lines
from adgauge.errors import AdgaugeError, ConfigurationError
from adgauge.records import EVENT_HEADER, Position

CHUNK = 200
PACES_PER_SECOND = 10
LOOK_EVERY_S = 0.2

Lines = Sequence[tuple[int, bytes]]


@dataclass
class Published:
    """What was written: by partition the offsets, ascending, and the line that each came from."""

    records: int = 0
    deletions: int = 0
    without_id: int = 0
    blank: int = 0
    too_large: list[int] = field(default_factory=list)
    offsets: dict[int, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))
    lines: dict[int, array[int]] = field(default_factory=lambda: defaultdict(lambda: array("q")))

    def add(self, lines: Lines, positions: Sequence[Position]) -> None:
        """These lines were acknowledged at these positions."""
        for (number, _), position in zip(lines, positions, strict=True):
            self.offsets[position.partition.number].append(position.offset)
            self.lines[position.partition.number].append(number)
        self.records += len(lines)

    def undecided(self, committed: Mapping[int, int]) -> list[int]:
        """Lines whose records are not before the committed offset of their partition, in order."""
        rest = (
            self.lines[partition][bisect_left(offsets, committed[partition]) :]
            for partition, offsets in self.offsets.items()
        )
        return sorted(chain.from_iterable(rest))


def publish_file(
    path: str,
    *,
    topic: str | None,
    rate: float | None,
    event_ms: str,
    wait_s: float | None,
    as_json: bool,
) -> int:
    """Publish every line as it is, a row of CSV as JSON.

    With `wait_s` return when the scorers' group has decided all of them.
    1 when a line was too large to be published, or records are undecided after `wait_s`.
    """
    settings = load_settings(ServerSettings)
    connection, topic = settings.kafka(), topic or settings.products_topic
    progress = Progress(sys.stderr, time.monotonic)
    with open_catalog(path, sys.stdin.buffer, MESSAGE_BYTES) as catalog:
        headers = _headers(path, event_ms)
        require_topics(connection, [topic])
        published = _publish(catalog, connection, topic, headers, rate, progress)
    undecided: list[int] = []
    began = time.monotonic()
    if wait_s is not None:
        undecided = _wait(connection, settings.group, topic, published, began + wait_s, progress)
    progress.clear()
    _report(published, undecided if wait_s is not None else None, time.monotonic() - began, topic, as_json)
    _complain(published, undecided, wait_s, settings.group)
    return 1 if undecided or published.too_large else 0


def _headers(path: str, event_ms: str) -> list[tuple[str, bytes]]:
    if event_ms == "now":
        return []  # Kafka's own timestamp says so
    if path == STANDARD_INPUT:
        raise ConfigurationError("--event-ms file needs a file: standard input has no time of writing")
    return [(EVENT_HEADER, str(round(Path(path).stat().st_mtime * 1000)).encode())]


def _publish(
    catalog: Catalog,
    connection: KafkaConnection,
    topic: str,
    headers: Sequence[tuple[str, bytes]],
    rate: float | None,
    progress: Progress,
) -> Published:
    published = Published()
    writer = KafkaWriter(connection)
    began = time.monotonic()
    try:
        for lines in _chunks(catalog, rate, published):
            records = [key_and_value(line) for _, line in lines]
            try:
                positions = writer.write(topic, [(key, value, headers) for key, value in records])
            except AdgaugeError as exc:
                raise ConfigurationError(
                    f"lines {lines[0][0]}-{lines[-1][0]} of {catalog.path} were not published: {exc}"
                ) from exc
            published.add(lines, positions)
            published.deletions += sum(value is None for _, value in records)
            published.without_id += sum(key == NO_PRODUCT for key, _ in records)
            progress.show(f"published {published.records}")
            if rate:
                time.sleep(max(began + published.records / rate - time.monotonic(), 0))
    finally:
        writer.close()
    published.blank = catalog.blank
    return published


def _chunks(catalog: Catalog, rate: float | None, published: Published) -> Iterator[Lines]:
    size = min(CHUNK, max(int(rate / PACES_PER_SECOND), 1)) if rate else CHUNK
    # What cannot be read is published as it is: the scorer gives it a dead letter.
    lines = ((number, row.data if isinstance(row, Unreadable) else row) for number, row in catalog)
    while chunk := list(islice(lines, size)):
        published.too_large += [number for number, line in chunk if len(line) > MESSAGE_BYTES]
        if whole := [(number, line) for number, line in chunk if len(line) <= MESSAGE_BYTES]:
            yield whole


def _wait(
    connection: KafkaConnection,
    group: str,
    topic: str,
    published: Published,
    deadline: float,
    progress: Progress,
) -> list[int]:
    """Lines that are undecided at the deadline: a record is decided once its offset is committed."""
    partitions = list(published.offsets)
    with KafkaAdmin(connection) as admin:
        while undecided := published.undecided(admin.committed(group, topic, partitions)):
            progress.show(f"published {published.records}, decided {published.records - len(undecided)}")
            if time.monotonic() > deadline:
                break
            time.sleep(LOOK_EVERY_S)
    return undecided


def _report(
    published: Published, undecided: list[int] | None, waited_s: float, topic: str, as_json: bool
) -> None:
    notes = {
        "deletions": published.deletions,
        "without_id": published.without_id,
        "blank": published.blank,
        "too_large": len(published.too_large),
    }
    decided = None if undecided is None else published.records - len(undecided)
    if as_json:
        print(json.dumps({"topic": topic, "published": published.records, **notes, "decided": decided}))
        return
    of_them = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in notes.items() if count)
    print(f"published {published.records} to {topic}{of_them and f' ({of_them})'}")
    if decided is not None:
        print(f"decided {decided} of {published.records} after {waited_s:.1f} s")


def _complain(published: Published, undecided: list[int], wait_s: float | None, group: str) -> None:
    if published.too_large:
        print(
            f"adgauge: {named_lines(published.too_large)} not published: over {MESSAGE_BYTES >> 20} MiB",
            file=sys.stderr,
        )
    if undecided:
        print(
            f"adgauge: {named_lines(undecided)} undecided after {wait_s:g} s:"
            f" is a scorer of group {group} running, and does it get on (`adgauge check`, its log)?",
            file=sys.stderr,
        )
