"""Which labels the gate judges by, and which scores it is given."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import Engine, open_engine
from adgauge.monitor.gate_inputs import Sides, gate_dimensions, read_gate_labels
from adgauge.monitor.reading import Tally
from adgauge.monitor.settings import MonitorConfig

NOW_MS = 1_795_000_000_000
DAY_MS = 86_400_000
TOPIC = "catalog.scores"


@pytest.fixture
def engine() -> Iterator[Engine]:
    with open_engine(memory_mb=500, threads=2) as engine:
        yield engine


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def label(name: str, rating: float, days_ago: int, **item: Any) -> dict[str, Any]:
    observed = NOW_MS - days_ago * DAY_MS
    return {"parent_asin": name, "average_rating": rating, "rating_number": 3, "observed_at": observed} | item


def score(name: str, generation: int, contract: str = "c") -> dict[str, Any]:
    return {
        "id": name, "outcome": "scored", "generation": generation, "model": f"m/{generation}",
        "contract": contract, "event_ms": NOW_MS - DAY_MS, "offset": 1, "score": 3.0,
        "scored_at_ms": NOW_MS - DAY_MS, "flags": [], "digest": "d",
    }  # fmt: skip


def read(engine: Engine, labels: str, **other: str | None) -> list[tuple[Any, ...]]:
    sources = {"items": None, "training": None} | other
    read_gate_labels(engine, labels, Tally(), now_ms=NOW_MS, window_days=28, **sources)
    return engine.rows(
        "SELECT id, label, ($1 - begins_ms) / $2, main_category FROM gate_labels ORDER BY id",
        [NOW_MS, DAY_MS],
    )


def test_the_newest_label_counts_from_the_one_before_it_on(engine: Engine, tmp_path: Path) -> None:
    labels = lines(tmp_path / "l.jsonl", label("A", 4.0, 5), label("A", 3.0, 12), label("B", 2.0, 5))
    assert read(engine, labels) == [("A", 4.0, 12.0, None), ("B", 2.0, 33.0, None)]


def test_training_products_are_left_out_and_fields_are_taken_from_items(
    engine: Engine, tmp_path: Path
) -> None:
    labels = lines(
        tmp_path / "l.jsonl",
        label("A", 4.0, 5),
        label("B", 2.0, 5),
        label("C", 2.0, 5, main_category="Books"),
    )
    items = lines(
        tmp_path / "i.jsonl", *({"parent_asin": name, "main_category": "Movies"} for name in ("A", "C"))
    )
    training = lines(tmp_path / "t.jsonl", {"parent_asin": "B"})
    assert read(engine, labels, items=items, training=training) == [
        ("A", 4.0, 33.0, "Movies"), ("C", 2.0, 33.0, "Books"),
    ]  # fmt: skip


def test_a_topic_is_read_once_for_both(engine: Engine) -> None:
    reads = []

    def topic(name: str) -> Iterator[bytes]:
        reads.append(name)
        for row in (score("A", 1), score("A", 2, "d"), score("B", 2, "d")):
            yield json.dumps(row).encode()

    sides = Sides(engine, TOPIC, topic, Tally(), NOW_MS)
    candidate, baseline = sides.read("2", "ours"), sides.read("1", "theirs")
    assert reads == [TOPIC]
    assert (candidate.generation, candidate.model, candidate.contract) == (2, "m/2", "d")
    assert (baseline.generation, baseline.model, baseline.contract) == (1, "m/1", "c")
    assert engine.one("SELECT (SELECT count(*) FROM ours), (SELECT count(*) FROM theirs)") == (2, 1)
    with pytest.raises(ConfigurationError, match="of generation 3; there are: none"):
        sides.read("3", "others")


def test_of_lines_without_a_digest_every_version_is_content_of_its_own(
    engine: Engine, tmp_path: Path
) -> None:
    rows = [score("A", 1) | {"digest": None, "offset": at, "scored_at_ms": NOW_MS - at} for at in (1, 2)]
    Sides(engine, TOPIC, None, Tally(), NOW_MS).read(lines(tmp_path / "s.jsonl", *rows), "ours")
    assert engine.one("SELECT count(DISTINCT digest), count(digest) FROM ours") == (2, 2)


def test_a_generation_with_scores_of_two_contracts_is_refused(engine: Engine, tmp_path: Path) -> None:
    path = lines(tmp_path / "s.jsonl", score("A", 1), score("B", 1, "other"))
    with pytest.raises(ConfigurationError, match=r"one contract .*generation 1 \(m/1\), generation 1"):
        Sides(engine, TOPIC, None, Tally(), NOW_MS).read(path, "ours")


def test_the_gate_judges_categories_unless_told_otherwise() -> None:
    assert [each.name for each in gate_dimensions(MonitorConfig())] == ["main_category"]
    config = MonitorConfig.model_validate({"gate": {"dimensions": ["price", "image"]}})
    assert [each.name for each in gate_dimensions(config)] == ["price", "image"]
    undeclared = MonitorConfig.model_validate({"slices": {"main_category": []}})
    assert gate_dimensions(undeclared) == []
    with pytest.raises(ConfigurationError, match="mood is not declared in"):
        gate_dimensions(MonitorConfig.model_validate({"gate": {"dimensions": ["mood"]}}))
