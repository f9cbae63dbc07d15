"""`adgauge monitor --once`: from settings and arguments to one run, and its result as text or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adgauge.adapters.kafka_letters import read_letters
from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.settings import ServerSettings, load_settings, refuse_misspelt
from adgauge.cli.rows import line_file
from adgauge.cli.terminal import printable
from adgauge.contract import load_contract
from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import open_engine
from adgauge.monitor.result import Figure, Result, SliceFigures
from adgauge.monitor.run import Question, Sources, run_once
from adgauge.monitor.settings import DAY_MS, MonitorSettings, load_config
from adgauge.monitor.sources import TOPIC, ReadTopic


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line; None: as the settings say."""

    labels: str | None = None
    scores: str | None = None
    items: str | None = None
    rejected: str | None = None
    training: str | None = None
    config: Path | None = None
    model: Path | None = None
    generation: int | None = None
    previous: int | None = None
    window_days: float | None = None
    until_ms: int | None = None
    observed_ms: int | None = None


def monitor_once(wanted: Wanted, *, output: Path | None, as_json: bool) -> int:
    """Print the verdict and the figures, and write them to `output`; 0 whatever the verdict is."""
    refuse_misspelt(ServerSettings, MonitorSettings)
    result = result_of(wanted, load_settings(MonitorSettings), load_settings(ServerSettings))
    if output is not None:
        with line_file(output) as write:
            write(result.to_json())
    print(result.to_json() if as_json else as_text(result), end="")
    return 0


def result_of(wanted: Wanted, settings: MonitorSettings, servers: ServerSettings) -> Result:
    """One run, of what was asked for. Raises AdgaugeError."""
    config = load_config(wanted.config or settings.monitor_config)
    now_ms = time.time_ns() // 1_000_000
    days = wanted.window_days or settings.monitor_window_days
    with open_engine(
        settings.monitor_scratch, memory_mb=settings.monitor_memory_mb, threads=settings.monitor_threads
    ) as engine:
        return run_once(
            engine,
            _sources(wanted, settings, servers),
            Question(
                ends_ms=wanted.until_ms or now_ms + 1,
                window_ms=round(days * DAY_MS),
                generation=_first(wanted.generation, settings.monitor_generation),
                previous=_first(wanted.previous, settings.monitor_previous),
                observed_ms=wanted.observed_ms,
            ),
            declared=config.slices,
            rules=config.rules,
            contract=load_contract(wanted.model) if wanted.model else None,
            now_ms=now_ms,
            threads=settings.monitor_threads,
            read_topic=topic_reader(servers),
        )


def topic_reader(servers: ServerSettings) -> ReadTopic:
    """Values of a topic as it is now; of dead letters a line each with the product's id."""

    def read(topic: str) -> Iterator[bytes]:
        with KafkaLog(servers.kafka(), topic) as log:
            if topic == servers.dead_letters_topic:
                for letter in read_letters(log, lambda letter: letter.key is not None):
                    yield json.dumps({"parent_asin": (letter.key or b"").decode(errors="replace")}).encode()
                return
            for record in log.read(log.partitions):
                if record.value is not None:
                    yield record.value

    return read


def as_text(result: Result) -> str:
    """The verdict, the alarms and a line a slice, for people."""
    coverage = result.overall.coverage
    lines = [
        f"{result.verdict.status}: {result.verdict.headline}",
        f"generation {result.model.generation}, {coverage.compared:,} of {coverage.labels:,} labels compared",
        *(f"  alarm {alarm.kind}: {alarm.words}" for alarm in result.alarms),
        *(f"  left out: {bad.rows:,} {bad.source} {bad.reason}" for bad in result.bad_rows),
        f"{'':44} {'n':>9}  PLCC                  SRCC    MAE    bias",
        *(_line(each) for each in (result.overall, *result.slices) if each.judged),
    ]
    small = sum(not each.judged for each in result.slices)
    if small:
        lines.append(f"{small} slices have fewer than {result.rules.minimum_pairs} pairs")
    return "".join(f"{printable(line)}\n" for line in lines)


def _line(one: SliceFigures) -> str:
    of = one.figures
    interval = f"{_number(of.plcc)} [{_end(of.plcc.low)}, {_end(of.plcc.high)}]"
    others = "  ".join(_number(each) for each in (of.srcc, of.mae, of.bias))
    return f"{str(one.slice)[:44]:44} {of.n:9,}  {interval:20}  {others}"


def _number(of: Figure) -> str:
    return "  –  " if of.value is None else f"{of.value:5.2f}"


def _end(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _sources(wanted: Wanted, settings: MonitorSettings, servers: ServerSettings) -> Sources:
    labels = wanted.labels or settings.monitor_labels
    if labels is None:
        raise ConfigurationError("there are no labels: give --labels, or set ADGAUGE_MONITOR_LABELS")
    return Sources(
        labels=labels,
        scores=wanted.scores or settings.monitor_scores or f"{TOPIC}{servers.scores_topic}",
        items=wanted.items or settings.monitor_items,
        rejected=wanted.rejected or settings.monitor_rejected,
        training=wanted.training or settings.monitor_training,
    )


def _first(*values: int | None) -> int | None:
    return next((value for value in values if value is not None), None)
