"""`adgauge ces` and `adgauge leaderboard` as they are typed, with every input that is refused."""

from __future__ import annotations

import csv
import gzip
import io
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adgauge.cli import main
from adgauge.quality.metrics import plcc

Output = pytest.CaptureFixture[str]
ITEMS = 40


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """`submission.csv` and `labels.csv` of the same items, in another order."""
    rng = np.random.default_rng(5)
    ratings = np.clip(4.2 + 0.5 * rng.normal(size=ITEMS), 1, 5).round(1)
    scores = np.clip(ratings + 0.4 * rng.normal(size=ITEMS), 1, 5).round(2)
    rows = [f"B{item:03},{score},27.71,6.81" for item, score in enumerate(scores)]
    labels = [f"B{item:03},{rating},{item + 1}" for item, rating in enumerate(ratings)]
    (tmp_path / "submission.csv").write_text("\n".join(["item_id,score,params,flops", *rows]) + "\n")
    (tmp_path / "labels.csv").write_text(
        "\n".join(["parent_asin,average_rating,rating_number", *reversed(labels)]) + "\n"
    )
    return tmp_path


@pytest.fixture
def model_dir(brightness_dir: Path, tmp_path: Path) -> Path:
    """A model whose contract breaks the protocol twice, and costs 27.706365 M and 6.811128768 G."""
    folder = Path(shutil.copytree(brightness_dir, tmp_path / "brightness"))
    contract = json.loads((folder / "contract.json").read_text())
    contract["protocol"] |= {"ensemble": True, "fixed_size": False}
    contract["cost"] |= {"params": 27_706_365, "flops": 6_811_128_768}
    (folder / "contract.json").write_text(json.dumps(contract))
    return folder


def placing(folder: Path, *more: str) -> list[str]:
    files = ["--submission", f"{folder}/submission.csv", "--labels", f"{folder}/labels.csv"]
    return ["leaderboard", *files, *more]


def edit(path: Path, change: Callable[[list[str]], object]) -> None:
    lines = path.read_text().splitlines()
    change(lines)
    path.write_text("\n".join(lines) + "\n")


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def cells(line: str) -> str:
    """A line of a table with single spaces."""
    return " ".join(line.split())


def answer(capsys: Output, *arguments: str) -> dict[str, Any]:
    assert main(arguments) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    return document


