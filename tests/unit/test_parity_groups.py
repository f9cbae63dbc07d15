"""Which batches parity is tried in, and what a budget leaves out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from adgauge.canonical.canonicalizer import Canonicalizer, digest
from adgauge.export.parity_groups import Batch, Group, alone, padded, perturbed
from adgauge.product import parse_product
from adgauge.records import CanonicalInput, ImageMissing
from tests.contracts import contract

LADDER = (8, 16, 64)
RUNGS = (8, 64, 8, 16, 8)


def groups(max_batch: int = 32) -> dict[str, Group]:
    return {group.name: group for group in perturbed(RUNGS, LADDER, max_batch)}


def rows(group: Group) -> Counter[int]:
    return Counter(at for batch in group.batches for at in batch.rows)


def test_groups_are_every_size_every_longer_rung_and_other_mates() -> None:
    sizes = [f"batch of {size}" for size in (2, 4, 8, 16, 32)]
    assert list(groups()) == [*sizes, "padded to 16", "padded to 64", "batch-mates"]
    assert [name for name in groups(6) if "of" in name] == ["batch of 2", "batch of 4", "batch of 6"]
    assert list(groups(1)) == ["padded to 16", "padded to 64"]


def test_alone_is_every_row_once_as_it_is() -> None:
    assert alone(RUNGS).batches == tuple(Batch((at,), rung) for at, rung in enumerate(RUNGS))


@pytest.mark.parametrize("size", [2, 4, 8, 32])
def test_batches_of_a_size_hold_exactly_so_many_rows_of_one_length(size: int) -> None:
    group = groups()[f"batch of {size}"]
    assert {len(batch.rows) for batch in group.batches} == {size}
    assert all(RUNGS[at] == batch.tokens for batch in group.batches for at in batch.rows)
    assert set(rows(group)) == set(range(len(RUNGS)))


def test_a_row_is_padded_to_every_longer_rung_and_to_no_shorter_one() -> None:
    assert set(rows(groups()["padded to 16"])) == {0, 2, 4}
    assert set(rows(groups()["padded to 64"])) == {0, 2, 3, 4}


def test_mates_differ_and_so_does_the_order() -> None:
    batches = groups()["batch-mates"].batches
    company = [sorted(batch.rows) for batch in batches if batch.tokens == 8]
    assert len(company) == 2
    assert company[0] != company[1]
    assert all(RUNGS[at] <= batch.tokens for batch in batches for at in batch.rows)
    assert set(rows(groups()["batch-mates"])) == set(range(len(RUNGS)))
    assert batches == groups()["batch-mates"].batches


def test_a_budget_keeps_some_of_every_length_that_fits_and_names_the_rest() -> None:
    group = Group("some", tuple(Batch((at,), tokens) for tokens in (8, 64, 16) for at in range(4)))
    kept = group.within(100)
    assert Counter(batch.tokens for batch in kept.batches) == {8: 2, 16: 1, 64: 1}
    assert sum(batch.row_tokens for batch in kept.batches) <= 100
    assert sorted((*kept.batches, *kept.left_out), key=str) == sorted(group.batches, key=str)
    assert group.within(4 * (8 + 16 + 64)).left_out == ()


def test_nothing_is_left_out_where_everything_fits() -> None:
    for group in groups().values():
        assert group.within(10**6).left_out == ()


def test_a_padded_input_is_what_the_canonicalizer_makes_of_a_longer_text_but_for_the_text(
    tmp_path: Path,
) -> None:
    ours = contract(tmp_path)
    product = parse_product(b'{"parent_asin": "A", "title": "red shoe"}', 1 << 20)
    (one,) = Canonicalizer(ours, tmp_path).canonicalize([product], [[ImageMissing("gone", "")]])
    assert isinstance(one, CanonicalInput)
    assert one.rung == 8
    longer = padded(one, ours, 64)
    assert longer.rung == 64
    assert longer.digest == digest(longer.arrays) != one.digest
    assert longer.arrays["token_ids"][8:].tolist() == [ours.spec.text.pad_id] * 56
    assert longer.arrays["token_mask"].tolist() == [*one.arrays["token_mask"].tolist(), *[0] * 56]
    assert np.array_equal(longer.arrays["image"], one.arrays["image"])
    assert {name: array.dtype for name, array in longer.arrays.items()} == {
        name: array.dtype for name, array in one.arrays.items()
    }
    assert padded(one, ours, 8).digest == one.digest
