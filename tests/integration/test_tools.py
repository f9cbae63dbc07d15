"""The pinned tools run in their pinned versions, and their absence is never silent."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.embedded.ports import free_port
from services.embedded.settings import ROOT, child_environment
from services.embedded.workspace import Workspace
from tools.install import BIN, PINNED

NEEDS_HELM = """
import pytest
@pytest.mark.tool("helm")
def test_chart(): assert True
def test_other(): assert True
"""


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.tool(name)) for name in PINNED])
def test_pinned_tool_runs_in_its_version(name: str) -> None:
    assert PINNED[name].problem() is None


@pytest.fixture
def fresh_clone(tmp_path: Path) -> Path:
    """The test harness before `make tools`, with one test that needs helm and one that does not."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests/pinned_tools.py", tmp_path / "tests/conftest.py")
    (tmp_path / "tests/test_chart.py").write_text(NEEDS_HELM)
    return tmp_path


def lines_of_pytest(folder: Path, ci: str) -> list[str]:
    argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--color=no"]
    done = subprocess.run(
        argv, cwd=folder, env=os.environ | {"CI": ci}, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout.splitlines()


def test_absent_tool_skips_its_tests_and_says_so_before_the_summary(fresh_clone: Path) -> None:
    *lines, summary = lines_of_pytest(fresh_clone, ci="")
    assert "1 passed, 1 skipped" in summary
    assert f"TOOL ABSENT, its tests were skipped: {PINNED['helm'].absent}" in lines


def test_absent_tool_is_a_failure_under_ci(fresh_clone: Path) -> None:
    *lines, summary = lines_of_pytest(fresh_clone, ci="true")
    assert "1 passed, 1 error" in summary
    assert any(PINNED["helm"].absent in line for line in lines)


@pytest.mark.tool("redis")
def test_redis_speaks_tls(tmp_path: Path) -> None:
    key, certificate, port = tmp_path / "key.pem", tmp_path / "cert.pem", free_port()
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"]
    subprocess.run([*request, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    tls: list[str | Path] = ["--tls-port", str(port), "--tls-cert-file", certificate, "--tls-key-file", key]
    ping: list[str | Path] = [BIN / "redis-cli", "-p", str(port), "--tls", "--cacert", certificate, "ping"]
    with Workspace() as workspace:
        argv = [BIN / "redis-server", "--bind", "127.0.0.1", "--port", "0", *tls, "--tls-auth-clients", "no"]
        redis = workspace.start("redis", argv, child_environment())
        redis.wait_until(
            lambda: subprocess.run(ping, capture_output=True, text=True, check=False).stdout == "PONG\n",
            timeout_s=15,
        )
