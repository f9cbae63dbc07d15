"""A version's folder appears complete or not at all, however its export ends.

It is made under another name in the model's folder, which Triton passes over, and gets its own by one rename.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from adgauge.errors import ConfigurationError

PREFIX = ".exporting-"


@contextmanager
def model_folder(root: Path, name: str, show: Callable[[str], None]) -> Iterator[Path]:
    """`root/name`, made where it is missing, and for one export at a time: another one waits.

    What was made is removed again where nothing came into it. What exports left that were killed is removed.
    Raises ConfigurationError where nothing can be written, in the block too.
    """
    folder = root / name
    try:
        descriptor, made = _locked(folder, show)
        try:
            for left in folder.glob(f"{PREFIX}*"):
                shutil.rmtree(left)
            yield folder
        finally:
            for each in made:
                with suppress(OSError):  # it is not empty
                    each.rmdir()
            os.close(descriptor)
    except OSError as exc:
        raise ConfigurationError(f"cannot write {folder}: {exc.strerror or exc}") from exc


def _locked(folder: Path, show: Callable[[str], None]) -> tuple[int, list[Path]]:
    """A descriptor of the folder, which holds the lock until it is closed, and what had to be made, innermost
    first.
    """
    while True:
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _wait_for(descriptor, folder, show)
            if folder.is_dir() and os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor, missing
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # the export we waited for failed and removed it


def _wait_for(descriptor: int, folder: Path, show: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        show(f"waiting for another export into {folder}")
        fcntl.flock(descriptor, fcntl.LOCK_EX)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """An empty folder inside a model's folder; what is still there when the block ends is removed."""
    staged = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        yield staged
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def publish(staged: Path, place: Path) -> None:
    """Give a complete folder its name, for readers of any user, once it is safe from a loss of power.

    `place` does not exist, or is an empty folder.
    """
    for path in (*staged.iterdir(), staged):
        _sync(path)
    staged.chmod(0o755)  # tempfile's are for their owner alone
    staged.rename(place)
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