def test_ces_shows_how_it_is_made_in_both_forms(capsys: Output) -> None:
    assert main(["ces", "--plcc", "0.41", "--params-m", "152.12", "--flops-g", "31.14"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "PLCC⁺  0.4100",
        "C      0.4867  = (152.12 M / 1000 M)^0.5 · (31.14 G / 20 G)^0.5, within the budget",
        "CES    0.4205  = PLCC⁺ · E, E 1.0257 (printed: Eq. (3))",
        "CES    0.4248  = PLCC⁺ · E, E 1.0360 (leaderboard: as in Table 1, ln C in the place of C − 1)",
    ]


def test_ces_of_one_form_with_other_parameters_as_json(capsys: Output) -> None:
    arguments = "ces --plcc -0.2 --params-m 200 --flops-g 40 --form printed --json --alpha 0.1 --gamma 0.2"
    document = answer(
        capsys, *arguments.split(), "--weight", "1", "--target-params-m", "100", "--beta", "0.5"
    )

    assert document["cost"] == 2.0
    assert document["over_budget"] is True
    assert document["plcc_plus"] == 0
    assert document["efficiency"] == {"printed": 0.5}
    assert document["ces"] == {"printed": 0.0}
    assert document["budget"] == {
        "target_params_m": 100.0, "target_flops_g": 20.0, "weight": 1.0,
        "alpha": 0.1, "beta": 0.5, "gamma": 0.2,
    }  # fmt: skip
    assert document["model"] is None


def test_ces_of_a_model_marks_what_breaks_the_protocol(model_dir: Path, capsys: Output) -> None:
    assert main(["ces", "--plcc", "0.36", "--model", str(model_dir)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == (
        "! brightness version 1 breaks the Canonical Inference Protocol: fixed_size = false, ensemble = true"
    )
    document = answer(capsys, "ces", "--plcc", "0.36", "--model", str(model_dir), "--json")
    assert (document["params_m"], document["flops_g"]) == (27.706365, 6.811128768)
    assert document["model"]["protocol_breaches"] == ["fixed_size = false", "ensemble = true"]


def test_a_model_that_keeps_the_protocol_is_said_to(brightness_dir: Path, capsys: Output) -> None:
    assert main(["leaderboard", "--model", str(brightness_dir)]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[-1] == "brightness version 1 keeps the Canonical Inference Protocol"
    assert shown[-2].startswith("brightness version 1: P ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("ces --params-m 1 --flops-g 1", "--plcc"),
        ("ces --plcc 1.2 --params-m 1 --flops-g 1", "must lie in [-1, 1]"),
        ("ces --plcc nan --params-m 1 --flops-g 1", "must lie in [-1, 1]"),
        ("ces --plcc 0.4 --params-m 0 --flops-g 1", "must be positive"),
        ("ces --plcc 0.4 --params-m 1", "either --params-m and --flops-g are needed, or --model"),
        ("ces --plcc 0.4", "either --params-m and --flops-g are needed, or --model"),
        ("ces --plcc 0.4 --params-m 1 --flops-g 1 --model x", "either --params-m and --flops-g"),
        ("ces --plcc 0.4 --flops-g 1 --model x", "either --params-m and --flops-g"),
        ("ces --plcc 0.4 --params-m 1 --flops-g 1 --form best", "invalid choice: 'best'"),
        ("leaderboard --csv --json", "not allowed with"),
        ("leaderboard --submission x.csv", "--submission and --labels need each other"),
        ("leaderboard --labels x.csv", "--submission and --labels need each other"),
        ("leaderboard --name ours", "--name and --by-rating-number are of a --submission"),
        ("leaderboard --by-rating-number", "--name and --by-rating-number are of a --submission"),
    ],
)
def test_wrong_use_is_exit_2(arguments: str, complaint: str, capsys: Output) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            "ces --plcc 0.4 --params-m 27706365 --flops-g 6.8",
            "params is 27706365; it must be in millions of parameters, 0.1 to 20,000",
        ),
        (
            "ces --plcc 0.4 --params-m 27.7 --flops-g 6811000000",
            "flops is 6811000000; it must be in GFLOPs for one item, 0.01 to 100,000",
        ),
        ("ces --plcc 0.4 --params-m 1 --flops-g 1 --weight 2", "weight is 2.0; it must lie between 0 and 1"),
        ("ces --plcc 0 --params-m 1 --flops-g 1 --gamma=-1", "gamma is -1.0; it must be a number from 0"),
        ("leaderboard --plot table.bmp", "cannot draw table.bmp: its name must end in .png, .svg, .pdf"),
        ("leaderboard --plot nowhere/x.png", "cannot write nowhere/x.png: No such file or directory"),
        ("leaderboard --model nowhere", "nowhere/contract.json does not exist; export a model there first"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line(arguments: str, complaint: str, capsys: Output) -> None:
    assert main(arguments.split()) == 1
    assert capsys.readouterr().err == f"adgauge: {complaint}\n"


def test_the_table_marks_cells_that_do_not_follow_from_the_row(capsys: Output) -> None:
    assert main(["leaderboard"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "Table 1 of the LoViF 2026 report, and what its own PLCC, P and F give"
    assert [cells(shown[place]) for place in (3, 6, 13)] == [
        "1 olacnqoddchl 0.41 152.12 31.14 1.00 0.49 1.04 ≠ 1.03 1.04 0.43 ≈ 0.42 0.43 ≈ 0.42",
        "3 yinloonkhor 0.36 27.70 6.80 0.00 0.10 1.10 ≠ 1.05 1.10 0.40 ≠ 0.38 0.40",
        "cells that match 10/10 3/10 10/10 9/10 10/10",
    ]
    assert sum(line.count("≠") for line in shown[3:13]) == 7 + 1


def test_json_holds_every_figure(capsys: Output) -> None:
    document = answer(capsys, "leaderboard", "--json")
    assert set(document) == {"budget", "rows", "matching", "recounted", "submission", "model", "warnings"}
    assert document["matching"] == {
        "cost": 10, "efficiency_printed": 3, "efficiency_leaderboard": 10, "ces_printed": 9,
        "ces_leaderboard": 10, "of": 10,
    }  # fmt: skip
    baseline = document["rows"][2]
    assert (baseline["published"]["team"], baseline["published"]["rank"]) == ("wleach", None)
    assert baseline["efficiency"]["printed"]["matches"] is True
    assert (document["recounted"], document["submission"], document["model"]) == ([], None, None)


def test_csv_has_the_same_columns_whatever_was_asked_for(labelled: Path, capsys: Output) -> None:
    assert main(["leaderboard", "--csv"]) == 0
    plain = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert main([*placing(labelled, "--recount", "--csv", "--name", "ours")]) == 0
    full = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))

    assert list(plain[0]) == list(full[0])
    assert [row["team"] for row in full] == [*(row["team"] for row in plain), "ours"]
    assert (plain[0]["efficiency_printed_matches"], plain[0]["efficiency_leaderboard_matches"]) == (
        "False",
        "True",
    )
    assert plain[0]["recounted_system"] == ""
    assert full[0]["recounted_system"] == "smolvlm_olacnqoddchl"
    assert (full[-1]["source"], full[-1]["params_m"]) == ("submission", "27.71")


def test_every_smolvlm_is_over_the_budget_when_recounted(capsys: Output) -> None:
    recounted = {
        row["team"]: row for row in answer(capsys, "leaderboard", "--recount", "--json")["recounted"]
    }
    assert set(recounted) == {
        "olacnqoddchl", "iamxredz", "wleach", "yinloonkhor", "ps3336", "skywalker5165", "Hope",
    }  # fmt: skip
    smolvlm = [row for row in recounted.values() if row["system"].startswith("smolvlm")]
    assert len(smolvlm) == 2
    assert all(row["cost"] > 1 for row in smolvlm)
    assert recounted["yinloonkhor"]["cost"] == pytest.approx(0.097, abs=5e-4)

    assert main(["leaderboard", "--recount"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if "smolvlm" in line]
    assert all(" ! 0." in line for line in lines)


def test_a_submission_is_measured_and_placed(labelled: Path, capsys: Output) -> None:
    document = answer(capsys, *placing(labelled, "--name", "ours", "--json"))["submission"]
    rows = rows_of(labelled / "submission.csv")
    labels = {row["parent_asin"]: row for row in rows_of(labelled / "labels.csv")}
    scores = [float(row["score"]) for row in rows]
    ratings = [float(labels[row["item_id"]]["average_rating"]) for row in rows]

    assert (document["name"], document["n"], document["weighted"]) == ("ours", ITEMS, False)
    assert document["plcc"] == pytest.approx(plcc(scores, ratings))
    assert document["mae"] == pytest.approx(np.abs(np.subtract(scores, ratings)).mean())
    assert document["fisher"]["low"] < document["plcc"] < document["fisher"]["high"]
    assert document["bootstrap"]["low"] < document["plcc"] < document["bootstrap"]["high"]
    assert document["standing"]["cost"] == pytest.approx((27.71 / 1000 * 6.81 / 20) ** 0.5)
    assert document["standing"]["ces"]["leaderboard"] == pytest.approx(1.1 * document["plcc"])
    assert document["places"]["printed"] == {"rank": 1, "best": 1, "worst": 1}


def test_a_submission_in_words(labelled: Path, capsys: Output) -> None:
    assert main(placing(labelled)) == 0
    shown = capsys.readouterr().out.split("which has no rank\n\n")[1].splitlines()
    assert shown[0] == "submission: 40 labelled items"
    assert shown[1].startswith("PLCC 0.")
    assert shown[3] == "C    0.0971  P 27.71 M, F 6.81 G, as declared"
    assert shown[5].endswith("leaderboard: rank 1")
    assert "hidden test set" in shown[-1]


def test_ratings_of_many_count_more_where_wanted(labelled: Path, capsys: Output) -> None:
    plain = answer(capsys, *placing(labelled, "--json"))["submission"]
    weighted = answer(capsys, *placing(labelled, "--json", "--by-rating-number"))["submission"]
    assert weighted["weighted"] is True
    assert weighted["plcc"] != plain["plcc"]
    assert (
        weighted["fisher"]["high"] - weighted["fisher"]["low"]
        > plain["fisher"]["high"] - plain["fisher"]["low"]
    )


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz", "labels.csv.gz"])
def test_labels_come_as_items_too_and_compressed(labelled: Path, name: str, capsys: Output) -> None:
    expected = answer(capsys, *placing(labelled, "--json", "--by-rating-number"))
    rows = rows_of(labelled / "labels.csv")
    items = [
        {"parent_asin": row["parent_asin"], "average_rating": float(row["average_rating"]),
         "rating_number": int(row["rating_number"]), "title": "Shoe"}
        for row in rows
    ]  # fmt: skip
    lines = "\n".join(json.dumps(item) for item in items)
    data = ("\ufeff" + lines if "jsonl" in name else (labelled / "labels.csv").read_text()).encode()
    (labelled / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)

    files = ["--submission", f"{labelled}/submission.csv", "--labels", f"{labelled}/{name}"]
    assert answer(capsys, "leaderboard", *files, "--json", "--by-rating-number") == expected


def test_a_constant_scorer_earns_nothing_and_is_warned_of_once(labelled: Path, capsys: Output) -> None:
    lines = [f"B{item:03},4.2,27.71,6.81" for item in range(ITEMS)]
    (labelled / "submission.csv").write_text("\n".join(["item_id,score,params,flops", *lines]))

    assert main(placing(labelled, "--json", "--plot", f"{labelled}/x.png")) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["submission"]["plcc"] is None
    assert document["submission"]["fisher"] == {"low": None, "high": None}
    assert document["submission"]["standing"]["ces"] == {"printed": 0.0, "leaderboard": 0.0}
    assert document["submission"]["places"]["printed"]["rank"] == 10
    assert document["warnings"] == ["scores are constant, so nothing correlates with them: NaN"]
    assert told.err == "adgauge: scores are constant, so nothing correlates with them: NaN\n"


SUBMISSION, LABELS = "submission.csv", "labels.csv"
BAD: dict[str, tuple[str, Callable[[list[str]], object], str]] = {
    "a NaN score": (
        SUBMISSION, lambda lines: lines.__setitem__(3, "B002,nan,27.71,6.81"),
        "{file}, line 4: score is 'nan'; it must be a number from 1 to 5",
    ),
    "a score out of range": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,5.01,27.71,6.81"),
        "{file}, line 2: score is '5.01'; it must be a number from 1 to 5",
    ),
    "no score": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,,27.71,6.81"),
        "{file}, line 2: score is ''; it must be a number from 1 to 5",
    ),
    "a double id": (
        SUBMISSION, lambda lines: lines.append("B007,4,27.71,6.81"),
        "{file}, line 42: item_id 'B007' occurs twice; each item is allowed one row",
    ),
    "an empty id": (
        SUBMISSION, lambda lines: lines.append(" ,4,27.71,6.81"),
        "{file}, line 42: item_id is ' '; it must be a string that is not empty",
    ),
    "a missing id": (
        SUBMISSION, lambda lines: lines.__delitem__(slice(2, 4)),
        "item_id 'B002' is labelled and missing from the submission, 2 in all; both must name the same items",
    ),
    "an unknown id": (
        SUBMISSION, lambda lines: lines.append("B999,4,27.71,6.81"),
        "item_id 'B999' of the submission is not among the labels, 1 in all; both must name the same items",
    ),
    "params that differ": (
        SUBMISSION, lambda lines: lines.__setitem__(5, "B004,4,27.72,6.81"),
        "{file}, line 6: params is 27.72, on the first row it is 27.71; all must be equal",
    ),
    "flops that differ": (
        SUBMISSION, lambda lines: lines.__setitem__(5, "B004,4,27.71,7"),
        "{file}, line 6: flops is 7, on the first row it is 6.81; all must be equal",
    ),
    "params in ones": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,4,27706365,6.81"),
        "{file}, line 2: params is 27706365; it must be in millions of parameters, 0.1 to 20,000",
    ),
    "flops in ones": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,4,27.71,6811128768"),
        "{file}, line 2: flops is 6811128768; it must be in GFLOPs for one item, 0.01 to 100,000",
    ),
    "params that are no number": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,4,27.7M,6.81"),
        "{file}, line 2: params is '27.7M'; it must be a number, at least 0",
    ),
    "flops without end": (
        SUBMISSION, lambda lines: lines.__setitem__(1, "B000,4,27.7,inf"),
        "{file}, line 2: flops is 'inf'; it must be a number, at least 0",
    ),
    "a column too few": (
        SUBMISSION, lambda lines: lines.__setitem__(0, "item_id,score,params"),
        "{file}, line 1: column flops is missing; needed are item_id,score,params,flops,"
        " there is item_id,score,params",
    ),
    "an unknown column": (
        SUBMISSION, lambda lines: lines.__setitem__(0, "item_id,score,params,flops,runtime"),
        "{file}, line 1: column 'runtime' is unknown; allowed are item_id,score,params,flops",
    ),
    "a double column": (
        SUBMISSION, lambda lines: lines.__setitem__(0, "item_id,score,params,flops,score"),
        "{file}, line 1: column 'score' occurs twice; each is allowed once",
    ),
    "a field too many": (
        SUBMISSION, lambda lines: lines.__setitem__(2, "B001,4,27.71,6.81,1"),
        "{file}, line 3: it has 5 fields; the header has 4",
    ),
    "a quote without end": (
        SUBMISSION, lambda lines: lines.__setitem__(-1, '"B039,4,27.71,6.81'),
        "{file}, line 41: it is no CSV: unexpected end of data",
    ),
    "no rows": (
        SUBMISSION, lambda lines: lines.__delitem__(slice(1, None)),
        "{file} holds no rows; it must hold one for each item",
    ),
    "an empty file": (
        SUBMISSION, lambda lines: lines.clear(),
        "{file}, line 1: column item_id is missing; needed are item_id,score,params,flops, there is nothing",
    ),
    "a rating out of range": (
        LABELS, lambda lines: lines.__setitem__(1, "B039,0,3"),
        "{file}, line 2: average_rating is '0'; it must be a number from 1 to 5",
    ),
    "a rating number below 0": (
        LABELS, lambda lines: lines.__setitem__(1, "B039,4,-3"),
        "{file}, line 2: rating_number is '-3'; it must be a number from 0 to 1e+12",
    ),
    "a rating number that is missing": (
        LABELS, lambda lines: lines.__setitem__(1, "B039,4,"),
        "item B039 has no rating_number among the labels; all need one to be weighted",
    ),
    "a label twice": (
        LABELS, lambda lines: lines.append("B007,4,3"),
        "{file}, line 42: parent_asin 'B007' occurs twice; each item is allowed one row",
    ),
    "labels without ids": (
        LABELS, lambda lines: lines.__setitem__(0, "asin,average_rating,rating_number"),
        "{file}, line 2: there is no id; it must be in item_id or parent_asin",
    ),
    "labels without ratings": (
        LABELS, lambda lines: lines.__setitem__(0, "item_id,rating,rating_number"),
        "{file}, line 1: column average_rating is missing; needed are average_rating,"
        " there is item_id,rating,rating_number",
    ),
    "no labels": (
        LABELS, lambda lines: lines.__delitem__(slice(1, None)),
        "{file} holds no labels; it must hold one for each item",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_with_a_file_is_one_line(labelled: Path, what: str, capsys: Output) -> None:
    name, change, complaint = BAD[what]
    edit(labelled / name, change)
    assert main(placing(labelled, "--by-rating-number")) == 1
    told = capsys.readouterr()
    assert told.err == f"adgauge: {complaint.format(file=labelled / name)}\n"
    assert told.out == ""


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "it is no JSON: Expecting property name enclosed in double quotes"),
        ("[1]", "it is no JSON object; it must be an item"),
        ('{"average_rating": 4}', "there is no id; it must be in item_id or parent_asin"),
        ('{"item_id": 7, "average_rating": 4}', "item_id is 7; it must be a string that is not empty"),
        ('{"item_id": "B1"}', "average_rating is None; it must be a number from"),
        ('{"item_id": "B1", "average_rating": true}', "average_rating is True; it must be a number from"),
        ('{"item_id": "B1", "average_rating": NaN}', "average_rating is nan; it must be a number from"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_item_is_one_line(
    labelled: Path, line: str, complaint: str, capsys: Output
) -> None:
    path = labelled / "labels.jsonl"
    path.write_text(f"\n{line}\n")
    assert main(["leaderboard", "--submission", f"{labelled}/submission.csv", "--labels", str(path)]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"adgauge: {path}, line 2: {complaint}")
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("labels.txt", b"", "cannot read labels from {file}: its name must end in .csv,"
         " .jsonl, .csv.gz, .jsonl.gz"),
        ("labels.csv", b"item_id,average_rating\n\xff,4\n", "cannot read {file}: it must be UTF-8"),
        ("labels.csv.gz", b"no gzip", "cannot read {file}: Not a gzipped file (b'no')"),
        ("labels.jsonl.gz", gzip.compress(b"{}" * 99)[:20], "cannot read {file}: "
         "Compressed file ended before the end-of-stream marker was reached"),
        ("missing.csv", None, "cannot read {file}: No such file or directory"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_is_one_line(
    labelled: Path, name: str, data: bytes | None, complaint: str, capsys: Output
) -> None:
    path = labelled / name
    if data is not None:
        path.write_bytes(data)
    assert main(["leaderboard", "--submission", f"{labelled}/submission.csv", "--labels", str(path)]) == 1
    assert capsys.readouterr().err == f"adgauge: {complaint.format(file=path)}\n"


@pytest.mark.parametrize("name", ["ours", "名前 $x$", "_private\x1b[31m", "n" * 60])
def test_the_plot_is_a_picture_whatever_the_submission_is_called(
    labelled: Path, name: str, capsys: Output
) -> None:
    path = labelled / "board.png"
    assert main(placing(labelled, "--recount", "--name", name, "--plot", str(path))) == 0
    with Image.open(path) as picture:
        assert picture.size == (1100, 704)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(("ending", "head"), [(".svg", b"<?xml"), (".pdf", b"%PDF")])
def test_the_plot_comes_in_other_formats(tmp_path: Path, ending: str, head: bytes) -> None:
    path = tmp_path / f"board{ending}"
    assert main(["leaderboard", "--plot", str(path)]) == 0
    assert path.read_bytes().startswith(head)


def test_a_plot_without_matplotlib_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert main(["leaderboard", "--plot", f"{tmp_path}/board.png"]) == 1
    assert capsys.readouterr().err == "adgauge: a plot needs matplotlib: pip install 'adgauge[plot]'\n"
    assert list(tmp_path.iterdir()) == []


def test_weights_say_how_many_items_they_leave(labelled: Path, capsys: Output) -> None:
    edit(labelled / LABELS, lambda lines: lines.__setitem__(1, lines[1].rpartition(",")[0] + ",1000000000"))
    assert main(placing(labelled, "--by-rating-number")) == 0
    assert "which tell as much as 1 that count alike" in capsys.readouterr().out
    assert main(placing(labelled, "--by-rating-number", "--json")) == 0
    placed = json.loads(capsys.readouterr().out)["submission"]
    assert 1 <= placed["effective_n"] < 1.01
    assert (placed["fisher"]["low"], placed["fisher"]["high"]) == (-1, 1)


def test_ids_that_differ_by_a_space_are_both_named(labelled: Path, capsys: Output) -> None:
    edit(labelled / LABELS, lambda lines: lines.__setitem__(1, lines[1].replace(",", " ,", 1)))
    assert main(placing(labelled)) == 1
    told = capsys.readouterr().err
    first = (labelled / LABELS).read_text().splitlines()[1].partition(",")[0]
    assert f"item_id {first!r} is labelled and missing from the submission" in told
    assert f"(which has {first.strip()!r})" in told


def test_csv_holds_no_model(capsys: Output) -> None:
    with pytest.raises(SystemExit):
        main(["leaderboard", "--csv", "--model", "model_repository/effimini_lite0/1"])
    assert "--csv holds the table alone" in capsys.readouterr().err


def test_endings_may_be_written_in_capitals(tmp_path: Path, capsys: Output) -> None:
    path = tmp_path / "BOARD.PNG"
    assert main(["leaderboard", "--plot", str(path)]) == 0
    with Image.open(path) as picture:
        assert picture.format == "PNG"
