"""Gauges of a result: what is served, what is not, and that there is a bound."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from adgauge.adapters.settings import ServerSettings, refuse_misspelt
from adgauge.monitor.exporter import MOST_SERIES, Exporter
from adgauge.monitor.metrics import DEFINITIONS, LeftOut, RunOutcome
from adgauge.monitor.result import (
    ALL,
    Alarm,
    AlarmKind,
    Coverage,
    Drift,
    DriftKind,
    Result,
    Slice,
    SliceFigures,
    Status,
    Verdict,
)
from adgauge.monitor.settings import MonitorSettings
from adgauge.monitor.slices import MOST_SLICES, Declared
from services.monitor.settings import MonitorServiceSettings
from tests.monitor.example_result import BEAUTY, BOOKS, NOW_MS, example_result, too_few

DECLARED = Declared(main_category=("Books", "Beauty"), price=(20, 100))
UNITS = r"_(seconds|stars|ratio|info|plcc|low|high|srcc|printed|leaderboard|psi|ks)$"
COUNTS = r"_(runs|running|rows|alarms|pairs|labels|verdict|active|limit|out)$"
LABELS = {"dimension", "slice", "kind", "source", "reason", "status", "rule", "coverage", "window", "outcome"}

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


class Page:
    """An exporter and what a scrape of it reads."""

    def __init__(self, declared: Declared = DECLARED, *, most: int = MOST_SERIES) -> None:
        self._registry = CollectorRegistry()
        self.exporter = Exporter(self._registry, declared.dimensions(), interval_s=3600, most=most)

    def samples(self) -> Samples:
        text = generate_latest(self._registry).decode()
        return {
            (sample.name.removeprefix("adgauge_monitor_"), tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.samples().get((name, tuple(sorted(labels.items()))))

    def names(self) -> set[str]:
        return {name for name, _ in self.samples()}


def of(one: Slice) -> dict[str, str]:
    return {"dimension": one.dimension, "slice": one.value}


def shown(result: Result) -> Page:
    page = Page()
    page.exporter.show(result)
    return page


def without_data() -> Result:
    empty = SliceFigures(slice=ALL, judged=False, coverage=Coverage(labels=0, compared=0), figures=too_few(0))
    return example_result().model_copy(
        update={
            "overall": empty,
            "slices": (),
            "alarms": (),
            "drift": (),
            "sources": (),
            "verdict": Verdict(status=Status.NO_DATA, headline="0 labels could be compared."),
        }
    )


def test_the_figures_of_judged_slices_are_served_as_the_document_has_them() -> None:
    result = example_result()
    page = shown(result)
    for one in (result.overall, *(each for each in result.slices if each.judged)):
        figures, where = one.figures, of(one.slice)
        assert page.value("plcc", **where) == figures.plcc.value
        assert page.value("plcc_low", **where) == figures.plcc.low
        assert page.value("plcc_high", **where) == figures.plcc.high
        assert page.value("srcc", **where) == figures.srcc.value
        assert page.value("mae_stars", **where) == figures.mae.value
        assert page.value("bias_stars", **where) == figures.bias.value
        assert page.value("ces_printed", **where) == figures.ces_printed.value
        assert page.value("ces_leaderboard", **where) == figures.ces_leaderboard.value
        assert page.value("pairs", **where) == figures.n
        assert page.value("coverage_ratio", **where) == one.coverage.share


def test_conclusions_coverage_rows_and_drift_are_served() -> None:
    page = shown(example_result())
    assert page.value("verdict", status="alarm") == 1
    assert page.value("verdict", status="ok") == 0
    assert page.value("alarms", kind="plcc_fell") == 1
    assert page.value("alarms", kind="bias") == 0
    assert page.value("alarm_active", kind="plcc_fell", **of(BEAUTY)) == 1
    assert page.value("alarm_active", kind="plcc_fell", **of(BOOKS)) is None
    assert page.value("limit", rule="plcc_floor") == 0.3
    assert page.value("labels", coverage="never_scored") == 60
    assert page.value("rows", source="scores") == 9_000
    assert page.value("bad_rows", source="labels", reason="rating_out_of_range") == 7
    assert page.value("newest_timestamp_seconds", source="scores") == (NOW_MS - 60_000) / 1000
    assert page.value("model_info", model="effimini_lite0", contract="ab" * 6, generation="3") == 1
    assert page.value("drift_psi", kind="score", **of(ALL)) == 0.03
    assert page.value("drift_ks", kind="score", **of(ALL)) == 0.02


def test_a_share_that_drifted_is_served_by_reason_of_the_closed_list() -> None:
    result = example_result()
    of_reasons = [
        result.drift[0].model_copy(update={"detail": detail}) for detail in (None, "server_error", "<script>")
    ]
    page = shown(result.model_copy(update={"drift": tuple(of_reasons)}))
    named = {"kind": "images_missing", **of(BEAUTY)}
    assert page.value("drift_active", **named) == 1
    for reason in ("", "server_error"):
        assert page.value("drift_share_ratio", reason=reason, window="judged", **named) == 0.31
        assert page.value("drift_share_ratio", reason=reason, window="reference", **named) == 0.04
    assert {dict(labels).get("reason") for name, labels in page.samples() if name == "drift_share_ratio"} == {
        "",
        "server_error",
    }
    assert page.value("series_left_out", why="undeclared") == 2 + undeclared(result)


def undeclared(result: Result) -> int:
    """Series of the example's slices that are not declared here."""
    page = shown(result.model_copy(update={"drift": ()}))
    return round(page.value("series_left_out", why="undeclared") or 0)


