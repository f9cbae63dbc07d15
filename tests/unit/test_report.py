from pathlib import Path

import pytest

from adgauge.adapters.redis import Reading, StoredScore
from adgauge.records import Order
from services.embedded.report import Report, print_report


def report(ages_ms: list[int]) -> Report:
    stored = {
        f"P{age}": StoredScore(f"P{age}", 3.0, Order(1_000, 0), 1_000 + age, frozenset(), "ab")
        for age in ages_ms
    }
    return Report(
        catalog=Path("catalog.jsonl"),
        titles=dict.fromkeys(stored, "Mug &amp; <b>cup</b>"),
        records=len(stored),
        blank=0,
        seconds=1.0,
        reading=Reading(1, stored),
        scorer={},
        triton_before={},
        triton_after={},
        metrics_url="http://127.0.0.1/metrics",
    )


@pytest.mark.parametrize(
    ("ages_ms", "expected"),
    [([], (0.0, 0.0)), ([4_000], (4.0, 4.0)), ([1_000, 2_000, 3_000], (2.0, 3.0))],
)
def test_freshness_is_defined_for_any_number_of_scores(
    ages_ms: list[int], expected: tuple[float, float]
) -> None:
    assert report(ages_ms).freshness_s == expected


def test_a_report_of_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report([]))
    assert "scored 0" in capsys.readouterr().out


def test_titles_are_shown_as_a_shopper_sees_them(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report([5]))
    assert "Mug & cup" in capsys.readouterr().out
