"""Every system, exported at a size for tests, is loaded by a real tritonserver and scores a catalog."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import pytest

from adgauge.cli import main
from adgauge.export.repository import Written
from adgauge.models.registry import TINY
from services.embedded.settings import EmbeddedSettings
from services.embedded.triton import Triton, start_triton
from services.embedded.workspace import Workspace

CATALOG = Path(__file__).resolve().parents[2] / "examples" / "catalog" / "products.jsonl"
PRODUCTS = 16

Export = Callable[[str], Written]


@pytest.fixture(scope="module")
def triton(exported: Export, tiny_repository: Path) -> Iterator[Triton]:
    """A server of all of them; it needs them exported, which takes a while where no test has done it."""
    names = sorted(TINY)
    for name in names:
        exported(name)
    with Workspace() as workspace:
        venv = EmbeddedSettings().triton_venv
        server = start_triton(workspace, venv=venv, repository=tiny_repository, models=names)
        server.wait_until_ready()
        yield server


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", sorted(TINY))
def test_every_system_scores_a_catalog_through_triton(
    name: str,
    triton: Triton,
    tiny_repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("ADGAUGE_TRITON_URL", triton.url)
    monkeypatch.setenv("ADGAUGE_MODEL_REPOSITORY", str(tiny_repository))
    with CATALOG.open() as lines:
        (tmp_path / "first.jsonl").write_text("".join(islice(lines, PRODUCTS)))
    output = ["-o", str(tmp_path / "scores.jsonl"), "--image-root", str(CATALOG.parent), "--json"]
    assert main(["score", str(tmp_path / "first.jsonl"), "--model", name, *output]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert (summary["scored"], summary["rejected"]) == (PRODUCTS, {})
    rows = [json.loads(line) for line in (tmp_path / "scores.jsonl").read_text().splitlines()]
    assert len({row["score"] for row in rows}) > PRODUCTS / 2
