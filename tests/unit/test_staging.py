"""A version's folder appears complete or not at all, whatever becomes of its export."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from adgauge.errors import ConfigurationError
from adgauge.export.staging import PREFIX, model_folder, publish, staging

KILLED = """
import os, sys
from pathlib import Path
from adgauge.export.staging import model_folder, staging
with model_folder(Path(sys.argv[1]), "small", print) as folder, staging(folder) as staged:
    (staged / "model.onnx").write_text("half of it")
    os.kill(os.getpid(), 9)
"""


def silent(_: str) -> None:
    pass


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def fail(root: Path, error: BaseException) -> None:
    with model_folder(root, "small", silent) as folder, staging(folder) as staged:
        (staged / "model.onnx").write_text("half of it")
        raise error


def test_what_is_published_is_there_and_readable_by_any_user(tmp_path: Path) -> None:
    with model_folder(tmp_path / "repository", "small", silent) as folder, staging(folder) as staged:
        (staged / "model.onnx").write_text("a graph")
        assert tree(folder) == [staged.name, f"{staged.name}/model.onnx"]
        publish(staged, folder / "1")
    assert tree(tmp_path) == [
        "repository",
        "repository/small",
        "repository/small/1",
        "repository/small/1/model.onnx",
    ]
    assert (folder / "1").stat().st_mode & 0o777 == 0o755


def test_an_export_that_fails_leaves_nothing_not_even_the_folders_it_made(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        fail(tmp_path / "new" / "repository", RuntimeError())
    assert tree(tmp_path) == []


def test_an_export_that_fails_leaves_the_versions_that_were_there(tmp_path: Path) -> None:
    (tmp_path / "small" / "1").mkdir(parents=True)
    with pytest.raises(KeyboardInterrupt):
        fail(tmp_path, KeyboardInterrupt())
    assert tree(tmp_path) == ["small", "small/1"]


def test_what_an_export_left_that_was_killed_is_cleared_by_the_next(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(name.startswith(f"small/{PREFIX}") for name in tree(tmp_path))
    with model_folder(tmp_path, "small", silent) as folder:
        assert tree(folder) == []


def test_two_exports_of_one_model_take_turns(tmp_path: Path) -> None:
    waiting, entered, said = threading.Event(), threading.Event(), []

    def show(text: str) -> None:
        said.append(text)
        waiting.set()

    def other() -> None:
        with model_folder(tmp_path, "small", show):
            entered.set()

    second = threading.Thread(target=other)
    with model_folder(tmp_path, "small", silent) as folder:
        second.start()
        assert waiting.wait(10)
        assert not entered.is_set()
    second.join(10)
    assert entered.is_set()
    assert said == [f"waiting for another export into {folder}"]
    assert tree(tmp_path) == []


@pytest.mark.parametrize("taken", ["repository", "repository/small"])
def test_where_no_folder_can_be_made_one_line_says_so(taken: str, tmp_path: Path) -> None:
    (tmp_path / taken).parent.mkdir(exist_ok=True)
    (tmp_path / taken).write_text("a file")
    with (
        pytest.raises(ConfigurationError, match=r"cannot write .*small: (Not a directory|File exists)"),
        model_folder(tmp_path / "repository", "small", silent),
    ):
        raise AssertionError
    assert (tmp_path / taken).read_text() == "a file"


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match=r"cannot write .*small: No space left on device"),
        model_folder(tmp_path, "small", silent) as folder,
        staging(folder),
    ):
        Path("/dev/full").write_text("x")
    assert tree(tmp_path) == []
