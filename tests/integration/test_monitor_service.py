"""services.monitor as it is deployed: a real Prometheus scrapes it; alerts fire on a fault and not before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families

from adgauge.monitor.result import Result
from services.embedded.ports import HOST, free_port
from services.embedded.probes import http_ok
from services.embedded.processes import POLL_S, ServerProcess
from services.embedded.scorer import scrape, total
from services.embedded.settings import scorer_environment
from services.embedded.workspace import Workspace
from tests.monitor.faults import SHUFFLED, WITHOUT_PICTURES, GeneratedCatalog
from tools.install import BIN

RULES = Path(__file__).resolve().parents[2] / "deploy/prometheus/monitor.rules.yml"
PATIENCE_S = 30.0
ENGINE_FOLDER = "*/adgauge-monitor-*"
"""Below the scratch folder: there while a run reads and measures."""
PROMETHEUS = """\
global: {{scrape_interval: 200ms, evaluation_interval: 200ms}}
rule_files: [{rules}]
scrape_configs:
  - job_name: monitor
    static_configs: [targets: ["127.0.0.1:{port}"]]
"""
FIGURES = ("plcc", "plcc_low", "plcc_high", "srcc", "mae_stars", "bias_stars")

Series = dict[tuple[tuple[str, str], ...], float]


class Monitor:
    """The service on a generated catalog, running whenever its last run has ended a second ago."""

    def __init__(self, workspace: Workspace, folder: Path, **settings: str) -> None:
        folder.mkdir(exist_ok=True)
        self.catalog = GeneratedCatalog(folder)
        self.catalog.write()
        self.folder = folder
        self.scratch = folder / "scratch"
        self.scratch.mkdir(parents=True)
        self._workspace = workspace
        self._settings = settings

    def environment(self) -> dict[str, str]:
        own = {
            "ADGAUGE_MONITOR_STATE_DIR": str(self.folder / "state"),
            "ADGAUGE_MONITOR_SCRATCH": str(self.scratch),
            "ADGAUGE_MONITOR_EVERY_S": "3",
        }
        return scorer_environment() | self.catalog.environment() | own | self._settings

    def start(self) -> None:
        self.port = free_port()
        argv = [sys.executable, "-m", "services.monitor"]
        name = f"monitor-{self.port}"
        environment = self.environment() | {"ADGAUGE_METRICS_PORT": str(self.port)}
        self.process = self._workspace.start(name, argv, environment)
        self.process.wait_until(lambda: http_ok(self.port, "/healthz/ready"), timeout_s=PATIENCE_S)

    def once(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "services.monitor", "--once", *arguments]
        return subprocess.run(argv, env=self.environment(), capture_output=True, text=True, check=False)

    def runs(self, outcome: str) -> float:
        return total(
            scrape(f"http://{HOST}:{self.port}/metrics"), "adgauge_monitor_runs_total", outcome=outcome
        )

    def value(self, name: str, **labels: str) -> float:
        return total(scrape(f"http://{HOST}:{self.port}/metrics"), f"adgauge_monitor_{name}", **labels)

    def result(self) -> Result:
        return Result.model_validate_json((self.folder / "state/result.json").read_bytes())

    def lose_labels(self) -> None:
        (self.folder / "labels.jsonl").unlink()

    def wait_for(self, ready: Callable[[], bool]) -> None:
        self.process.wait_until(ready, timeout_s=PATIENCE_S)


@pytest.fixture
def monitor(workspace: Workspace, tmp_path: Path) -> Iterator[Monitor]:
    monitor = Monitor(workspace, tmp_path)
    yield monitor
    if hasattr(monitor, "process"):
        monitor.process.kill()


class Prometheus:
    """A server that scrapes one port several times a second, with the rules that are deployed."""

    def __init__(self, workspace: Workspace, folder: Path, scraped: int) -> None:
        self._port = free_port({scraped})
        config = folder / "prometheus.yml"
        config.write_text(PROMETHEUS.format(rules=RULES, port=scraped))
        argv: list[str | Path] = [
            BIN / "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'tsdb'}",
            f"--web.listen-address={HOST}:{self._port}",
        ]
        self.process: ServerProcess = workspace.start("prometheus", argv, {})
        self.process.wait_until(lambda: http_ok(self._port, "/-/ready"), timeout_s=PATIENCE_S)

    def series(self, expression: str) -> Series:
        """Labels, without those of the target, and values."""
        url = f"http://{HOST}:{self._port}/api/v1/query?{urlencode({'query': expression})}"
        with urlopen(url, timeout=5.0) as page:
            found = json.load(page)["data"]["result"]
        return {
            tuple(sorted((k, v) for k, v in each["metric"].items() if k not in ("instance", "job"))): float(
                each["value"][1]
            )
            for each in found
        }

    def firing(self) -> set[tuple[str, str | None, str | None]]:
        """Alert, kind of alarm and category."""
        alerts = [dict(labels) for labels in self.series('ALERTS{alertstate="firing"}')]
        return {(each["alertname"], each.get("kind"), each.get("slice")) for each in alerts}


@pytest.fixture
def prometheus(workspace: Workspace, monitor: Monitor, tmp_path: Path) -> Iterator[Prometheus]:
    monitor.start()
    prometheus = Prometheus(workspace, tmp_path, monitor.port)
    yield prometheus
    prometheus.process.kill()


def figures_in(result: Result) -> dict[str, Series]:
    """What Prometheus must hold, as the document has it."""
    found: dict[str, Series] = {f"adgauge_monitor_{name}": {} for name in FIGURES}
    for one in (result.overall, *result.slices):
        figures = one.figures
        values = (
            figures.plcc.value,
            figures.plcc.low,
            figures.plcc.high,
            figures.srcc.value,
            figures.mae.value,
            figures.bias.value,
        )
        for name, value in zip(found, values, strict=True):
            if one.judged and value is not None:
                labels = ("__name__", name), ("dimension", one.slice.dimension), ("slice", one.slice.value)
                found[name][labels] = value
    return found


@pytest.mark.tool("prometheus")
def test_prometheus_holds_the_figures_of_the_result_and_alerts_fire_within_one_run_of_a_fault(
    monitor: Monitor, prometheus: Prometheus
) -> None:
    monitor.wait_for(lambda: monitor.runs("ok") >= 1)

    def agrees() -> bool:
        expected = figures_in(monitor.result())
        return {name: prometheus.series(name) for name in expected} == expected

    monitor.wait_for(agrees)
    assert len(prometheus.series("adgauge_monitor_plcc")) == 5  # all, three categories, with pictures
    monitor.wait_for(lambda: monitor.runs("ok") >= 2)
    assert prometheus.series('max_over_time(ALERTS{alertstate="firing"}[1m])') == {}

    monitor.catalog.write(faulty=True)
    before = monitor.runs("ok")  # one may be going on, and have read the files already
    monitor.wait_for(lambda: len(prometheus.firing()) >= 4)
    assert monitor.runs("ok") <= before + 2
    by_category = {each for each in prometheus.firing() if each[2] not in ("all", "with")}
    assert by_category == {
        ("AdgaugeQualityAlarm", "plcc_fell", SHUFFLED),
        ("AdgaugeQualityAlarm", "plcc_below_floor", SHUFFLED),
        ("AdgaugeDrift", "images_missing", WITHOUT_PICTURES),
    }

    monitor.catalog.write()
    monitor.wait_for(lambda: not prometheus.firing())


def test_runs_that_fail_leave_the_last_good_figures_and_a_restart_finds_them_again(monitor: Monitor) -> None:
    monitor.start()
    monitor.wait_for(lambda: monitor.runs("ok") >= 1)
    plcc = monitor.value("plcc", slice="all")
    succeeded = monitor.value("last_success_timestamp_seconds")
    assert plcc == monitor.result().overall.figures.plcc.value

    monitor.lose_labels()
    monitor.wait_for(lambda: monitor.runs("failed") >= 1)
    assert monitor.value("plcc", slice="all") == plcc
    monitor.process.stop()
    monitor.start()
    monitor.wait_for(lambda: monitor.runs("failed") >= 1)
    assert (monitor.value("plcc", slice="all"), monitor.runs("ok")) == (plcc, 0)
    assert monitor.value("last_success_timestamp_seconds") == pytest.approx(succeeded, abs=10)
    assert monitor.value("last_run_timestamp_seconds") > succeeded
    assert "labels.jsonl does not exist" in monitor.process.log.read_text()


def test_sigterm_in_the_middle_of_a_run_ends_it_within_seconds_and_leaves_nothing(monitor: Monitor) -> None:
    monitor.start()
    monitor.wait_for(lambda: any(monitor.scratch.glob(ENGINE_FOLDER)))
    began = time.monotonic()
    os.kill(monitor.process.pid, signal.SIGTERM)
    while monitor.process.is_running():
        assert time.monotonic() - began < 5.0
        time.sleep(POLL_S)
    ended = os.waitid(os.P_PID, monitor.process.pid, os.WEXITED | os.WNOWAIT)
    assert ended is not None
    assert (ended.si_code, ended.si_status) == (os.CLD_EXITED, 0)
    assert list(monitor.scratch.iterdir()) == []
    assert not (monitor.folder / "state/result.json").exists()


def test_a_run_that_is_killed_or_too_long_has_failed_and_the_service_goes_on(
    workspace: Workspace, tmp_path: Path
) -> None:
    monitor = Monitor(workspace, tmp_path, ADGAUGE_MONITOR_RUN_LIMIT_S="0.3", ADGAUGE_MONITOR_EVERY_S="0.5")
    monitor.start()
    monitor.wait_for(lambda: monitor.runs("timeout") >= 2)
    assert "longer than ADGAUGE_MONITOR_RUN_LIMIT_S" in monitor.process.log.read_text()
    monitor.process.kill()

    monitor = Monitor(workspace, tmp_path / "again", ADGAUGE_MONITOR_EVERY_S="0.5")
    monitor.start()
    monitor.wait_for(lambda: any(monitor.scratch.iterdir()))
    kill_child(monitor.process.pid)
    monitor.wait_for(lambda: monitor.runs("killed") == 1 and monitor.runs("ok") >= 1)
    monitor.process.kill()


def kill_child(parent: int) -> None:
    (child,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    os.kill(int(child), signal.SIGKILL)


def test_a_run_ends_with_a_service_that_was_killed(monitor: Monitor) -> None:
    monitor.start()
    monitor.wait_for(lambda: any(monitor.scratch.glob(ENGINE_FOLDER)))
    os.kill(monitor.process.pid, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while list(monitor.scratch.iterdir()):
        assert time.monotonic() < deadline
        time.sleep(POLL_S)


def test_once_leaves_result_report_history_and_gauges_and_a_failed_one_keeps_the_figures(
    monitor: Monitor, tmp_path: Path
) -> None:
    textfile = tmp_path / "adgauge.prom"
    done = monitor.once("--textfile", str(textfile))
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(path.name for path in (tmp_path / "state").iterdir()) == [
        "history.sqlite",
        "report.html",
        "result.json",
    ]
    first = samples(textfile)
    plcc = (("dimension", "all"), ("slice", "all"))
    assert first["adgauge_monitor_plcc", plcc] == monitor.result().overall.figures.plcc.value
    assert not any(name.startswith("process_") for name, _ in first)  # node-exporter has its own

    monitor.lose_labels()
    done = monitor.once("--textfile", str(textfile))
    assert done.returncode == 1
    assert "labels.jsonl does not exist" in done.stderr
    second = samples(textfile)
    assert second["adgauge_monitor_plcc", plcc] == first["adgauge_monitor_plcc", plcc]
    assert second["adgauge_monitor_runs_total", (("outcome", "failed"),)] == 1
    success, run = (f"adgauge_monitor_last_{what}_timestamp_seconds" for what in ("success", "run"))
    assert second[success, ()] == first[success, ()] < second[run, ()]


def samples(textfile: Path) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(textfile.read_text())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"ADGAUGE_MONITOR_EVERYS": "5"}, "did you mean ADGAUGE_MONITOR_EVERY_S"),
        ({"ADGAUGE_MONITOR_LABELS": ""}, "set ADGAUGE_MONITOR_LABELS"),
        ({"ADGAUGE_MONITOR_STATE_DIR": "/dev/null/state"}, "cannot write /dev/null/state"),
        ({"ADGAUGE_MONITOR_STATE_DIR": ""}, "--textfile needs ADGAUGE_MONITOR_STATE_DIR"),
    ],
)
def test_what_it_cannot_work_with_is_one_line(
    workspace: Workspace, tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    done = Monitor(workspace, tmp_path, **settings).once("--textfile", str(tmp_path / "gauges.prom"))
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert line in done.stderr


def test_a_textfile_is_of_one_run_only() -> None:
    argv = [sys.executable, "-m", "services.monitor", "--textfile", "gauges.prom"]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 2