def test_what_is_undefined_is_absent_and_nothing_is_nan() -> None:
    page = shown(without_data())
    samples = page.samples()
    assert all(value == value for value in samples.values())  # NaN differs from itself
    assert page.value("verdict", status="no_data") == 1
    assert page.value("pairs", **of(ALL)) == 0
    assert page.names() & {"plcc", "plcc_low", "srcc", "coverage_ratio", "newest_timestamp_seconds"} == set()


def test_a_slice_that_is_too_small_has_a_size_and_no_figures() -> None:
    result = example_result()
    small = result.slices[0].model_copy(update={"judged": False})
    page = shown(result.model_copy(update={"slices": (small,)}))
    assert page.value("pairs", **of(BOOKS)) == 1_200
    assert page.value("plcc", **of(BOOKS)) is None


def test_slices_that_are_not_declared_are_left_out_and_counted() -> None:
    result = example_result()
    stranger = result.slices[0].model_copy(update={"slice": Slice(dimension="main_category", value="B00X")})
    page = shown(result.model_copy(update={"slices": (stranger,)}))
    assert not any(("slice", "B00X") in labels for _, labels in page.samples())
    assert (page.value("series_left_out", why="undeclared") or 0) >= 10


def test_the_previous_generation_is_served_though_nobody_declares_it() -> None:
    result = example_result()
    previous = result.slices[0].model_copy(update={"slice": Slice(dimension="generation", value="2")})
    page = shown(result.model_copy(update={"slices": (previous,)}))
    assert page.value("plcc", dimension="generation", slice="2") == 0.48


@pytest.mark.parametrize("most", [1, 20, 45])
def test_series_are_bounded_the_verdict_comes_first_and_the_rest_is_counted(most: int) -> None:
    whole, bounded = Page(), Page(most=most)
    fixed = len(whole.samples())
    for page in (whole, bounded):
        page.exporter.show(example_result())
    fixed += len(LeftOut) + 1  # and the last success
    assert len(bounded.samples()) == most + fixed
    left_out = bounded.value("series_left_out", why=LeftOut.BOUND)
    assert left_out == len(whole.samples()) - len(bounded.samples())
    assert bounded.value("verdict", status="ok") == 0


