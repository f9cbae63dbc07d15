"""The monitor: labels and scores in, gauges, a report and a history out. Everything is put together here.

    python -m services.monitor                              on a schedule, with /metrics and /healthz
    python -m services.monitor --once [--textfile FILE]     one run, for a CronJob

Each run is a process of its own (one_run), one at a time. One that fails leaves the gauges of the last good
one, whose age then grows.
"""

import argparse
import logging
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector, disable_created_metrics, write_to_textfile

from adgauge.adapters.settings import ServerSettings, load_settings, refuse_misspelt
from adgauge.cli.rows import writing
from adgauge.errors import AdgaugeError, ConfigurationError
from adgauge.monitor.exporter import Exporter
from adgauge.monitor.metrics import RunOutcome
from adgauge.monitor.settings import MonitorSettings, load_config
from adgauge.telemetry.exposition import Health, TelemetryServer
from adgauge.telemetry.logging import configure_logging
from services.monitor.runs import RunProcess
from services.monitor.settings import MonitorServiceSettings
from services.monitor.state import StateFolder

log = logging.getLogger("services.monitor")

Stopped = Callable[[], bool]

STALLED_AFTER_S = 60.0
POLL_S = 0.2
_WHY = {
    RunOutcome.FAILED: "see the line before",
    RunOutcome.TIMEOUT: "it took longer than ADGAUGE_MONITOR_RUN_LIMIT_S",
    RunOutcome.KILLED: "the system killed it; lower ADGAUGE_MONITOR_MEMORY_MB or give it more memory",
}


def main() -> int:
    """Exit code: 0 after a stop that was asked for or one good run, 1 with one line when it cannot work."""
    arguments = _arguments()
    try:
        refuse_misspelt(ServerSettings, MonitorSettings, MonitorServiceSettings)
        settings, service = load_settings(MonitorSettings), load_settings(MonitorServiceSettings)
        configure_logging(sys.stderr, getattr(logging, service.log_level))
        stopped = _stop_on_signal()
        if arguments.once:
            return once(settings, service, arguments.textfile, stopped)
        serve(settings, service, stopped)
    except AdgaugeError as error:
        print(f"adgauge monitor: {error}", file=sys.stderr)
        return 1
    return 0


def serve(settings: MonitorSettings, service: MonitorServiceSettings, stopped: Stopped) -> None:
    """Run at once and then on schedule until told to stop, and answer Prometheus and probes all along."""
    registry, health = CollectorRegistry(), Health(time.monotonic, STALLED_AFTER_S)
    ProcessCollector(registry=registry)
    job = _job(registry, settings, service, stopped, health.progressed)
    with ExitStack() as stack:
        telemetry = TelemetryServer(registry, health, service.metrics_host, service.metrics_port)
        stack.enter_context(telemetry)
        health.ready()
        log.info("a run every %g s; metrics at %s/metrics", service.monitor_every_s, telemetry.url)
        while not stopped():
            due = time.monotonic() + service.monitor_every_s
            job.run()
            while time.monotonic() < due and not stopped():
                health.progressed()
                time.sleep(POLL_S)


def once(
    settings: MonitorSettings, service: MonitorServiceSettings, textfile: Path | None, stopped: Stopped
) -> int:
    """One run; 0 when it came to a conclusion, whichever. `textfile` is what Prometheus would have read."""
    if textfile is not None and service.monitor_state_dir is None:
        raise ConfigurationError(
            "--textfile needs ADGAUGE_MONITOR_STATE_DIR: after a failed run it shows the last good figures"
        )
    disable_created_metrics()  # type: ignore[no-untyped-call]  # its author left it so
    registry = CollectorRegistry()
    outcome = _job(registry, settings, service, stopped, progressed=lambda: None).run()
    if textfile is not None and outcome is not None:
        with writing(textfile):
            write_to_textfile(str(textfile), registry)
    return 0 if outcome is RunOutcome.OK else 1


@dataclass(frozen=True, slots=True)
class Job:
    """What is done again and again. `progressed` is called several times a second meanwhile."""

    exporter: Exporter
    scratch: Path | None
    limit_s: float
    stopped: Stopped
    progressed: Callable[[], None]

    def run(self) -> RunOutcome | None:
        """One run to its end, which is exported; None where it was told to stop."""
        self.exporter.began()
        begun = time.monotonic()
        try:
            with RunProcess(self.scratch) as run:
                outcome = self._end_of(run, begun + self.limit_s)
                if outcome is RunOutcome.OK:
                    self.exporter.show(run.result())
        except ConfigurationError as error:
            outcome = RunOutcome.FAILED
            log.error("%s", error)
        if outcome is not None:
            self.exporter.ended(outcome, time.time(), time.monotonic() - begun)
        if outcome is None:
            log.info("stopped in the middle of a run")
        elif outcome in _WHY:
            log.error("run %s: %s", outcome, _WHY[outcome])
        return outcome

    def _end_of(self, run: RunProcess, deadline: float) -> RunOutcome | None:
        while not self.stopped():
            self.progressed()
            if (outcome := run.outcome()) is not None:
                return outcome
            if time.monotonic() > deadline:
                return RunOutcome.TIMEOUT
            time.sleep(POLL_S)
        return None


def _job(
    registry: CollectorRegistry,
    settings: MonitorSettings,
    service: MonitorServiceSettings,
    stopped: Stopped,
    progressed: Callable[[], None],
) -> Job:
    """With the last good result exported, where one was kept. Raises ConfigurationError for bad settings."""
    if settings.monitor_labels is None:
        raise ConfigurationError("set ADGAUGE_MONITOR_LABELS, for example to labels/*.parquet")
    config = load_config(settings.monitor_config)
    exporter = Exporter(
        registry,
        config.slices.dimensions(),
        interval_s=service.monitor_every_s,
        most=service.monitor_max_series,
    )
    if service.monitor_state_dir is not None:
        last_good = StateFolder(service.monitor_state_dir).last_good()
        if last_good is not None:
            exporter.show(last_good)
    return Job(exporter, settings.monitor_scratch, service.monitor_run_limit_s, stopped, progressed)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m services.monitor",
        description="Settings come from ADGAUGE_MONITOR_* variables (docs/monitor.md).",
    )
    parser.add_argument("--once", action="store_true", help="one run, and end: 0 when it concluded")
    parser.add_argument(
        "--textfile", type=Path, metavar="FILE", help="with --once: gauges for node-exporter (*.prom)"
    )
    arguments = parser.parse_args()
    if arguments.textfile is not None and not arguments.once:
        parser.error("--textfile goes with --once; the service has /metrics")
    return arguments


def _stop_on_signal() -> Stopped:
    """Whether it was told to stop. No Event: the loop that a signal interrupts may hold an Event's lock."""
    heard: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: heard.append(number))
    return lambda: bool(heard)


if __name__ == "__main__":
    sys.exit(main())
