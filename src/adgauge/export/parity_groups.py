"""The batches in which parity is tried: every size, every padding, other batch-mates.

A score must depend on its product alone. What could make it depend on more is how products are put together:
how many there are, how long their texts are padded, and which others are in the batch.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile, zip_longest

import numpy as np

from adgauge.canonical.canonicalizer import digest
from adgauge.contract import ModelContract
from adgauge.records import CanonicalInput

MATES_BATCH = 8
MATES_ROUNDS = 2
SEED = 0
"""Of the mates and their order: the same products give the same batches."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that are scored at once, by their numbers, padded to `tokens`; a row may be in it twice."""

    rows: tuple[int, ...]
    tokens: int

    @property
    def row_tokens(self) -> int:
        """What it costs, roughly: rows × tokens."""
        return len(self.rows) * self.tokens


@dataclass(frozen=True, slots=True)
class Group:
    """Batches of one sort; `left_out` are those that a budget had no room for."""

    name: str
    batches: tuple[Batch, ...]
    left_out: tuple[Batch, ...] = ()

    def within(self, row_tokens: int) -> Group:
        """As many batches as the budget has room for, the text lengths taking turns, the shortest first."""
        kept: list[Batch] = []
        left_out: list[Batch] = []
        for batch in _in_turns(self.batches):
            fits = batch.row_tokens <= row_tokens
            (kept if fits else left_out).append(batch)
            row_tokens -= batch.row_tokens if fits else 0
        return replace(self, batches=tuple(kept), left_out=tuple(left_out))


def alone(rungs: Sequence[int]) -> Group:
    """Each row by itself, as long as the canonicalizer made it."""
    return Group("batch of 1", tuple(Batch((at,), rung) for at, rung in enumerate(rungs)))


def perturbed(rungs: Sequence[int], ladder: Sequence[int], max_batch: int) -> list[Group]:
    """Every group but `alone` of rows with these padded lengths; `ladder` ascends, as in the contract."""
    groups = [_batches(rungs, size) for size in _sizes(max_batch)]
    groups += [_padded(rungs, tokens) for tokens in ladder[1:] if tokens > min(rungs)]
    if max_batch > 1:
        groups.append(_among_mates(rungs, min(MATES_BATCH, max_batch)))
    return groups


def padded(one: CanonicalInput, contract: ModelContract, tokens: int) -> CanonicalInput:
    """The same product on a longer rung, `tokens` ≥ its own."""
    fill = {"token_ids": contract.spec.text.pad_id, "token_mask": 0}
    longer = {
        tensor.name: np.pad(
            one.arrays[tensor.name], (0, tokens - one.rung), constant_values=fill[tensor.holds]
        )
        for tensor in contract.inputs
        if tensor.holds in fill
    }
    arrays = {**one.arrays, **longer}
    return replace(one, arrays=arrays, rung=tokens, digest=digest(arrays))


def _sizes(max_batch: int) -> list[int]:
    """2, 4, 8 … and the largest there is."""
    doubled = takewhile(lambda size: size < max_batch, (2**power for power in count(1)))
    return [*doubled, *([max_batch] if max_batch > 1 else [])]


def _batches(rungs: Sequence[int], size: int) -> Group:
    """Rows of one length in the order of the file; where there are too few they are repeated."""
    batches = (
        Batch(tuple(rows[(start + step) % len(rows)] for step in range(size)), rung)
        for rung, rows in _alike(rungs).items()
        for start in range(0, len(rows), size)
    )
    return Group(f"batch of {size}", tuple(batches))


def _padded(rungs: Sequence[int], tokens: int) -> Group:
    shorter = (at for at, rung in enumerate(rungs) if rung < tokens)
    return Group(f"padded to {tokens}", tuple(Batch((at,), tokens) for at in shorter))


def _among_mates(rungs: Sequence[int], size: int) -> Group:
    """Each row among drawn others of at most its own length, at a drawn place, several times."""
    rng = random.Random(SEED)  # noqa: S311  # company, not secrets
    batches: list[Batch] = []
    for _ in range(MATES_ROUNDS):
        for rung, rows in _alike(rungs).items():
            fitting = [at for at, other in enumerate(rungs) if other <= rung]
            shuffled = rng.sample(rows, len(rows))
            for start in range(0, len(rows), size // 2):
                some = shuffled[start : start + size // 2]
                mixed = some + rng.choices(fitting, k=size - len(some))
                rng.shuffle(mixed)
                batches.append(Batch(tuple(mixed), rung))
    return Group("batch-mates", tuple(batches))


def _alike(rungs: Sequence[int]) -> dict[int, list[int]]:
    """Row numbers by padded length, the shortest first."""
    rows: dict[int, list[int]] = defaultdict(list)
    for at, rung in enumerate(rungs):
        rows[rung].append(at)
    return dict(sorted(rows.items()))


def _in_turns(batches: Sequence[Batch]) -> Iterator[Batch]:
    by_tokens: dict[int, list[Batch]] = defaultdict(list)
    for batch in batches:
        by_tokens[batch.tokens].append(batch)
    turns = zip_longest(*(by_tokens[tokens] for tokens in sorted(by_tokens)))
    return (batch for turn in turns for batch in turn if batch is not None)
