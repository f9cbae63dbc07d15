"""Labels in an object store, on a real S3 server."""

from __future__ import annotations

import json
import os

import pytest

from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import Engine
from adgauge.monitor.plans import labels_plan
from adgauge.monitor.reading import Tally, read_into
from adgauge.monitor.sources import parts_of
from services.embedded.workspace import Workspace
from tests.integration.test_object_stores import S3, start_s3
from tests.monitor.log_lines import NOW_MS, label
from tests.pinned_tools import require_tool


@pytest.fixture
def s3(workspace: Workspace, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> S3:
    """A server whose buckets are folders, and an environment that names it and nothing else."""
    require_tool("versitygw", request.config)
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    server = start_s3(workspace, "s3-of-the-monitor")
    server.point_at(monkeypatch)
    return server


@pytest.mark.tool("versitygw")
def test_folders_patterns_and_files_of_a_bucket_are_read(engine: Engine, s3: S3) -> None:
    for name in ("day=1/a.jsonl", "day=2/b.jsonl", "day=2/_half.jsonl"):
        s3.put(f"labels/{name}", json.dumps(label(name)).encode() + b"\n", bucket="shop")
    for location, names in (
        ("s3://shop/labels", {"day=1/a.jsonl", "day=2/b.jsonl"}),
        ("s3://shop/labels/*/b.jsonl", {"day=2/b.jsonl"}),
        ("s3://shop/labels/day=1/a.jsonl", {"day=1/a.jsonl"}),
    ):
        parts = parts_of(engine, location)
        read_into(engine, labels_plan(NOW_MS, None), location, parts, Tally())
        assert {row[0] for row in engine.rows("SELECT id FROM labels")} == names


def test_a_protocol_that_nothing_reads_is_named(engine: Engine) -> None:
    with pytest.raises(ConfigurationError, match="carrier-pigeon:// is nothing that fsspec reads"):
        parts_of(engine, "carrier-pigeon://labels")
