"""`adgauge score input.csv --submission`: the sample catalog in the challenge's form, by a tritonserver."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from adgauge.cli import main
from adgauge.contract import CONTRACT_FILE, load_contract
from adgauge.errors import RecordRejected
from adgauge.product import ProductRecord, parse_product

CATALOG = Path(__file__).parents[2] / "examples" / "catalog"
Row = dict[str, str]


def sample() -> list[ProductRecord]:
    """Products of the sample catalog with an id of their own and no picture on a host, which is not there."""
    products: dict[str, ProductRecord] = {}
    for line in (CATALOG / "products.jsonl").read_bytes().splitlines():
        try:
            product = parse_product(line, 1 << 20)
        except RecordRejected:
            continue
        if not any("://" in picture.urls[0] for picture in product.pictures):
            products.setdefault(product.parent_asin, product)
    return list(products.values())


def written(path: Path, products: Sequence[ProductRecord]) -> Path:
    """As the challenge's input.csv, with titles."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerow(["title", "parent_asin", "image_paths", "fold"])
        for product in products:
            paths = ";".join(picture.urls[0] for picture in product.pictures)
            table.writerow([product.title, product.parent_asin, paths, "test"])
    return path


def json_line(product: ProductRecord) -> str:
    """The same in the item schema."""
    images = [{"large": picture.urls[0]} for picture in product.pictures]
    document = {"parent_asin": product.parent_asin, "title": product.title, "images": images}
    return f"{json.dumps(document)}\n"


@pytest.fixture(scope="module")
def model_dir(brightness_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The served model as it is, but of a size worth stating: costs decide no score."""
    folder = tmp_path_factory.mktemp("model") / "brightness"
    shutil.copytree(brightness_dir, folder)
    state(folder, cost={"params": 26_920_400, "flops": 6_900_000_000, "counter": "by hand"})
    return folder


def state(folder: Path, **changes: Any) -> None:
    document = json.loads(load_contract(folder).to_json())
    (folder / CONTRACT_FILE).write_text(json.dumps(document | changes))


@pytest.fixture(autouse=True)
def _environment(triton_url: str, model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADGAUGE_TRITON_URL", triton_url)
    monkeypatch.setenv("ADGAUGE_MODEL_DIR", str(model_dir))


def score(*arguments: str | Path) -> int:
    return main(["score", *map(str, arguments), "--image-root", str(CATALOG)])


def rows_of(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_sample_catalog_becomes_a_submission_with_the_scores_of_its_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = sample()
    table = written(tmp_path / "input.csv", products)
    packed = tmp_path / "input.csv.gz"
    packed.write_bytes(gzip.compress(table.read_bytes()))
    lines = tmp_path / "input.jsonl"
    lines.write_text("".join(json_line(product) for product in products))

    assert score(table, "--submission", tmp_path / "out.csv", "-o", tmp_path / "csv.jsonl") == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert shown.out.startswith(f"scored {len(products)}")
    assert score(packed, "--submission", tmp_path / "again.csv", "--json") == 0
    assert json.loads(capsys.readouterr().out)["scored"] == len(products)
    assert score(lines, "-o", tmp_path / "lines.jsonl") == 0

    rows, reference = rows_of(tmp_path / "csv.jsonl"), rows_of(tmp_path / "lines.jsonl")
    assert [(row["parent_asin"], row["digest"]) for row in rows] == [
        (row["parent_asin"], row["digest"]) for row in reference
    ]
    with (tmp_path / "out.csv").open(newline="") as file:
        submitted = list(csv.DictReader(file))
    assert submitted == [
        {"item_id": row["parent_asin"], "score": f"{row['score']:.2f}", "params": "26.920", "flops": "6.900"}
        for row in reference
    ]
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "out.csv").read_bytes()


def test_a_submission_that_is_not_whole_replaces_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    products = sample()[:5]
    table = written(tmp_path / "input.csv", [*products, products[1]])
    with table.open("ab") as file:
        file.write(b"a title,B0TOOMANY,x.jpg,test,more\nno id,,x.jpg,test\n")
    submission, out, rejects = tmp_path / "out.csv", tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    submission.write_text("of yesterday")

    assert score(table, "--submission", submission, "-o", out, "--rejects", rejects) == 1

    error = capsys.readouterr().err
    assert error.startswith(f"adgauge: {submission} was not written")
    assert "lines 8, 9 without a score" in error
    assert f"more than once: {products[1].parent_asin} (lines 3 and 7)" in error
    assert error.count("\n") == 1
    assert submission.read_text() == "of yesterday"
    assert [row["line"] for row in rows_of(out)] == [2, 3, 4, 5, 6, 7]
    assert [(row["line"], row["reason"], row["detail"]) for row in rows_of(rejects)] == [
        (8, "invalid", "5 cells; the first row has 4"),
        (9, "no_id", "parent_asin is empty"),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (table, submission, out, rejects)
    }


def test_a_csv_is_printed_like_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    product = sample()[0]
    assert score(written(tmp_path / "input.csv", [product])) == 0

    shown = capsys.readouterr()
    assert shown.out.endswith(f"  {product.parent_asin}\n")
    assert shown.err.startswith("scored 1\n")


def test_a_model_that_breaks_the_protocol_is_warned_of(
    tmp_path: Path, model_dir: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "brightness"
    shutil.copytree(model_dir, folder)
    protocol = load_contract(folder).protocol.model_dump()
    state(folder, protocol=protocol | {"test_time_augmentation": True})
    monkeypatch.setenv("ADGAUGE_MODEL_DIR", str(folder))
    table = written(tmp_path / "input.csv", sample()[:1])

    assert score(table, "--submission", tmp_path / "out.csv") == 0
    assert capsys.readouterr().err == (
        "adgauge: warning: brightness breaks the Canonical Inference Protocol"
        " (test_time_augmentation = true): it may be refused\n"
    )
    assert (tmp_path / "out.csv").read_text().startswith("item_id,score,params,flops\n")


@pytest.mark.parametrize("option", ["-o", "--rejects", "--submission"])
def test_the_input_is_not_overwritten(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = written(tmp_path / "input.csv", [])
    before = table.read_bytes()

    assert score(table, option, table) == 1
    assert "must be different files" in capsys.readouterr().err
    assert table.read_bytes() == before
