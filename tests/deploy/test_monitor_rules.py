"""Alert rules of the monitor: checked by promtool, about metrics that exist, each with a runbook."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from adgauge.adapters.settings import PREFIX
from adgauge.monitor.metrics import DEFINITIONS
from adgauge.monitor.settings import MonitorConfig, MonitorSettings
from services.monitor.settings import MonitorServiceSettings
from tools.document_metrics import MONITOR_QUERIES
from tools.install import BIN, run

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "prometheus"
RULES = (FOLDER / "monitor.rules.yml").read_text()
TESTS = (FOLDER / "monitor.rules.test.yml").read_text()
RUNBOOK = (ROOT / "docs" / "monitor.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES)


@pytest.mark.tool("prometheus")
def test_promtool_accepts_the_rules_and_each_fires_on_its_fault_and_not_before() -> None:
    assert f"{len(ALERTS)} rules found" in run(
        [BIN / "promtool", "check", "rules", "monitor.rules.yml"], cwd=FOLDER
    )
    run([BIN / "promtool", "test", "rules", "monitor.rules.test.yml"], cwd=FOLDER)
    assert len(ALERTS) == 7
    for alert in ALERTS:
        assert re.search(rf"alertname: {alert}\n\s+eval_time: \w+\n\s+exp_alerts: \[\]", TESTS), alert
        assert re.search(rf"alertname: {alert}\n\s+eval_time: \w+\n\s+exp_alerts:\n", TESTS), alert


def test_rules_queries_and_documents_speak_of_metrics_that_exist() -> None:
    served = {f"{each.name}_total" if each.type == "counter" else each.name for each in DEFINITIONS}
    for text in (RULES, TESTS, MONITOR_QUERIES, RUNBOOK):
        asked = set(re.findall(r"adgauge_monitor_\w+", text))
        assert len(asked) >= 4
        assert asked - served == set()


def test_every_alert_has_a_section_in_the_runbook_that_its_link_leads_to() -> None:
    assert set(re.findall(r"^### (Adgauge\w+)$", RUNBOOK, re.MULTILINE)) == set(ALERTS)
    links = re.findall(r"runbook_url: docs/monitor.md#(\w+)", RULES)
    assert links == [alert.lower() for alert in ALERTS]


def test_every_setting_and_rule_is_documented() -> None:
    settings = [*MonitorSettings.model_fields, *MonitorServiceSettings.model_fields]
    missing = [name for name in settings if f"`{PREFIX}{name.upper()}`" not in RUNBOOK]
    assert missing == []
    tables = MonitorConfig()
    fields = [*type(tables.slices).model_fields, *type(tables.rules).model_fields]
    assert len(fields) >= 18
    assert [name for name in fields if f"`{name}`" not in RUNBOOK] == []
