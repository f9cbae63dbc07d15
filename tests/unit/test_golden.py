import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.data_url import data_url, data_url_bytes
from adgauge.canonical.golden import GoldenRecord, canonicalize_golden, golden_line, load_golden
from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import ContractMismatch
from adgauge.product import parse_product
from adgauge.records import Flag
from tests.contracts import contract, image_spec


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, "PNG")
    return buffer.getvalue()


def test_golden_records_are_written_read_and_canonicalized_again(tmp_path: Path) -> None:
    canonicalizer = Canonicalizer(contract(tmp_path), tmp_path)
    products: list[dict[str, Any]] = [
        {"parent_asin": "B01", "title": "Red", "images": [{"large": data_url(png("red"), "image/png")}]},
        {"parent_asin": "B02", "title": "Café", "images": None},
    ]
    records = [
        GoldenRecord(parse_product(json.dumps(each).encode(), 1 << 20), "unknown", 0.0) for each in products
    ]
    made = canonicalize_golden(canonicalizer, records)
    lines = [golden_line(each, one.digest, 3.25) for each, one in zip(products, made, strict=True)]
    (tmp_path / "golden.jsonl").write_text("\n".join(lines) + "\n")

    golden = load_golden(tmp_path / "golden.jsonl")

    assert [record.score for record in golden] == [3.25, 3.25]
    assert [one.digest for one in canonicalize_golden(canonicalizer, golden)] == [
        record.digest for record in golden
    ]
    assert [one.flags for one in made] == [frozenset(), {Flag.NO_IMAGE}]
    assert made[0].arrays["image"][:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}\n",
        "nonsense\n",
        '{"product": {}, "digest": "a", "score": 1}\n',
        '{"product": [], "score": "x"}',
    ],
)
def test_a_broken_golden_file_is_a_broken_contract(text: str, tmp_path: Path) -> None:
    path = tmp_path / "golden.jsonl"
    path.write_text(text)

    with pytest.raises(ContractMismatch, match="export the model again"):
        load_golden(path)
    path.unlink()
    with pytest.raises(ContractMismatch, match="No such file"):
        load_golden(path)


def test_a_golden_record_without_the_picture_its_contract_requires_is_refused(tmp_path: Path) -> None:
    canonicalizer = Canonicalizer(contract(tmp_path, image=image_spec(required=True)), tmp_path)
    product = parse_product(b'{"parent_asin": "B01", "image": "https://elsewhere/1.jpg"}', 1 << 20)

    with pytest.raises(ContractMismatch, match="golden record B01"):
        canonicalize_golden(canonicalizer, [GoldenRecord(product, "", 0.0)])


class TestDataUrl:
    @pytest.mark.parametrize(
        ("url", "expected"),
        [
            ("data:image/png;base64,AAEC", b"\x00\x01\x02"),
            ("DATA:;BASE64,AA%3D%3D", b"\x00"),
            ("data:image/png;base64, AA\nEC ", b"\x00\x01\x02"),
            ("data:,a%20b", b"a b"),
            ("data:,", b""),
        ],
    )
    def test_bytes_are_read(self, url: str, expected: bytes) -> None:
        assert data_url_bytes(url, 10) == expected

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("data:image/png;base64", ImageReason.BAD_REFERENCE),
            ("data:image/png;base64,A", ImageReason.BAD_REFERENCE),
            ("data:image/png;base64,A*==", ImageReason.BAD_REFERENCE),
            ("data:image/png;base64,é", ImageReason.BAD_REFERENCE),
            ("https://x/,", ImageReason.BAD_REFERENCE),
            ("data:,12345678901", ImageReason.TOO_LARGE),
            ("data:;base64," + "A" * 100, ImageReason.TOO_LARGE),
        ],
    )
    def test_what_holds_no_bytes_has_a_reason(self, url: str, reason: ImageReason) -> None:
        with pytest.raises(ImageError) as caught:
            data_url_bytes(url, 10)

        assert caught.value.reason == reason
