import re

from prometheus_client import CollectorRegistry, Metric

from adgauge.errors import RejectReason
from adgauge.records import OutcomeKind, Partition
from adgauge.telemetry.metrics import (
    BACKENDS,
    FRESHNESS_BUCKETS_S,
    CacheResult,
    Metrics,
    ProbeResult,
    Rebalance,
    ScorerFailure,
    Stage,
)
from tools.document_metrics import DOCUMENT, QUERIES, document

# What is counted is the unit of a count; the rest says its unit at the end.
UNITS = (
    r"(seconds|bytes|records|requests|rows|lookups|images|failures|retries|offset|paused|partitions|info"
    r"|open|openings|rebalances|probes|heals|answers|away|waiting)$"
)
LABELS = {"outcome", "reason", "stage", "partition", "result", "kind", "backend", "by"}
BUILD_LABELS = {"version", "model", "contract", "generation"}


def registry() -> CollectorRegistry:
    return Metrics(CollectorRegistry()).registry


def ours(registry: CollectorRegistry) -> list[Metric]:
    return [family for family in registry.collect() if family.name.startswith("adgauge_")]


def samples(registry: CollectorRegistry, name: str) -> list[dict[str, str]]:
    return [s.labels for family in registry.collect() for s in family.samples if s.name == name]


def test_every_name_ends_with_its_unit() -> None:
    names = [family.name for family in ours(registry())]

    assert len(names) == 30
    assert [name for name in names if not re.search(UNITS, name)] == []


def test_labels_come_from_a_closed_list_without_ids_and_urls() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.describe_build("1.0", "m", "a" * 64, 1)
    labels = {label for family in ours(metrics.registry) for s in family.samples for label in s.labels}

    assert labels - {"le"} - LABELS == BUILD_LABELS


def test_every_value_of_a_closed_label_is_there_before_its_first_event() -> None:
    r = registry()

    assert {s["reason"] for s in samples(r, "adgauge_records_total")} == {"", *RejectReason}
    assert {s["outcome"] for s in samples(r, "adgauge_records_total")} == set(OutcomeKind)
    assert {s["stage"] for s in samples(r, "adgauge_stage_seconds_count")} == set(Stage)
    assert {s["result"] for s in samples(r, "adgauge_cache_lookups_total")} == set(CacheResult)
    for by_backend in ("adgauge_retries_total", "adgauge_circuit_open", "adgauge_circuit_openings_total"):
        assert {s["backend"] for s in samples(r, by_backend)} == set(BACKENDS)
    assert {s["kind"] for s in samples(r, "adgauge_rebalances_total")} == set(Rebalance)
    assert {s["result"] for s in samples(r, "adgauge_model_probes_total")} == set(ProbeResult)
    assert {s["kind"] for s in samples(r, "adgauge_scorer_failures_total")} == set(ScorerFailure)


def test_freshness_distinguishes_50_milliseconds_from_an_hour() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.freshness_seconds.observe(0.04)
    metrics.freshness_seconds.observe(4000)

    first, *_, last, everything = [
        s.value
        for family in metrics.registry.collect()
        for s in family.samples
        if s.name == "adgauge_freshness_seconds_bucket"
    ]
    assert (first, last, everything) == (1, 1, 2)
    assert (FRESHNESS_BUCKETS_S[0], FRESHNESS_BUCKETS_S[-1]) == (0.05, 3600)


def test_a_revoked_partition_is_no_longer_reported() -> None:
    metrics = Metrics(CollectorRegistry())
    for number in (0, 1):
        metrics.lag_records.labels(str(number)).set(5)
    metrics.forget(Partition("catalog.products", 0))
    metrics.forget(Partition("catalog.products", 7))

    assert samples(metrics.registry, "adgauge_lag_records") == [{"partition": "1"}]


def test_build_info_names_one_build_at_a_time() -> None:
    metrics = Metrics(CollectorRegistry())
    metrics.describe_build("1.0", "effimini_lite0", "a" * 64, 1)
    metrics.describe_build("1.0", "effimini_lite0", "b" * 64, 2)

    assert samples(metrics.registry, "adgauge_build_info") == [
        {"version": "1.0", "model": "effimini_lite0", "contract": "b" * 12, "generation": "2"}
    ]


def test_the_documented_list_is_the_list() -> None:
    assert DOCUMENT.read_text() == document(), "run python tools/document_metrics.py"


def test_the_documented_queries_ask_for_metrics_that_exist() -> None:
    asked = set(re.findall(r"adgauge_\w+", QUERIES))
    served = {s.name for family in ours(registry()) for s in family.samples}
    served |= {"adgauge_lag_records", "adgauge_committed_offset"}  # appear with their first partition

    assert asked - served == set()
    assert len(asked) >= 7
