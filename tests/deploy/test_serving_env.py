"""What serving needs, installed the way an operator does it: small, without torch, quick to start."""

import statistics
import subprocess
import time
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT_BYTES = 300 * 10**6
HELP_LIMIT_S = 0.5

NEED_AN_EXTRA = {
    "adgauge.cli.gate_run": "duckdb",
    "adgauge.cli.monitor_run": "duckdb",
    "adgauge.cli.parity_check": "torch",
}
"""What these lack in the serving environment: their commands import them late, and say what to install."""
IMPORT_EVERYTHING = f"""
import importlib, importlib.util, pkgutil, sys
import adgauge.cli, services.scorer.__main__
need = {NEED_AN_EXTRA}
for module in pkgutil.iter_modules(adgauge.cli.__path__, "adgauge.cli."):
    if not module.name.endswith("__main__") and module.name not in need:
        importlib.import_module(module.name)
foreign = ("torch", "transformers", "adgauge.models", "adgauge.training", "adgauge.export")
print([name for name in foreign if name in sys.modules])
print([name for name in ("torch", "transformers", "onnxruntime", "duckdb") if importlib.util.find_spec(name)])
for name, lacking in need.items():
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as missing:
        print(name, missing.name == lacking)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the package and its base dependencies."""
    folder = tmp_path_factory.mktemp("serving")
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [
        folder / "bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", ROOT], check=True)
    return folder


@pytest.mark.timeout(300)
def test_the_serving_environment_is_small(installed: Path) -> None:
    files = [path.lstat() for path in installed.rglob("*")]

    assert sum(file.st_blocks * 512 for file in files) < LIMIT_BYTES


def test_scorer_and_command_line_need_nothing_of_the_training_world(installed: Path) -> None:
    ran = subprocess.run(
        [installed / "bin/python", "-c", IMPORT_EVERYTHING],
        env={"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    )

    assert ran.stdout.splitlines() == ["[]", "[]", *(f"{name} True" for name in NEED_AN_EXTRA)]


def test_the_package_brings_no_deployables(installed: Path) -> None:
    ran = subprocess.run(
        [installed / "bin/python", "-Ic", "import services"], check=False, capture_output=True
    )

    assert b"No module named 'services'" in ran.stderr


def test_help_is_there_at_once(installed: Path) -> None:
    seconds = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([installed / "bin/adgauge", "--help"], check=True, capture_output=True)
        seconds.append(time.monotonic() - began)

    assert statistics.median(seconds) < HELP_LIMIT_S


def test_without_a_checkout_scoring_a_file_asks_for_a_triton(
    installed: Path, brightness_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text("{}\n")
    command: list[str | Path] = [installed / "bin/adgauge", "score", "c.jsonl"]
    no_model = subprocess.run(command, env={}, cwd=tmp_path, check=False, capture_output=True, text=True)
    no_triton = subprocess.run(
        [*command, "--model", brightness_dir],
        env={},
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )

    assert (no_model.returncode, no_triton.returncode) == (1, 1)
    assert no_model.stderr == "adgauge: give a model's folder with --model or ADGAUGE_MODEL_DIR\n"
    assert no_triton.stderr == (
        "adgauge: set ADGAUGE_TRITON_URL: only a checkout can start a Triton of its own\n"
    )
