"""Results as Prometheus series: of the last good run, and of the job that makes runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import assert_never

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adgauge.canonical.image import ImageReason
from adgauge.monitor import metrics
from adgauge.monitor.figures import GENERATION
from adgauge.monitor.metrics import (
    DEFINITIONS,
    FIGURE_METRICS,
    LeftOut,
    Limit,
    MetricDefinition,
    RunOutcome,
)
from adgauge.monitor.result import (
    ALL,
    Alarm,
    AlarmKind,
    Coverage,
    Drift,
    JudgedModel,
    Result,
    Rules,
    Slice,
    SliceFigures,
    Status,
)
from adgauge.monitor.slices import Dimension

MOST_SERIES = 20_000
REASONS = ("", *ImageReason, "unknown")
"""Why pictures are missing; the score log of another program may say anything."""

Labels = tuple[str, ...]
Sample = tuple[MetricDefinition, Labels, float | None]


class Exporter(Collector):
    """Registers itself with `registry`. One thread reports, any number of them collect.

    A result replaces the one before as a whole, so a scrape never sees half of each. `most` bounds the
    series of a result; slices that `dimensions` do not declare are left out. `interval_s` is the time
    between the beginnings of two runs.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        dimensions: Iterable[Dimension],
        *,
        interval_s: float,
        most: int = MOST_SERIES,
    ) -> None:
        self._declared = {(each.name, value) for each in dimensions for value in each.values}
        self._most = most
        self._outcomes = Counter(dict.fromkeys(RunOutcome, 0))
        self._job: dict[MetricDefinition, float] = {metrics.INTERVAL_SECONDS: interval_s, metrics.RUNNING: 0}
        self._shown: list[Metric] = []
        registry.register(self)

    def show(self, result: Result) -> None:
        """Serve the figures of a good run, and its end as the last success."""
        shown = _Shown(self._declared | _generations(result.model), self._most)
        for metric, labels, value in _samples(result):
            shown.add(metric, labels, value)
        self._shown = shown.families()
        self._job[metrics.LAST_SUCCESS_TIMESTAMP] = result.run_at_ms / 1000 + result.took_s

    def began(self) -> None:
        """A run is going on."""
        self._job[metrics.RUNNING] = 1

    def ended(self, outcome: RunOutcome, at_s: float, took_s: float) -> None:
        """A run is over, at the Unix time `at_s`. The figures shown stay those of the last good one."""
        self._outcomes[outcome] += 1
        self._job |= {
            metrics.RUNNING: 0,
            metrics.LAST_RUN_TIMESTAMP: at_s,
            metrics.LAST_RUN_SECONDS: took_s,
        }

    def collect(self) -> Iterator[Metric]:
        """What is served now; called by the registry."""
        for metric, value in list(self._job.items()):
            yield _family(metric, {(): value})
        yield _family(metrics.RUNS, {(outcome,): float(n) for outcome, n in self._outcomes.items()})
        yield from self._shown

    def describe(self) -> Iterator[Metric]:
        """All names, so that nobody registers one of them again."""
        yield from (_family(metric, {}) for metric in DEFINITIONS)


class _Shown:
    """The series of one result, as many as may be."""

    def __init__(self, declared: set[tuple[str, str]], most: int) -> None:
        self._declared = declared | {(ALL.dimension, ALL.value)}
        self._most = most
        self._kept = 0
        self._left_out = Counter(dict.fromkeys(LeftOut, 0))
        self._values: dict[MetricDefinition, dict[Labels, float]] = {}

    def add(self, metric: MetricDefinition, labels: Labels, value: float | None) -> None:
        if value is None:
            return
        if (why := self._why_not(metric, labels)) is not None:
            self._left_out[why] += 1
            return
        series = self._values.setdefault(metric, {})
        self._kept += labels not in series
        series[labels] = value

    def families(self) -> list[Metric]:
        left_out: dict[Labels, float] = {(why,): float(n) for why, n in self._left_out.items()}
        whole = self._values | {metrics.SERIES_LEFT_OUT: left_out}
        return [_family(metric, whole[metric]) for metric in DEFINITIONS if metric in whole]

    def _why_not(self, metric: MetricDefinition, labels: Labels) -> LeftOut | None:
        named = dict(zip(metric.labels, labels, strict=True))
        if "dimension" in named and (named["dimension"], named["slice"]) not in self._declared:
            return LeftOut.UNDECLARED
        if metric is metrics.DRIFT_SHARE_RATIO and named["reason"] not in REASONS:
            return LeftOut.UNDECLARED
        return LeftOut.BOUND if self._kept >= self._most else None