def test_as_many_slices_as_may_be_declared_fit_below_the_bound() -> None:
    names = tuple(f"category {number}" for number in range(MOST_SLICES - 2))
    declared = Declared(
        main_category=names,
        price=(),
        rating_number=(),
        text_length=(),
        script=False,
        image=False,
        flags=False,
    )
    result = example_result()
    slices, drift = [], []
    for name in names:
        slice_ = Slice(dimension="main_category", value=name)
        slices.append(result.slices[0].model_copy(update={"slice": slice_}))
        drift += [
            Drift(kind=kind, slice=slice_, n_before=9, n_after=9, psi=0.1, ks=0.1, alarming=False, words="")
            for kind in (DriftKind.SCORE, DriftKind.TEXT_LENGTH)
        ]
        drift.append(result.drift[0].model_copy(update={"slice": slice_, "detail": None}))
    page = Page(declared)
    page.exporter.show(result.model_copy(update={"slices": tuple(slices), "drift": tuple(drift)}))
    assert page.value("series_left_out", why="bound") == 0


def test_a_result_replaces_the_one_before_as_a_whole() -> None:
    page = shown(example_result())
    page.exporter.show(without_data())
    assert page.samples() == shown(without_data()).samples()


def test_a_failed_run_leaves_the_figures_and_the_time_of_the_last_success() -> None:
    page = shown(example_result())
    before = page.samples()
    page.exporter.began()
    assert page.value("running") == 1
    page.exporter.ended(RunOutcome.FAILED, at_s=NOW_MS / 1000 + 7200, took_s=3.0)
    after = page.samples()
    changed = {name for name, _ in after.keys() | before.keys() if _differs(name, before, after)}
    assert changed == {"runs_total", "last_run_timestamp_seconds", "last_run_seconds"}
    assert page.value("runs_total", outcome="failed") == 1
    assert page.value("last_success_timestamp_seconds") == pytest.approx(NOW_MS / 1000 + 4.2)


def _differs(name: str, before: Samples, after: Samples) -> bool:
    return [v for (n, _), v in before.items() if n == name] != [v for (n, _), v in after.items() if n == name]


def test_before_the_first_good_run_there_is_no_last_success() -> None:
    page = Page()
    page.exporter.ended(RunOutcome.KILLED, at_s=10.0, took_s=3.0)
    assert page.names() == {
        "interval_seconds",
        "running",
        "last_run_timestamp_seconds",
        "last_run_seconds",
        "runs_total",
    }


def test_alarms_of_one_kind_in_one_slice_are_one_series_and_counted_each() -> None:
    twice = [Alarm(kind=AlarmKind.DRIFT, slice=BOOKS, words=words) for words in ("one", "another")]
    page = shown(example_result().model_copy(update={"alarms": tuple(twice)}))
    assert page.value("alarm_active", kind="drift", **of(BOOKS)) == 1
    assert page.value("alarms", kind="drift") == 2


def test_odd_names_of_slices_survive_the_text_format() -> None:
    odd = 'Bücher "R" \\ Us — {a="b"}'
    page = Page(Declared(main_category=(odd,)))
    where = Slice(dimension="main_category", value=odd)
    one = example_result().slices[0].model_copy(update={"slice": where})
    page.exporter.show(example_result().model_copy(update={"slices": (one,)}))
    assert page.value("plcc", **of(where)) == 0.48


def test_every_name_says_its_unit_or_what_it_counts_and_labels_are_a_closed_list() -> None:
    assert len(DEFINITIONS) == len({each.name for each in DEFINITIONS}) == 30
    for each in DEFINITIONS:
        assert re.search(f"{UNITS}|{COUNTS}", each.name), each.name
        assert each.name.startswith("adgauge_monitor_")
        assert set(each.labels) <= LABELS | {"model", "contract", "generation", "why"}


def test_names_cannot_be_registered_twice() -> None:
    registry = CollectorRegistry()
    Exporter(registry, (), interval_s=1)
    with pytest.raises(ValueError, match="Duplicated timeseries"):
        Exporter(registry, (), interval_s=1)


def test_no_setting_of_the_service_looks_like_a_misspelt_one_to_the_command_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`adgauge monitor --once` may run in the environment of the service, whose settings it does not know."""
    for name in MonitorServiceSettings.model_fields:
        monkeypatch.setenv(f"ADGAUGE_{name}".upper(), "x")
    refuse_misspelt(ServerSettings, MonitorSettings)
