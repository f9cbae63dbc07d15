"""Labels, scores and dead letters out of topics, on a real broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from adgauge.adapters.kafka.writers import KafkaWriter
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli import main
from adgauge.monitor.result import Coverage, Result
from tests.conftest import MakeTopic
from tests.monitor.log_lines import DAY_MS, label, score

NOW_MS = time.time_ns() // 1_000_000


def encoded(lines: Iterable[Mapping[str, Any]], key: str) -> list[tuple[bytes, bytes, tuple[()]]]:
    return [(line[key].encode(), json.dumps(line).encode(), ()) for line in lines]


@pytest.mark.tool("kafka")
def test_topics_are_read_up_to_where_they_end(
    kafka_bootstrap: str,
    make_topic: MakeTopic,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels, scores, letters = (make_topic(name, partitions=3) for name in ("labels", "scores", "dlq"))
    at_ms = NOW_MS - 40 * DAY_MS
    names = [f"P{number}" for number in range(60)]
    monkeypatch.setenv("ADGAUGE_KAFKA_BOOTSTRAP", kafka_bootstrap)
    monkeypatch.setenv("ADGAUGE_SCORES_TOPIC", scores)
    monkeypatch.setenv("ADGAUGE_DEAD_LETTERS_TOPIC", letters)
    monkeypatch.setenv("ADGAUGE_MONITOR_REJECTED", f"kafka:{letters}")
    writer = KafkaWriter(load_settings(ServerSettings).kafka())
    try:
        observed = [label(name, 1 + len(name) % 5, observed_at=NOW_MS - 1000) for name in (*names, "R")]
        writer.write(labels, [*encoded(observed, "parent_asin"), (b"broken", b"{", ())])
        lines = [score(name, scored_at_ms=at_ms, event_ms=at_ms) for name in names]
        writer.write(scores, encoded(lines, "id"))
        writer.write(letters, [(b"R", b"{", ()), (None, b"no key", ())])
    finally:
        writer.close()
    assert main(["monitor", "--once", "--labels", f"kafka:{labels}", "--json"]) == 0
    result = Result.model_validate_json(capsys.readouterr().out)
    assert result.overall.coverage == Coverage(labels=61, compared=60, rejected=1)
    assert [(bad.source, bad.reason, bad.rows) for bad in result.bad_rows] == [("labels", "not_json", 1)]
    assert {(each.source, each.location): each.accepted for each in result.sources} == {
        ("labels", f"kafka:{labels}"): 61,
        ("scores", f"kafka:{scores}"): 60,
        ("rejected", f"kafka:{letters}"): 1,
    }
