"""Whether what runs an exported graph scores as its model does in torch, however products are batched.

The reference is torch in float32 on the CPU, one product at a time, as long as the canonicalizer made it. A
runtime must come as close to it as the gate of its precision asks (`adgauge.export.comparison`) in batches of
every size, on every longer rung of the ladder, and among other batch-mates (`adgauge.export.parity_groups`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from adgauge.adapters.triton.configuration import MAX_BATCH
from adgauge.contract import ModelContract
from adgauge.errors import ConfigurationError, ContractMismatch
from adgauge.export.comparison import Comparison, Gate, Scores, compare, gate_for
from adgauge.export.parity_groups import Batch, Group, alone, padded, perturbed
from adgauge.export.templates.runtime import open_graph
from adgauge.models.tensors import one_line
from adgauge.records import CanonicalInput

ROW_TOKENS = 16_384
"""Rows × tokens that a group may take: all of any group of the golden records of a model of 256 tokens."""
GROUP_FLOPS = 2e12
"""That a group may take: seconds of a processor's work. A model of 2560 tokens would take hours otherwise
and, for a batch of long texts, gigabytes."""
BATCH = 16

Run = Callable[[Sequence[CanonicalInput]], Scores]
"""Scores rows of one padded length as one batch: [N] in, [N] out."""
Show = Callable[[str], None]
"""Called with a few words on how far it is, between runs."""


@dataclass(frozen=True, slots=True)
class Measured:
    """How one group of batches compares with torch.

    Of a product that is scored several times the score furthest from torch counts. `compared` has the deltas
    of the `rows` products that are in the group, and PLCC and rank changes of all: those that are not in it
    count with their score in a batch of 1. It is None where nothing was run: `left_out` are batches that had
    no room in the budget.
    """

    group: str
    rows: int
    runs: int
    left_out: tuple[Batch, ...]
    compared: Comparison | None
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parity:
    """What a runtime was measured to do: its scores [n] in batches of 1, and every group."""

    scores: Scores
    groups: tuple[Measured, ...]

    @property
    def failures(self) -> tuple[str, ...]:
        """What failed, each with its group and figures; empty: parity."""
        return tuple(f"{one.group}: {failure}" for one in self.groups for failure in one.failures)


def row_tokens_for(contract: ModelContract) -> int:
    """How much of each group is tried where nobody says otherwise: less of large models, but of every batch
    size the shortest texts.
    """
    flops = contract.cost.flops / contract.spec.text.token_limit
    return max(MAX_BATCH * contract.spec.text.ladder[0], min(ROW_TOKENS, int(GROUP_FLOPS / flops)))


def require_parity(
    reference: Scores,
    run: Run,
    inputs: Sequence[CanonicalInput],
    contract: ModelContract,
    *,
    trained: bool,
    row_tokens: int = ROW_TOKENS,
    show: Show = lambda _: None,
) -> Parity:
    """Measure a runtime on golden inputs; `reference` [n] are the scores of them by `torch_scores`.

    Raises ContractMismatch where a group fails the gate of the contract's precision, with figures and bounds,
    and where the gate would prove nothing.
    """
    gate = gate_for(contract.precision, reference, trained=trained)
    parity = measure(reference, run, inputs, contract, gate, row_tokens=row_tokens, show=show)
    if parity.failures:
        raise ContractMismatch(
            f"{contract.name} {contract.version} as {contract.precision} does not score as its model does:"
            f" {'; '.join(parity.failures)}"
        )
    return parity


def measure(
    reference: Scores,
    run: Run,
    inputs: Sequence[CanonicalInput],
    contract: ModelContract,
    gate: Gate,
    *,
    max_batch: int = MAX_BATCH,
    row_tokens: int = ROW_TOKENS,
    show: Show = lambda _: None,
) -> Parity:
    """Run every group; raises ContractMismatch where a run gives no score for each of its rows.

    Batches of 1 are run of all inputs. Every other group keeps to `row_tokens`.
    """
    rungs = [one.rung for one in inputs]
    table = _Table(reference, run, inputs, contract, gate, show)
    scores, first = table.fill(alone(rungs), np.full_like(reference, np.nan))
    groups = (group.within(row_tokens) for group in perturbed(rungs, contract.spec.text.ladder, max_batch))
    return Parity(scores, (first, *(table.fill(group, scores)[1] for group in groups)))


@dataclass(frozen=True, slots=True)
class _Table:
    reference: Scores
    run: Run
    inputs: Sequence[CanonicalInput]
    contract: ModelContract
    gate: Gate
    show: Show

    def fill(self, group: Group, others: Scores) -> tuple[Scores, Measured]:
        """The scores furthest from the reference; of rows that are not in the group, `others`."""
        furthest, distance = others.copy(), np.full(len(others), -1.0)
        for number, batch in enumerate(group.batches, 1):
            self.show(f"{group.name}: run {number} of {len(group.batches)}")
            for at, score in zip(batch.rows, self._scores(batch, group), strict=True):
                away = np.nan_to_num(abs(float(score) - float(self.reference[at])), nan=np.inf)
                if away > distance[at]:
                    furthest[at], distance[at] = score, away
        compared = self._compared(furthest, distance >= 0)
        return furthest, Measured(
            group=group.name,
            rows=int(np.count_nonzero(distance >= 0)),
            runs=len(group.batches),
            left_out=group.left_out,
            compared=compared,
            failures=() if compared is None else self.gate.failures(compared),
        )

    def _compared(self, scores: Scores, scored: npt.NDArray[np.bool_]) -> Comparison | None:
        if not scored.any():
            return None
        of_group = compare(self.reference[scored], scores[scored])
        return replace(
            compare(self.reference, scores), max_delta=of_group.max_delta, mean_delta=of_group.mean_delta
        )

    def _scores(self, batch: Batch, group: Group) -> Scores:
        scores = self.run([padded(self.inputs[at], self.contract, batch.tokens) for at in batch.rows])
        if scores.shape != (len(batch.rows),):
            raise ContractMismatch(
                f"{group.name}: {len(batch.rows)} rows give scores of shape {scores.shape}"
            )
        return scores


def torch_scores(
    model: nn.Module,
    contract: ModelContract,
    inputs: Sequence[CanonicalInput],
    show: Show = lambda _: None,
) -> Scores:
    """[n] scores of the model, row by row."""
    model.eval()
    scores = np.empty(len(inputs), dtype=np.float32)
    with torch.inference_mode():
        for at, one in enumerate(inputs):
            show(f"row {at + 1} of {len(inputs)}")
            given = (torch.tensor(one.arrays[tensor.name])[None] for tensor in contract.inputs)
            scores[at] = float(model(*given)[0, 0])
    return scores


def graph_run(folder: Path, contract: ModelContract) -> Run:
    """The graph in a version's folder, by the CPU runtime of the contract.json that lies there.

    Raises ContractMismatch, here or when it runs, for a graph that cannot, and ConfigurationError where the
    runtime is not installed.
    """
    try:
        graph = open_graph(folder)
    except ModuleNotFoundError as exc:
        raise ConfigurationError(f"{exc.name} is not installed: run `pip install 'adgauge[export]'`") from exc
    except Exception as exc:  # the runtimes' own errors have no other base
        raise ContractMismatch(f"{folder}: the graph cannot be opened: {one_line(exc)}") from exc

    def run(rows: Sequence[CanonicalInput]) -> Scores:
        feed = {each.name: np.stack([row.arrays[each.name] for row in rows]) for each in contract.inputs}
        try:
            scores: Scores = graph(feed)[:, 0]
        except Exception as exc:  # as above
            shape = f"{len(rows)} rows of {rows[0].rung} tokens"
            raise ContractMismatch(f"{folder}: the graph cannot score {shape}: {one_line(exc)}") from exc
        return scores

    return run


def run_all(run: Run, inputs: Sequence[CanonicalInput]) -> Scores:
    """[n] scores of inputs of any lengths, in batches of one length each."""
    scores = np.empty(len(inputs), dtype=np.float32)
    for rung in sorted({one.rung for one in inputs}):
        alike = [at for at, one in enumerate(inputs) if one.rung == rung]
        for start in range(0, len(alike), BATCH):
            rows = alike[start : start + BATCH]
            scores[rows] = run([inputs[at] for at in rows])
    return scores
