"""The list of photographs is pinned, large enough to train on and stays inside its folder."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from tools import photos


def test_every_package_is_pinned_and_says_where_its_licence_stands() -> None:
    for package in photos.packages():
        assert package.registry in {"pypi", "npm"}
        assert len(package.sha256) == 64
        assert package.evidence


def test_there_are_enough_photographs_and_none_twice() -> None:
    paths = photos.photo_paths(Path("photos"))
    assert len(paths) == len(set(paths)) == 225
    assert paths == photos.photo_paths(Path("photos"))


def test_members_never_leave_the_folder() -> None:
    for package in photos.packages():
        for member in (package.evidence, *package.photos):
            assert not PurePosixPath(member).is_absolute()
            assert ".." not in PurePosixPath(member).parts


def test_a_complete_folder_is_not_fetched_again(tmp_path: Path) -> None:
    for path in photos.photo_paths(tmp_path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"already here")
    assert photos.fetch(tmp_path) == photos.photo_paths(tmp_path)


def test_wrong_use_prints_the_usage() -> None:
    assert photos.main([]) == 2
