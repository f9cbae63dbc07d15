"""`adgauge gate` on files of score lines and labels with a known truth, and what `promote` makes of it."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adgauge.adapters.redis import Generations, connect, register_generation, score_key
from adgauge.cli import main
from adgauge.contract import load_contract
from services.embedded.settings import EmbeddedSettings

MODEL = EmbeddedSettings().model_repository / "effimini_lite0" / "1"
DIGEST = load_contract(MODEL).digest()
DAY_MS = 86_400_000
OBSERVED_MS = 1_790_000_000_000
CATEGORIES = ("Books", "All Beauty")

Ran = tuple[int, dict[str, Any], str]
Truth = dict[str, tuple[int, float, float]]
"""Of each category: how many items, the candidate's PLCC, the baseline's."""


@pytest.fixture(autouse=True)
def no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "REDIS_URL"):
        monkeypatch.delenv(f"ADGAUGE_{name}", raising=False)


def line(name: str, generation: int, score: float, at_ms: int, **other: Any) -> str:
    fields = {
        "id": name, "outcome": "scored", "generation": generation, "model": f"m/{generation}",
        "contract": DIGEST, "event_ms": 1_700_000_000_000, "offset": 7, "score": score,
        "scored_at_ms": at_ms, "flags": [], "digest": name, "image_reason": None,
    }  # fmt: skip
    return json.dumps(fields | other) + "\n"


def write(folder: Path, truth: Truth, seed: int = 0) -> None:
    """Labels, the baseline's scores in time, and the candidate's from a replay of yesterday."""
    rng = np.random.default_rng(seed)
    files = {name: (folder / f"{name}.jsonl").open("w") for name in ("labels", "candidate", "baseline")}
    for category, (n, ours, theirs) in truth.items():
        labels, shared, one, other = rng.normal(size=(4, n))
        scores = [
            r * labels + math.sqrt(1 - r * r) * (math.sqrt(0.9) * shared + math.sqrt(0.1) * error)
            for r, error in ((ours, one), (theirs, other))
        ]
        for at in range(n):
            name = f"{category}-{at}"
            rating = float(np.clip(3 + labels[at] / 2, 1, 5))
            fields = {"parent_asin": name, "average_rating": rating, "main_category": category}
            files["labels"].write(
                json.dumps(fields | {"observed_at": OBSERVED_MS, "rating_number": 9}) + "\n"
            )
            files["candidate"].write(line(name, 2, 3 + scores[0][at] / 2, OBSERVED_MS + DAY_MS))
            files["baseline"].write(line(name, 1, 3 + scores[1][at] / 2, OBSERVED_MS - 40 * DAY_MS))
    for file in files.values():
        file.close()


Gate = Callable[..., Ran]


@pytest.fixture
def gate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gate:
    def run(*more: str, costs: bool = True) -> Ran:
        arguments = ["gate", "--json", "--labels", f"{tmp_path}/labels.jsonl", *more]
        for name in ("candidate", "baseline"):
            arguments += [f"--{name}", f"{tmp_path}/{name}.jsonl"] if f"--{name}" not in more else []
            arguments += [f"--{name}-model", str(MODEL)] if costs else []
        code = main(arguments)
        shown = capsys.readouterr()
        return code, json.loads(shown.out) if shown.out else {}, shown.err

    return run


def test_a_better_candidate_is_promoted_and_goes_live(
    gate: Gate, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"Books": (3000, 0.45, 0.35), "All Beauty": (3000, 0.42, 0.35)})
    code, result, err = gate("-o", f"{tmp_path}/gate.json")
    assert (code, result["decision"], err) == (0, "promote", "")
    assert (result["candidate"]["generation"], result["candidate"]["contract"]) == (2, DIGEST)
    assert json.loads((tmp_path / "gate.json").read_text()) == result

    client: Any = connect(redis_url, 2.0)
    for generation in (1, 2):
        register_generation(client, generation, {"model": f"m/{generation}", "digest": DIGEST})
        client.set(score_key(generation, "P"), "3.0000 1 0 501 - abababababab")
    monkeypatch.setenv("ADGAUGE_REDIS_URL", redis_url)
    assert main(["scores", "promote", "2", "--gate", f"{tmp_path}/gate.json"]) == 0
    assert Generations(client).live().generation == 2
    client.close()


def test_an_equal_candidate_with_too_little_data_is_held(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (300, 0.35, 0.35), "All Beauty": (300, 0.35, 0.35)})
    code, result, _ = gate()
    assert (code, result["decision"]) == (1, "hold")


def test_worse_on_one_declared_slice_though_better_overall_is_rejected(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (9000, 0.45, 0.33), "All Beauty": (2000, 0.15, 0.35)})
    code, result, _ = gate()
    failed = [check["slice"]["value"] for check in result["checks"] if check["finding"] == "failed"]
    overall = result["checks"][0]
    assert (code, result["decision"], failed) == (1, "reject", ["All Beauty"])
    assert overall["finding"] == "passed"
    assert overall["difference"]["value"] > 0


def test_the_tables_of_the_configuration_are_heeded(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (9000, 0.45, 0.33), "All Beauty": (2000, 0.15, 0.35)})
    config = tmp_path / "monitor.toml"
    config.write_text("[gate]\ndimensions = []\n")
    assert gate("--config", str(config))[1]["decision"] == "promote"
    config.write_text('[slices]\nmain_category = ["Books"]\n[gate]\nmargin = 0.5\nslice_margin = 0.5\n')
    assert {check["slice"]["value"] for check in gate("--config", str(config))[1]["checks"]} == {
        "all", "Books", "other",
    }  # fmt: skip


def test_products_that_were_trained_on_decide_nothing(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (2000, 0.45, 0.33), "All Beauty": (2000, 0.15, 0.35)})
    ids = "".join(f'{{"parent_asin": "All Beauty-{at}"}}\n' for at in range(2000))
    (tmp_path / "training.jsonl").write_text(ids)
    code, result, _ = gate("--training", f"{tmp_path}/training.jsonl")
    assert (code, result["checks"][0]["n"]) == (0, 2000)


def test_without_the_models_ces_is_unknown_and_the_candidate_held(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (4000, 0.45, 0.35)})
    code, result, _ = gate(costs=False)
    assert (code, result["decision"]) == (1, "hold")
    assert result["reasons"][0].startswith("CES: P and F of m/2 are not known")


@pytest.mark.parametrize(("passed", "decision"), [(True, "promote"), (False, "reject")])
def test_parity_is_heeded(gate: Gate, tmp_path: Path, passed: bool, decision: str) -> None:
    write(tmp_path, {"Books": (4000, 0.45, 0.35)})
    parity = tmp_path / "parity.json"
    parity.write_text(json.dumps({"model": "m", "digest": DIGEST, "passed": passed}))
    assert gate("--parity", str(parity))[1]["decision"] == decision


def test_parity_of_another_model_is_refused(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (60, 0.45, 0.35)})
    parity = tmp_path / "parity.json"
    for text, said in (
        ('{"digest": "ab", "passed": true}', "is of contract ab, the candidate's"),
        ("", "is not"),
    ):
        parity.write_text(text)
        code, _, err = gate("--parity", str(parity))
        assert code == 1
        assert said in err


def test_a_generation_may_be_the_zeroth(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (200, 0.4, 0.3)})
    lines = (tmp_path / "candidate.jsonl").read_text().replace('"generation": 2', '"generation": 0')
    (tmp_path / "candidate.jsonl").write_text(lines)
    assert gate()[1]["candidate"]["generation"] == 0


def test_bad_rows_are_said_and_do_not_end_it(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (3000, 0.45, 0.35)})
    with (tmp_path / "labels.jsonl").open("a") as file:
        file.write("{broken\n")
        file.write('{"parent_asin": "X", "average_rating": 9, "observed_at": "2026-09-01"}\n')
    code, _, err = gate()
    assert code == 0
    assert "1 rows of labels left out: not_json" in err
    assert "1 rows of labels left out: rating_out_of_range" in err


def _unusable(folder: Path) -> Iterator[tuple[str, str]]:
    yield "", "there must be scores of one generation and one contract"
    yield line("P", 1, 3.0, OBSERVED_MS) + line("P", 2, 3.0, OBSERVED_MS), "generation 1 (m/1), generation 2"
    yield line("P", 2, 3.0, OBSERVED_MS, contract=None), "do not name their model and its contract"
    yield line("P", 2, 3.0, OBSERVED_MS, contract="ab" * 32), f"{MODEL} holds contract {DIGEST}"


@pytest.mark.parametrize("number", range(4))
def test_scores_of_no_one_model_are_one_line(gate: Gate, tmp_path: Path, number: int) -> None:
    write(tmp_path, {"Books": (5, 0.4, 0.4)})
    text, said = list(_unusable(tmp_path))[number]
    (tmp_path / "candidate.jsonl").write_text(text)
    code, _, err = gate("-o", f"{tmp_path}/gate.json")
    assert code == 1
    assert said in err
    assert not (tmp_path / "gate.json").exists()


def test_a_generation_needs_a_broker(gate: Gate, tmp_path: Path) -> None:
    write(tmp_path, {"Books": (5, 0.4, 0.4)})
    code, _, err = gate("--candidate", "2", costs=False)
    assert (code, err) == (1, "adgauge: kafka:catalog.scores needs a broker: set ADGAUGE_KAFKA_BOOTSTRAP\n")


def test_people_read_a_line_for_every_check(
    gate: Gate, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, {"Books": (3000, 0.45, 0.35)})
    paths = [f"--{name}={tmp_path}/{name}.jsonl" for name in ("labels", "candidate", "baseline")]
    assert main(["gate", *paths]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].startswith("hold: m/2 (generation 2, contract ")
    assert shown[1].startswith("ok   all products: PLCC 0.4")
    assert shown[-1] == "ok   the candidate has scored 3,000 of 3,000 labelled items that the baseline has"
