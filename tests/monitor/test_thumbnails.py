"""Pictures of the worst products: from given folders and from records, and from nowhere else."""

from __future__ import annotations

from base64 import b64decode
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from adgauge.canonical.data_url import data_url
from adgauge.monitor.page.thumbnails import thumbnails
from adgauge.monitor.result import Residual
from tests.monitor.example_result import example_result


def pointing_at(picture: str, id_: str = "B0") -> Residual:
    return example_result().worst[0].model_copy(update={"id": id_, "picture": picture})


def jpeg() -> bytes:
    file = BytesIO()
    Image.new("RGB", (640, 320), "#c08030").save(file, "JPEG")
    return file.getvalue()


def test_pictures_in_a_folder_and_in_records_become_small_jpegs(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    worst = [pointing_at("a.jpg", "file"), pointing_at(data_url(jpeg(), "image/jpeg"), "record")]
    found = thumbnails(worst, [tmp_path])
    assert set(found) == {"file", "record"}
    for url in found.values():
        head, _, body = url.partition(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(BytesIO(b64decode(body))) as picture:
            assert picture.size == (192, 192)
        assert len(url) < 8_000


@pytest.mark.parametrize(
    "picture",
    [
        "https://cdn.example/a.jpg",
        "missing.jpg",
        "text.jpg",
        "../secret.jpg",
        "link.jpg",
        "data:image/png;base64,!!",
        "file://other/a.jpg",
    ],
)
def test_what_is_no_picture_below_the_folders_is_left_out(tmp_path: Path, picture: str) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    (tmp_path / "secret.jpg").write_bytes(jpeg())
    (folder / "text.jpg").write_text("root:x:0:0")
    (folder / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    assert thumbnails([pointing_at(picture)], [folder]) == {}


def test_without_folders_no_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg())
    assert thumbnails([pointing_at(str(tmp_path / "a.jpg"))], []) == {}
