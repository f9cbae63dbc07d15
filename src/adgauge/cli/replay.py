"""`adgauge dlq replay`: dead letters back into the input topic, each at its event time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from adgauge.adapters.kafka import KafkaConnection, KafkaWriter, require_topics
from adgauge.adapters.kafka_admin import KafkaAdmin
from adgauge.adapters.kafka_letters import DeadLetter, Identity, read_letters, replayed
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.dlq import Selection, line_of
from adgauge.cli.terminal import Progress, printable
from adgauge.errors import AdgaugeError, ConfigurationError

CHUNK = 50
PACES_PER_SECOND = 10


@dataclass(frozen=True, slots=True)
class Target:
    """Where letters go, and what may go there."""

    topic: str
    takes_no_key: bool
    max_replays: int

    def why_not(self, letter: DeadLetter, replays: int) -> str | None:
        """Why a letter cannot be sent, whose record was replayed so often; None when it can."""
        if letter.origin is None or letter.event_ms is None:
            return "it does not state its origin and event time, a replay could overtake a newer version"
        if letter.origin.rsplit("/", 2)[0] != self.topic:
            return f"it did not come from {self.topic}: name its topic in ADGAUGE_PRODUCTS_TOPIC"
        if replays >= self.max_replays:
            return f"it was replayed {replays} times and rejected again: mend the cause, then --max-replays"
        if letter.key is None and not self.takes_no_key:
            return f"it has no key, and {self.topic} is compacted: publish it again with its key"
        return None


@dataclass
class Replay:
    """What became of the letters that were selected."""

    sent: int = 0
    repeated: int = 0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def refuse(self, letter: DeadLetter, why: str) -> None:
        """This letter was not sent."""
        self.refused.append((letter.origin or letter.position, why))


def replay_letters(
    selection: Selection, *, dry_run: bool, rate: float | None, max_replays: int, as_json: bool
) -> int:
    """Send each selected record once, as it was; 1 when one could not be sent."""
    settings = load_settings(ServerSettings)
    connection, replay = settings.kafka(), Replay()
    require_topics(connection, [settings.products_topic, settings.dead_letters_topic])
    target = Target(settings.products_topic, _takes_no_key(connection, settings.products_topic), max_replays)
    try:
        with KafkaLog(connection, settings.dead_letters_topic) as log:
            chosen = _choose(log, selection, target, replay)
            letters = read_letters(log, lambda each: each.position in chosen, selection.since_ms)
            if dry_run:
                _show(letters, replay, quiet=as_json)
            else:
                _send(letters, len(chosen), connection, target.topic, rate, replay)
    finally:  # also of what ended half-way
        _report(replay, target.topic, dry_run=dry_run, as_json=as_json)
    return 1 if replay.refused else 0


def _takes_no_key(connection: KafkaConnection, topic: str) -> bool:
    with KafkaAdmin(connection) as admin:
        return "compact" not in admin.configs(topic).get("cleanup.policy", "")


def _choose(log: KafkaLog, selection: Selection, target: Target, replay: Replay) -> set[str]:
    """Positions of the letters to send: of each record the one that was replayed most often.

    A letter that a replay caused is newer than the first, so what `until` leaves out is read as well.
    """
    latest: dict[Identity, tuple[int, str]] = {}
    selected: dict[Identity, str | None] = {}
    for letter in read_letters(log, lambda _: True, selection.since_ms):
        name = letter.identity
        replays = max(letter.replays, latest.get(name, (0, ""))[0])
        if name not in latest or letter.replays > latest[name][0]:
            latest[name] = letter.replays, letter.position
        if letter in selection:
            replay.repeated += name in selected
            selected[name] = target.why_not(letter, replays)
        elif name in selected:
            selected[name] = selected[name] or target.why_not(letter, replays)
    replay.refused += [(name[0], why) for name, why in selected.items() if why is not None]
    return {latest[name][1] for name, why in selected.items() if why is None}


def _show(letters: Iterator[DeadLetter], replay: Replay, *, quiet: bool) -> None:
    for letter in letters:
        replay.sent += 1
        if not quiet:
            print(line_of(letter))


def _send(
    letters: Iterator[DeadLetter],
    total: int,
    connection: KafkaConnection,
    topic: str,
    rate: float | None,
    replay: Replay,
) -> None:
    progress, began = Progress(sys.stderr, time.monotonic), time.monotonic()
    size = min(CHUNK, max(int(rate / PACES_PER_SECOND), 1)) if rate else CHUNK
    writer = KafkaWriter(connection)
    try:
        while chunk := list(islice(letters, size)):
            _write(writer, topic, chunk, replay)
            progress.show(f"sent {replay.sent} of {total}")
            if rate:
                time.sleep(max(began + replay.sent / rate - time.monotonic(), 0))
    finally:
        progress.clear()
        writer.close()


def _write(writer: KafkaWriter, topic: str, letters: Sequence[DeadLetter], replay: Replay) -> None:
    """All at once; one by one when the topic refuses one of them."""
    try:
        writer.write(topic, [replayed(letter) for letter in letters])
        replay.sent += len(letters)
        return
    except ConfigurationError:
        refused: list[tuple[DeadLetter, AdgaugeError]] = []
    for letter in letters:
        try:
            writer.write(topic, [replayed(letter)])
            replay.sent += 1
        except ConfigurationError as error:
            refused.append((letter, error))
    if replay.sent == 0:
        raise refused[0][1]
    for letter, why in refused:
        replay.refuse(letter, str(why))


def _report(replay: Replay, topic: str, *, dry_run: bool, as_json: bool) -> None:
    if as_json:
        refused = [{"origin": origin, "why": why} for origin, why in replay.refused]
        counts: Mapping[str, object] = {"sent": 0 if dry_run else replay.sent, "refused": refused}
        print(json.dumps({"topic": topic, "selected": replay.sent + len(refused), **counts}))
        return
    for origin, why in replay.refused:
        print(f"adgauge: not sent: {printable(origin)}: {printable(why)}", file=sys.stderr)
    repeated = f", {replay.repeated} letters were of the same records" if replay.repeated else ""
    print(
        f"{'would send' if dry_run else 'sent'} {replay.sent} to {topic},"
        f" refused {len(replay.refused)}{repeated}"
    )
