"""What the demo prints at its end: the creatives, the outcomes, the speed."""

import shutil
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import quantiles

from adgauge.adapters.redis import Reading, StoredScore
from adgauge.canonical.text import clean
from adgauge.records import Flag
from services.embedded.scorer import Samples, total

SHOWN = 5


@dataclass(frozen=True)
class Report:
    """Everything that was counted; `titles` are those of the products that must have a score."""

    catalog: Path
    titles: dict[str, str]
    records: int
    blank: int
    seconds: float
    reading: Reading
    scorer: Samples
    triton_before: Samples
    triton_after: Samples
    metrics_url: str

    @cached_property
    def ranked(self) -> list[StoredScore]:
        """Stored scores, best first."""
        stored = [entry for entry in self.reading.entries.values() if isinstance(entry, StoredScore)]
        return sorted(stored, key=lambda entry: (-entry.value, entry.product_id))

    @property
    def unscored(self) -> list[str]:
        """Products that should have a score and have none."""
        return sorted(set(self.titles) - {entry.product_id for entry in self.ranked})

    @property
    def freshness_s(self) -> tuple[float, float]:
        """Median and 95th percentile of event time → scored, in seconds."""
        ages = [(entry.scored_at_ms - entry.order.event_ms) / 1000 for entry in self.ranked]
        cuts = quantiles(ages * 2, n=20, method="inclusive") if ages else [0.0] * 19  # one age is no sample
        return cuts[9], cuts[18]

    def triton(self, name: str) -> float:
        """How far one of Triton's counters moved. The parser gives counters the suffix they lack."""
        return total(self.triton_after, f"{name}_total") - total(self.triton_before, f"{name}_total")


def print_report(report: Report) -> None:
    """Print it for people."""
    width = min(shutil.get_terminal_size().columns, 110)
    for heading, entries in (
        ("Best creatives", report.ranked[:SHOWN]),
        ("Worst creatives", report.ranked[SHOWN:][-SHOWN:]),
    ):
        print(f"\n{heading}")
        for entry in entries:
            print(f"  {_line(entry, report.titles[entry.product_id], width - 2)}")
    print()
    for name, text in _facts(report).items():
        print(f"{name:<11}{text}")


def _line(entry: StoredScore, title: str, width: int) -> str:
    notes = f" ({', '.join(sorted(entry.flags))})" if entry.flags else ""
    text = clean(title) or "(no title)"
    short = textwrap.shorten(text, width=max(width - 24 - len(notes), 10), placeholder="…")
    return f"{entry.value:.2f}  {entry.product_id:<14}  {short}{notes}"


def _facts(report: Report) -> dict[str, str]:
    p50, p95 = report.freshness_s
    facts = {
        "outcomes": _outcomes(report),
        "pictures": _pictures(report),
        "speed": f"{report.records / report.seconds:.1f} records/s in {report.seconds:.1f} s",
        "freshness": f"event to score: p50 {p50:.1f} s, p95 {p95:.1f} s",
    }
    if runs := report.triton("nv_inference_exec_count"):
        requests, rows = report.triton("nv_inference_request_success"), report.triton("nv_inference_count")
        facts["triton"] = f"{requests / runs:.1f} requests and {rows / runs:.1f} rows per execution"
    facts["metrics"] = f"{report.metrics_url} (gone with the demo; `make up` keeps everything running)"
    if report.unscored:
        facts["MISSING"] = f"no score for {', '.join(report.unscored)}"
    return facts


def _outcomes(report: Report) -> str:
    def count(outcome: str) -> int:
        return int(total(report.scorer, "adgauge_records_total", outcome=outcome))

    rejected = ", ".join(f"{reason} {number}" for reason, number in _by_label(report.scorer, "rejected"))
    parts = [f"{name} {count(name)}" for name in ("scored", "superseded", "deleted", "rejected")]
    return f"{' · '.join(parts)}{f' ({rejected})' if rejected else ''} · blank lines {report.blank}"


def _by_label(samples: Samples, outcome: str) -> list[tuple[str, int]]:
    return sorted(
        (dict(labels)["reason"], int(value))
        for (name, labels), value in samples.items()
        if name == "adgauge_records_total" and dict(labels)["outcome"] == outcome and value
    )


def _pictures(report: Report) -> str:
    counts = {
        dict(labels)["result"]: int(value)
        for (name, labels), value in report.scorer.items()
        if name == "adgauge_images_total" and value
    }
    loaded = counts.pop("ok", 0)
    without = sum(Flag.NO_IMAGE in entry.flags for entry in report.ranked)
    unnamed = without - sum(counts.values())
    reasons = [f"{reason} {count}" for reason, count in sorted(counts.items())]
    why = ", ".join([*reasons, f"none named {unnamed}"] if unnamed > 0 else reasons)
    return f"{loaded} loaded · {without} products scored without{f' ({why})' if why else ''}"
