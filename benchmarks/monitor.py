"""How large a run of the monitor may be, and what it says of real products; writes docs/figures/monitor.json.

    python -m benchmarks.monitor [--rows 10000000] [--products ../shared/data/ml100k]

Ten million labels and as many scores are generated with a known correlation, as Parquet and as JSON lines,
and `adgauge monitor --once` is run on each as an operator runs it: its time, and the most memory its process
held. Its figures are compared with numpy's and scipy's on the same rows. With `--products`, the catalog there
is scored by the default model, and its scores are compared with its ratings.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
from scipy import stats

from adgauge.canonical.presets import AMAZON_CATEGORIES
from adgauge.contract import load_contract
from adgauge.monitor.result import Result
from benchmarks.record import ROOT, write_figures

NOW_MS = 1_795_996_800_000  # 2026-11-30
DAY_MS = 86_400_000
WINDOW_DAYS = 28
MODEL = ROOT / "model_repository" / "effimini_lite0" / "1"
TOLERANCE = 1e-9
CATEGORIES = 10  # that are compared with scipy
PROGRAM = Path(sys.executable).with_name("adgauge")
Columns = dict[str, npt.NDArray[Any]]


def main() -> None:
    """Generate, run, compare and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--products", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {"rows": arguments.rows, "cores": len(os.sched_getaffinity(0))}
    with tempfile.TemporaryDirectory(prefix="adgauge-benchmark-") as folder:
        _generate(Path(folder), arguments.rows)
        for form in ("parquet", "jsonl"):
            result, figures[form] = _run(Path(folder), form)
        figures["compared"] = result.overall.coverage.compared
        figures["slices"] = len(result.slices)
        figures["largest_difference_from_scipy"] = _difference(Path(folder), result)
        if arguments.products is not None:
            figures["products"] = _products(Path(folder), arguments.products)
    print(json.dumps(figures, indent=2))
    if arguments.rows < 10_000_000:
        return
    write_figures("monitor", "python -m benchmarks.monitor", figures)


def _generate(folder: Path, rows: int) -> None:
    """One label a product and one score: 0.6 of the label's deviation, and noise; labels in tenths."""
    names = [name.replace("'", "''") for name in AMAZON_CATEGORIES]
    categories = ", ".join(f"'{name}'" for name in names)
    # A child's largest memory is at least what its parent's was.
    config: dict[str, Any] = {"threads": 2, "memory_limit": "1GB", "temp_directory": str(folder / "spill")}
    made = f"""SELECT 'B' || lpad(i::VARCHAR, 9, '0') AS id,
        round(greatest(1, 5 - 2.5 * random() * random() - 0.5 * random()), 1) AS label,
        ([{categories}])[1 + floor({len(names)} * random() * random())::INTEGER] AS category,
        {NOW_MS} - 1 - floor({WINDOW_DAYS * DAY_MS} * random())::BIGINT AS observed_at,
        {NOW_MS} - floor((20 + 100 * random()) * {DAY_MS})::BIGINT AS scored_at, i
        FROM range({rows}) made(i)"""  # noqa: S608 - numbers and names of ours
    labels = """SELECT id AS parent_asin, label AS average_rating, observed_at, category AS main_category,
        floor(exp(7 * random()))::INTEGER AS rating_number, round(exp(5 * random()), 2) AS price,
        'Product number ' || i AS title FROM made"""
    scores = """SELECT id, 'scored' AS outcome, 1 AS generation, 'bench/1' AS model,
        repeat('ab', 32) AS contract, scored_at - 1000 AS event_ms, i AS "offset",
        round(4 + 0.6 * (label - 4) + 0.8 * (random() + random() + random() - 1.5), 6) AS score,
        scored_at AS scored_at_ms,
        CASE WHEN random() < 0.05 THEN ['no_image'] ELSE []::VARCHAR[] END AS flags,
        repeat('cd', 32) AS digest, NULL::VARCHAR AS image_reason FROM made"""
    with duckdb.connect(config=config) as db:
        db.execute("SELECT setseed(0.5)")
        db.execute(f"CREATE TABLE made AS {made}")
        for name, query in (("labels", labels), ("scores", scores)):
            db.execute(f"COPY ({query}) TO '{folder / name}.parquet'")
            db.execute(f"COPY (FROM '{folder / name}.parquet') TO '{folder / name}.jsonl' (FORMAT json)")


