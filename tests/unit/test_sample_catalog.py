"""The sample catalog holds every odd case it promises, within its size, and matches its source."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from examples.catalog import records, source

CATALOG = Path(source.__file__).parent
LINES = (CATALOG / "products.jsonl").read_text().splitlines()
RECORDS: list[dict[str, Any]] = [
    parsed for parsed in (json.loads(line) for line in LINES if line.endswith("}")) if "parent_asin" in parsed
]
BY_ID = {record["parent_asin"]: record for record in RECORDS if "_deleted" not in record}


def asin(number: int) -> str:
    return f"AGB{number:07d}"


def main_image(number: int) -> Image.Image:
    return Image.open(CATALOG / BY_ID[asin(number)]["images"][0]["large"])


def test_the_file_is_what_its_source_gives() -> None:
    assert records.lines() == LINES


def test_every_kind_of_line_is_there_as_often_as_promised() -> None:
    assert len(LINES) == 139
    assert len(BY_ID) == 134
    assert [record["parent_asin"] for record in RECORDS if "_deleted" in record] == [asin(903)]
    assert [each for each, count in Counter(r["parent_asin"] for r in RECORDS).items() if count > 1] == [
        asin(205),
        asin(903),
    ]


def test_the_three_last_lines_cannot_be_products() -> None:
    not_json, not_an_object, without_id = LINES[-3:]
    with pytest.raises(json.JSONDecodeError):
        json.loads(not_json)
    assert isinstance(json.loads(not_an_object), list)
    assert "parent_asin" not in json.loads(without_id)


def test_the_update_follows_the_product_and_says_more() -> None:
    first, second = [record for record in RECORDS if record["parent_asin"] == asin(205)]
    assert first["description"] == []
    assert len(second["title"]) > len(first["title"])
    assert second["description"] != []


def test_the_tombstone_follows_the_product_it_deletes() -> None:
    of_product = ["_deleted" in record for record in RECORDS if record["parent_asin"] == asin(903)]
    assert of_product == [False, True]


def test_unusable_images_are_of_the_three_kinds() -> None:
    assert not (CATALOG / BY_ID[asin(1101)]["images"][0]["large"]).exists()
    with main_image(1102) as broken, pytest.raises(OSError, match="truncated"):
        broken.load()
    assert BY_ID[asin(1103)]["images"][0]["large"].startswith("https://images.adgauge.invalid/")


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1111, ("JPEG", "RGB", 1)),
        (1112, ("JPEG", "CMYK", 1)),
        (1113, ("PNG", "P", 1)),
        (1114, ("PNG", "I;16", 1)),
        (1115, ("WEBP", "RGB", 3)),
        (1116, ("GIF", "P", 3)),
    ],
)
def test_images_come_in_odd_encodings(number: int, expected: tuple[str, str, int]) -> None:
    with main_image(number) as opened:
        assert (opened.format, opened.mode, getattr(opened, "n_frames", 1)) == expected


def test_the_rotated_image_says_so_and_the_palette_image_is_transparent() -> None:
    with main_image(1111) as rotated, main_image(1113) as palette:
        assert rotated.getexif()[0x0112] == 6
        assert palette.convert("RGBA").getchannel("A").getextrema() == (0, 255)


@pytest.mark.parametrize(
    ("number", "sign"), [(1104, "&amp;"), (1105, "急須"), (1106, "مصباح"), (1107, "Плед"), (1108, "🎉")]
)
def test_titles_hold_markup_and_other_scripts(number: int, sign: str) -> None:
    assert sign in BY_ID[asin(number)]["title"]


def test_one_description_is_far_too_long() -> None:
    assert len(BY_ID[asin(1109)]["description"][0]) == pytest.approx(20_000, rel=0.1)


def test_one_record_is_null_everywhere_but_its_id() -> None:
    assert [name for name, value in BY_ID[asin(1110)].items() if value is not None] == ["parent_asin"]


def test_fields_come_in_every_form_that_real_records_have() -> None:
    images = Counter(type(record["images"]).__name__ for record in BY_ID.values())
    details = Counter(type(record["details"]).__name__ for record in BY_ID.values())
    prices = Counter(type(record["price"]).__name__ for record in BY_ID.values())
    assert images == {"list": 130, "dict": 3, "NoneType": 1}
    assert details == {"dict": 130, "str": 3, "NoneType": 1}
    assert prices["float"] > 80
    assert prices["str"] > 15
    assert prices["NoneType"] == 2
    assert {"$12.99", "—", 12.99} <= {record["price"] for record in BY_ID.values()}
    assert set(BY_ID[asin(907)]["images"][0]) == {"360w", "720w", "1920w", "variant"}


def test_good_and_bad_creatives_are_both_there() -> None:
    damages = Counter(product.damage for product in source.products() if product.draw or product.photo)
    assert len(damages) - 1 == 12
    assert damages[None] > 90
    assert sum(count for damage, count in damages.items() if damage) == 27


def test_the_notice_lists_every_picture() -> None:
    listed = (CATALOG / "NOTICE").read_text()
    pictures = sorted(path.name for path in (CATALOG / "images").iterdir())
    named = sorted(Path(path).name for product in source.products() for path in product.pictures)
    assert named == pictures
    assert [name for name in pictures if f"images/{name}: " not in listed] == []


def test_the_catalog_stays_small() -> None:
    ours = (path for path in CATALOG.rglob("*") if path.is_file() and path.suffix != ".pyc")
    assert sum(path.stat().st_size for path in ours) <= 4_000_000
