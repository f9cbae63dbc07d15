"""`adgauge gate`: labels and the scores of two models, and what they say of the newer one."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from adgauge.adapters.kafka_log import KafkaLog
from adgauge.adapters.settings import ServerSettings, load_settings
from adgauge.cli.rows import line_file
from adgauge.cli.terminal import printable
from adgauge.contract import load_contract
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.monitor.engine import open_engine
from adgauge.monitor.gate import Parity, decide
from adgauge.monitor.gate_inputs import Sides, gate_dimensions, read_gate_labels
from adgauge.monitor.gate_result import Decision, Finding, GateResult, Side
from adgauge.monitor.pairing import measured, pair
from adgauge.monitor.reading import Tally
from adgauge.monitor.settings import MonitorSettings, load_config

_MARKS = {Finding.PASSED: "ok", Finding.UNDECIDED: "hold", Finding.FAILED: "FAIL"}


class _ParityDocument(BaseModel):
    """What the gate reads of `adgauge parity --json`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    digest: str
    passed: bool


def run_gate(
    *,
    candidate: str,
    baseline: str,
    candidate_model: Path | None,
    baseline_model: Path | None,
    labels: str,
    training: str | None,
    config: Path | None,
    parity: Path | None,
    output: Path | None,
    as_json: bool,
) -> int:
    """Print the decision and every check, and write them to `output`; 1 unless it is `promote`.

    Raises ConfigurationError where files cannot be read or say nothing of one contract each.
    """
    servers, monitor, rules = (
        load_settings(ServerSettings),
        load_settings(MonitorSettings),
        load_config(config),
    )
    now_ms, tally, dimensions = time.time_ns() // 1_000_000, Tally(), gate_dimensions(rules)
    with (
        open_engine(
            monitor.monitor_scratch, memory_mb=monitor.monitor_memory_mb, threads=monitor.monitor_threads
        ) as engine,
        ExitStack() as stack,
    ):
        stack.callback(_say_what_was_left_out, tally)  # also where nothing can be concluded for that
        sides = Sides(engine, servers.scores_topic, _topic_reader(servers), tally, now_ms)
        ours = with_cost(sides.read(candidate, "candidate_scores"), candidate_model)
        theirs = with_cost(sides.read(baseline, "baseline_scores"), baseline_model)
        checked = load_parity(parity, ours) if parity is not None else None
        read_gate_labels(
            engine,
            labels,
            tally,
            items=monitor.monitor_items,
            training=training or monitor.monitor_training,
            now_ms=now_ms,
            window_days=rules.gate.label_window_days,
        )
        scored = pair(
            engine,
            labels="FROM gate_labels",
            baseline="FROM baseline_scores",
            candidate="FROM candidate_scores",
        )
        overall, *slices = measured(
            engine,
            dimensions,
            least_rest=rules.gate.minimum_pairs,
            weighted=rules.rules.weighted_by_rating_number,
        )
    result = decide(
        overall,
        slices,
        candidate=ours,
        baseline=theirs,
        scored=scored,
        parity=checked,
        policy=rules.gate,
        now_ms=now_ms,
    )
    if output is not None:
        with line_file(output) as write:
            write(result.to_json())
    print(result.to_json().rstrip() if as_json else as_text(result))
    return 0 if result.decision is Decision.PROMOTE else 1


def _topic_reader(settings: ServerSettings) -> Callable[[str], Iterator[bytes]] | None:
    if settings.kafka_bootstrap is None:
        return None

    def values(topic: str) -> Iterator[bytes]:
        with KafkaLog(settings.kafka(), topic) as log:
            yield from (record.value for record in log.read(log.partitions) if record.value is not None)

    return values


def _say_what_was_left_out(tally: Tally) -> None:
    for bad in tally.bad_rows():
        example = f", such as {printable(bad.examples[0])}" if bad.examples else ""
        print(f"adgauge: {bad.rows} rows of {bad.source} left out: {bad.reason}{example}", file=sys.stderr)


def load_parity(path: Path, candidate: Side) -> Parity:
    """Raises ConfigurationError for a file that is no such result, or one of another contract."""
    try:
        said = _ParityDocument.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        raise ConfigurationError(f"{path} is not what `adgauge parity --json` prints") from exc
    if said.digest != candidate.contract:
        raise ConfigurationError(
            f"{path} is of contract {said.digest}, the candidate's scores are of {candidate.contract}"
        )
    return Parity(said.passed, str(path))


def with_cost(side: Side, folder: Path | None) -> Side:
    """P and F of the contract in a folder; raises ContractMismatch where it is of another model."""
    if folder is None:
        return side
    contract = load_contract(folder)
    if contract.digest() != side.contract:
        raise ContractMismatch(
            f"{folder} holds contract {contract.digest()}, the scores of {side.source} are of {side.contract}"
        )
    return side.model_copy(
        update={"params_m": contract.cost.params / 1e6, "flops_g": contract.cost.flops / 1e9}
    )


def as_text(result: GateResult) -> str:
    """The decision, and a line for every check."""
    lines = [f"{result.decision}: {_side(result.candidate)} against {_side(result.baseline)}"]
    lines += [f"{_MARKS[check.finding]:4} {printable(check.words)}" for check in result.checks]
    return "\n".join(lines)


def _side(side: Side) -> str:
    number = f"generation {side.generation}, " if side.generation is not None else ""
    return printable(f"{side.model} ({number}contract {side.contract[:12]})")
