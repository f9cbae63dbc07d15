"""`adgauge dlq list | show`: the dead letters, as people and programs read them."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from adgauge.adapters.kafka_letters import DeadLetter, read_letters
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.scores import utc
from adgauge.cli.terminal import printable
from adgauge.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Selection:
    """Which letters are meant; empty or None: any. Times are ms since 1970, of when a letter was written."""

    reasons: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None

    def __contains__(self, letter: DeadLetter) -> bool:
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (not self.stages or letter.stage in self.stages)
            and (self.since_ms is None or letter.written_ms >= self.since_ms)
            and (self.until_ms is None or letter.written_ms < self.until_ms)
        )


def list_letters(selection: Selection, *, as_json: bool) -> int:
    """Print a line a letter, and how many there are by reason."""
    reasons: Counter[str] = Counter()
    listed: list[dict[str, Any]] = []
    settings = load_settings(ServerSettings)
    with KafkaLog(settings.kafka(), settings.dead_letters_topic) as log:
        for letter in read_letters(log, selection.__contains__, selection.since_ms):
            reasons[letter.reason] += 1
            if as_json:
                listed.append(_summary(letter))
            else:
                print(line_of(letter))
    if as_json:
        print(json.dumps({"letters": listed, "by_reason": reasons}))
        return 0
    by_reason = ", ".join(f"{count} {printable(reason)}" for reason, count in reasons.most_common())
    print(f"{reasons.total()} dead letters{by_reason and f' ({by_reason})'}")
    return 0


def show_letter(position: str, *, as_json: bool) -> int:
    """Print everything of the letters of one record, named by its position or the letter's own."""
    settings = load_settings(ServerSettings)
    with KafkaLog(settings.kafka(), settings.dead_letters_topic) as log:
        found = list(read_letters(log, lambda letter: position in (letter.origin, letter.position)))
    if not found:
        raise ConfigurationError(
            f"{log.topic} has no letter of {printable(position)}: `adgauge dlq list` names what it has,"
            " as TOPIC/PARTITION/OFFSET; letters are kept 14 days"
        )
    if as_json:
        print(json.dumps([_everything(letter) for letter in found]))
    else:
        print("\n\n".join(_described(letter) for letter in found))
    return 0


def line_of(letter: DeadLetter) -> str:
    """A letter in one line of a terminal."""
    key = "(no key)" if letter.key is None else _in_short(letter.key)
    why = printable(f"{letter.reason} at {letter.stage}")
    where = printable(letter.origin or letter.position)
    return f"{where}  {utc(letter.written_ms)}  {why}  {key}  {printable(letter.detail)}"


def _in_short(data: bytes) -> str:
    shown = printable(data[:64].decode(errors="backslashreplace"))
    return f"{shown}…" if len(data) > 64 else shown


def _summary(letter: DeadLetter) -> dict[str, Any]:
    return {
        "origin": letter.origin,
        "position": letter.position,
        "first_origin": letter.first_origin,
        "written_ms": letter.written_ms,
        "event_ms": letter.event_ms,
        "reason": letter.reason,
        "stage": letter.stage,
        "detail": letter.detail,
        "version": letter.version,
        "replays": letter.replays,
        **_data("key", letter.key),
        "value_bytes": None if letter.value is None else len(letter.value),
    }


def _everything(letter: DeadLetter) -> dict[str, Any]:
    headers = [{"name": name, **_data("value", value)} for name, value in letter.headers]
    return _summary(letter) | _data("value", letter.value) | {"headers": headers}


def _data(name: str, data: bytes | None) -> dict[str, str | None]:
    """Text as text; other bytes in base64, under a name that says so."""
    try:
        return {name: None if data is None else data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data or b"").decode()}


def _described(letter: DeadLetter) -> str:
    event = "not stated" if letter.event_ms is None else f"{letter.event_ms} ({utc(letter.event_ms)})"
    lines = [
        f"origin    {printable(letter.origin or 'not stated: another program wrote this letter')}",
        f"letter    {letter.position}  written {utc(letter.written_ms)} by {printable(letter.version)}",
        f"event ms  {event}",
        f"reason    {printable(f'{letter.reason} at {letter.stage}: {letter.detail}')}",
        f"replays   {letter.replays}{f', first {printable(letter.first_origin)}' if letter.replays else ''}",
        f"key       {_shown(letter.key)}",
        *(f"header    {printable(name)}: {_shown(value)}" for name, value in letter.headers),
        f"value     {_shown(letter.value)}",
    ]
    return "\n".join(lines)


def _shown(data: bytes | None) -> str:
    """Bytes as a terminal may show them."""
    if data is None:
        return "null"
    try:
        return printable(data.decode())
    except UnicodeDecodeError:
        return f"{len(data)} bytes in base64: {base64.b64encode(data).decode()}"