def _run(folder: Path, form: str) -> tuple[Result, dict[str, float]]:
    """One run as its own process; its result, how long it took and the most memory it held."""
    output = folder / f"{form}.json"
    until = ("--until", "2026-11-30")
    return _monitor(folder / f"labels.{form}", folder / f"scores.{form}", output, *until)


def _monitor(labels: Path, scores: Path, output: Path, *more: str) -> tuple[Result, dict[str, float]]:
    command = [str(PROGRAM), "monitor", "--once", "-o", str(output)]
    command += ["--labels", str(labels), "--scores", str(scores), *more]
    begun = time.monotonic()
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | {"ADGAUGE_MONITOR_SCRATCH": str(output.parent)}
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    measured = {
        "seconds": time.monotonic() - begun,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_gb": usage.ru_maxrss * 1024 / 1e9,
    }
    return Result.model_validate_json(output.read_bytes()), measured


def _difference(folder: Path, result: Result) -> float:
    """The largest |Δ| between the figures and those of numpy and scipy, of all and the largest categories."""
    with duckdb.connect() as db:
        found = db.execute(f"""SELECT score, average_rating AS label, main_category
            FROM '{folder}/scores.parquet' JOIN '{folder}/labels.parquet' ON id = parent_asin
            WHERE scored_at_ms <= observed_at - {WINDOW_DAYS * DAY_MS}""").fetchnumpy()  # noqa: S608 - ours
    deltas = _deltas(result.overall.figures, found["score"], found["label"])
    for name in AMAZON_CATEGORIES[:CATEGORIES]:
        one = result.slice_of("main_category", name)
        if one is None:
            raise SystemExit(f"the run has no slice {name}")
        at = found["main_category"] == name
        deltas += _deltas(one.figures, found["score"][at], found["label"][at])
    if max(deltas) > TOLERANCE:
        raise SystemExit(f"figures differ from scipy's by {max(deltas)}")
    return max(deltas)


def _deltas(figures: Any, score: npt.NDArray[Any], label: npt.NDArray[Any]) -> list[float]:
    expected = {
        "plcc": stats.pearsonr(score, label).statistic,
        "srcc": stats.spearmanr(score, label).statistic,
        "mae": np.abs(score - label).mean(),
        "bias": (score - label).mean(),
    }
    deltas = [abs(getattr(figures, name).value - float(value)) for name, value in expected.items()]
    return [*deltas, float(abs(figures.n - score.size))]


def _products(folder: Path, catalog: Path) -> dict[str, Any]:
    """A catalog with ratings, scored by the default model as if 60 days before its labels were observed."""
    rows, scores = folder / "rows.jsonl", folder / "log.jsonl"
    products = catalog / "products.jsonl"
    command = [str(PROGRAM), "score", str(products), "--model", str(MODEL), "-o", str(rows)]
    subprocess.run(command, check=True)
    contract = load_contract(MODEL)
    with rows.open() as lines, scores.open("w") as log:
        for row in map(json.loads, lines):
            log.write(json.dumps(_log_line(row, contract.digest())) + "\n")
    times = ("--observed-at", "2026-11-29", "--until", "2026-11-30")
    result, _ = _monitor(products, scores, folder / "products.json", *times, "--model", str(MODEL))
    return {
        "catalog": catalog.name,
        "compared": result.overall.coverage.compared,
        "all": _summary(result.overall.figures),
        "slices": {
            str(each.slice): _summary(each.figures)
            for each in result.slices
            if each.judged and each.slice.dimension in ("rating_number", "text_length")
        },
    }


def _log_line(row: dict[str, Any], contract: str) -> dict[str, Any]:
    at_ms = NOW_MS - 60 * DAY_MS
    return {
        "id": row["parent_asin"],
        "outcome": "scored",
        "generation": 1,
        "model": "effimini_lite0/1",
        "contract": contract,
        "event_ms": at_ms,
        "offset": row["line"],
        "score": row["score"],
        "scored_at_ms": at_ms,
        "flags": row["flags"],
        "digest": row["digest"],
        "image_reason": row["image_reason"],
    }


def _summary(figures: Any) -> dict[str, Any]:
    names = ("plcc", "srcc", "mae", "bias", "ces_printed", "ces_leaderboard")
    return {"n": figures.n} | {name: getattr(figures, name).model_dump() for name in names}


if __name__ == "__main__":
    main()
