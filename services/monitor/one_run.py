"""One run, as a process of its own: what it takes of memory goes with it, and it can be ended at any moment.

    python -m services.monitor.one_run FOLDER

Everything else comes from the environment. `result.json` in FOLDER is what it found; it ends at once when
its standard input does, which its owner holds open.
"""

import logging
import os
import shutil
import sys
import threading
from pathlib import Path

from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.monitor_run import Wanted, result_of
from adgauge.errors import AdgaugeError
from adgauge.monitor.result import Result
from adgauge.monitor.settings import MonitorSettings
from adgauge.telemetry.logging import configure_logging
from services.monitor.settings import MonitorServiceSettings
from services.monitor.state import StateFolder

log = logging.getLogger("services.monitor")

RESULT = "result.json"


def main() -> int:
    """Exit code: 0 for a run that came to a conclusion, 1 with one line for one that could not."""
    folder = Path(sys.argv[1])
    threading.Thread(target=_end_with_owner, args=(folder,), daemon=True).start()
    try:
        run(folder)
    except AdgaugeError as error:
        print(f"adgauge monitor: {error}", file=sys.stderr)
        return 1
    return 0


def run(folder: Path) -> None:
    """Find out, keep it, and leave it for the owner. Raises AdgaugeError."""
    service, servers = load_settings(MonitorServiceSettings), load_settings(ServerSettings)
    configure_logging(sys.stderr, getattr(logging, service.log_level))
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what keeps us from reading is in our errors
    settings = load_settings(MonitorSettings).model_copy(update={"monitor_scratch": folder})
    result = result_of(Wanted(model=servers.model_dir), settings, servers)
    _tell(result)
    if service.monitor_state_dir is not None:
        StateFolder(service.monitor_state_dir).keep(result, servers.image_roots)
    (folder / RESULT).write_text(result.to_json(), encoding="utf-8")


def _tell(result: Result) -> None:
    """Alarms have words here and in the report only: as labels they would be series without end."""
    for alarm in result.alarms:
        log.warning("alarm %s: %s", alarm.kind, alarm.words)
    for bad in result.bad_rows:
        log.warning("left out: %d rows of %s, %s", bad.rows, bad.source, bad.reason)
    log.info("%s: %s", result.verdict.status, result.verdict.headline)


def _end_with_owner(folder: Path) -> None:
    while os.read(0, 1):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    os._exit(code)  # nothing is left that anybody would wait for
