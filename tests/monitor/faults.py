"""A catalog whose scores foretell its ratings, and two faults that can be put into it half-way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tests.monitor.log_lines import DAY_MS, write_lines

CATEGORIES = ("Books", "Toys", "Beauty")
WITHOUT_PICTURES, SHUFFLED = "Beauty", "Books"
PRODUCTS = 600  # of each category in each window
CONFIG = f"""[slices]
main_category = {list(CATEGORIES)}
price = []
rating_number = []
text_length = []
script = false
[rules]
plcc_floor = 0.3
"""
Line = dict[str, Any]


@dataclass
class GeneratedCatalog:
    """Labels and scores of 56 days until `now_ms`, in `folder`, and the settings that point a run there."""

    folder: Path
    now_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)

    def write(self, *, faulty: bool = False) -> None:
        """Both files; `faulty`: Beauty has no pictures since half of the judged window, Books' new labels are
        those of other books.
        """
        rng = np.random.default_rng(7)
        labels: list[Line] = []
        scores: list[Line] = []
        for category in CATEGORIES:
            for line, pair in self._labelled(category, rng, shuffled=faulty and category == SHUFFLED):
                labels.append(line)
                scores.append(pair)
            scores += self._lately(category, rng, without=faulty and category == WITHOUT_PICTURES)
        for name, lines in (("labels", labels), ("scores", scores)):
            written = Path(write_lines(self.folder / f"{name}.new", lines))
            written.rename(self.folder / f"{name}.jsonl")

    def environment(self) -> dict[str, str]:
        """For services.monitor and `adgauge monitor --once`."""
        config = self.folder / "monitor.toml"
        config.write_text(CONFIG)
        return {
            "ADGAUGE_MONITOR_LABELS": str(self.folder / "labels.jsonl"),
            "ADGAUGE_MONITOR_SCORES": str(self.folder / "scores.jsonl"),
            "ADGAUGE_MONITOR_ITEMS": str(self.folder / "labels.jsonl"),
            "ADGAUGE_MONITOR_CONFIG": str(config),
            "ADGAUGE_MONITOR_THREADS": "1",
            "ADGAUGE_MONITOR_MEMORY_MB": "256",
        }

    def _labelled(
        self, category: str, rng: np.random.Generator, *, shuffled: bool
    ) -> Iterator[tuple[Line, Line]]:
        """Ratings of both windows, each 29 days after the score that it judges."""
        ratings = np.round(np.clip(5 - rng.gamma(2, 0.4, 2 * PRODUCTS), 1, 5), 1)
        values = 4 + 0.7 * (ratings - 4) + rng.normal(0, 0.4, ratings.size)
        if shuffled:
            ratings[:PRODUCTS] = np.random.default_rng(8).permutation(ratings[:PRODUCTS])
        for number, days_ago in enumerate(np.linspace(0.1, 55.9, ratings.size)):
            label = {
                "parent_asin": f"{category}-{number}",
                "average_rating": float(ratings[number]),
                "rating_number": 40,
                "observed_at": round(self.now_ms - days_ago * DAY_MS),
                "main_category": category,
            }
            yield label, self._score(f"{category}-{number}", float(values[number]), days_ago + 29, [])

    def _lately(self, category: str, rng: np.random.Generator, *, without: bool) -> list[Line]:
        """New scores of products whose older ratings are known, as they are scored again."""
        values = 4 + 0.7 * (np.clip(5 - rng.gamma(2, 0.4, PRODUCTS), 1, 5) - 4) + rng.normal(0, 0.4, PRODUCTS)
        return [
            self._score(
                f"{category}-{PRODUCTS + number}",
                float(value),
                days_ago,
                ["no_image"] if without and days_ago < 14 else [],
            )
            for number, (value, days_ago) in enumerate(
                zip(values, np.linspace(0.1, 27.9, PRODUCTS), strict=True)
            )
        ]

    def _score(self, product_id: str, value: float, days_ago: float, flags: list[str]) -> Line:
        at_ms = round(self.now_ms - days_ago * DAY_MS)
        return {
            "id": product_id,
            "outcome": "scored",
            "generation": 1,
            "model": "generated/1",
            "contract": "ab" * 32,
            "event_ms": at_ms - 1000,
            "offset": 7,
            "score": round(value, 6),
            "scored_at_ms": at_ms,
            "flags": flags,
            "digest": "cd" * 32,
            "image_reason": "server_error" if flags else None,
        }
