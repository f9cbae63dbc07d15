"""Whether every way to a score gives the same score; writes docs/figures/agreement.json.

    python -m benchmarks.agreement CATALOG LABELLED

CATALOG is scored twice from the file and twice through the broker, each time with an empty Redis and without
a content cache. LABELLED is scored as it is and with another `average_rating` in every record.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adgauge.adapters.kafka import plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin
from adgauge.adapters.settings import load_settings
from benchmarks.record import write_figures
from services.embedded.demo import MODEL, VERSION, publish, read_catalog, wait_until_decided
from services.embedded.scorer import TOPICS, create_topics, start_scorer
from services.embedded.settings import EmbeddedSettings
from services.embedded.stack import running_stack

READ_TIMEOUT_S = 60.0

Scores = Mapping[str, float]


def main(catalog: Path, labelled: Path) -> None:
    """Measure and write."""
    with tempfile.TemporaryDirectory() as folder:
        files = [_rows(_score_file(catalog, Path(folder)))[0] for _ in range(2)]
        streams = [through_broker(catalog) for _ in range(2)]
        as_found = _score_file(labelled, Path(folder))
        relabelled = Path(folder) / "relabelled.jsonl"
        relabelled.write_bytes(b"\n".join(map(_relabelled, labelled.read_bytes().splitlines())) + b"\n")
        changed = _score_file(relabelled, Path(folder))
    digests = _rows(as_found)[1]
    figures = {
        "products": len(files[0]),
        "largest_difference": {
            "file_and_file": _largest(files[0], files[1]),
            "broker_and_broker": _largest(streams[0], streams[1]),
            "file_and_broker": _largest(files[0], streams[0]),
        },
        "labelled": as_found["summary"],
        "digests_moved_by_average_rating": sum(
            digests[name] != moved for name, moved in _rows(changed)[1].items()
        ),
    }
    print(json.dumps(figures, indent=2))
    write_figures("agreement", "make proof", figures)


def _score_file(catalog: Path, folder: Path) -> dict[str, Any]:
    """`adgauge score` of a file: its summary, and its rows."""
    output = folder / f"{time.monotonic_ns()}.jsonl"
    command = [sys.executable, "-m", "adgauge.cli", "score", str(catalog), "-o", str(output), "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return {"summary": json.loads(done.stdout), "rows": [json.loads(row) for row in output.open()]}


def _rows(scored: Mapping[str, Any]) -> tuple[Scores, Mapping[str, str]]:
    """Scores and digests by product."""
    rows = scored["rows"]
    return {row["parent_asin"]: row["score"] for row in rows}, {
        row["parent_asin"]: row["digest"] for row in rows
    }


def through_broker(path: Path) -> Scores:
    """Scores as the topic of scores has them, from a fresh stack."""
    settings, catalog = load_settings(EmbeddedSettings), read_catalog(path)
    with running_stack(settings, [MODEL]) as stack:
        create_topics(stack)
        scorer = start_scorer(stack, settings.model_repository / MODEL / VERSION, path.parent.resolve())
        publish(stack, catalog)
        wait_until_decided(stack, scorer.metrics_url, len(catalog.records))
        with KafkaAdmin(plain_connection(stack.kafka_bootstrap)) as admin:
            deadline = time.monotonic() + READ_TIMEOUT_S
            lines = [json.loads(each.value or b"") for each in admin.read(TOPICS[1].name, deadline)]
    return {line["id"]: line["score"] for line in lines}


def _largest(one: Scores, other: Scores) -> float:
    """The largest difference of a product's scores; both must hold the same products."""
    if one.keys() != other.keys():
        raise SystemExit(f"not scored on both ways: {sorted(one.keys() ^ other.keys())[:10]}")
    return max(abs(one[name] - other[name]) for name in one)


def _relabelled(line: bytes) -> bytes:
    try:
        product = json.loads(line)
    except ValueError:
        return line
    return json.dumps(product | {"average_rating": 1.0, "rating_number": 1}).encode()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