def _family(metric: MetricDefinition, values: dict[Labels, float]) -> Metric:
    family: GaugeMetricFamily | CounterMetricFamily
    match metric.type:
        case "gauge":
            family = GaugeMetricFamily(metric.name, metric.documentation, labels=metric.labels)
        case "counter":
            family = CounterMetricFamily(metric.name, metric.documentation, labels=metric.labels)
        case _:
            assert_never(metric.type)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _generations(model: JudgedModel) -> set[tuple[str, str]]:
    return {(GENERATION, str(each)) for each in (model.generation, model.previous_generation)}


def _samples(result: Result) -> Iterator[Sample]:
    """The most important first: a bound takes the last away."""
    yield from _conclusion(result)
    yield from _limits(result.rules)
    yield from _read(result)
    yield from _coverage(result.overall.coverage)
    for alarm in result.alarms:
        yield from _alarm(alarm)
    for drift in sorted(result.drift, key=lambda each: not each.alarming):
        if drift.alarming or drift.slice == ALL:
            yield from _drift(drift)
    for one in (result.overall, *result.slices):
        yield from _slice(one)
    for drift in result.drift:
        if not drift.alarming and drift.slice != ALL:
            yield from _drift(drift)


def _conclusion(result: Result) -> Iterator[Sample]:
    for status in Status:
        yield metrics.VERDICT, (status,), float(result.verdict.status is status)
    kinds = Counter(alarm.kind for alarm in result.alarms)
    for kind in AlarmKind:
        yield metrics.ALARMS, (kind,), float(kinds[kind])
    model = result.model
    labels = (model.name or "", (model.contract or "")[:12], str(model.generation))
    yield metrics.MODEL_INFO, labels, 1.0


def _limits(rules: Rules) -> Iterator[Sample]:
    for limit in Limit:
        yield metrics.LIMIT, (limit,), getattr(rules, limit)


def _read(result: Result) -> Iterator[Sample]:
    newest: dict[str, list[int]] = {}
    rows: Counter[str] = Counter()
    for each in result.sources:
        rows[each.source] += each.accepted
        newest.setdefault(each.source, []).extend([] if each.newest_ms is None else [each.newest_ms])
    for source, n in rows.items():
        yield metrics.ROWS, (source,), float(n)
    for source, times_ms in newest.items():
        yield metrics.NEWEST_TIMESTAMP, (source,), max(times_ms) / 1000 if times_ms else None
    for bad in result.bad_rows:
        yield metrics.BAD_ROWS, (bad.source, bad.reason), float(bad.rows)


def _coverage(coverage: Coverage) -> Iterator[Sample]:
    for fate, labels in coverage:
        if fate != "labels":
            yield metrics.LABELS, (fate,), float(labels)


def _alarm(alarm: Alarm) -> Iterator[Sample]:
    yield metrics.ALARM_ACTIVE, (alarm.kind, *_of(alarm.slice)), 1.0


def _slice(one: SliceFigures) -> Iterator[Sample]:
    where = _of(one.slice)
    yield metrics.PAIRS, where, float(one.figures.n)
    yield metrics.COVERAGE_RATIO, where, one.coverage.share
    if not one.judged:
        return
    for name, metric in FIGURE_METRICS.items():
        yield metric, where, getattr(one.figures, name).value
    yield metrics.PLCC_LOW, where, one.figures.plcc.low
    yield metrics.PLCC_HIGH, where, one.figures.plcc.high


def _drift(drift: Drift) -> Iterator[Sample]:
    kind, where = drift.kind, _of(drift.slice)
    if drift.alarming:
        yield metrics.DRIFT_ACTIVE, (kind, *where), 1.0
    yield metrics.DRIFT_PSI, (kind, *where), drift.psi
    yield metrics.DRIFT_KS, (kind, *where), drift.ks
    for window, share in (("judged", drift.after), ("reference", drift.before)):
        yield metrics.DRIFT_SHARE_RATIO, (kind, drift.detail or "", window, *where), share


def _of(of: Slice) -> Labels:
    return of.dimension, of.value
