from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adgauge.adapters.redis import DIGEST_DIGITS, StoredScore, decode, encode
from adgauge.records import Flag, Order, Score, Tombstone

# An event header has at most 16 digits; offsets are Kafka's signed 64 bits.
orders = st.builds(Order, st.integers(0, 10**16 - 1), st.integers(0, 2**63 - 1))
scores = st.builds(
    Score,
    product_id=st.text(min_size=1),
    value=st.floats(1, 5),
    order=orders,
    scored_at_ms=st.integers(0, 10**14 - 1),
    flags=st.frozensets(st.sampled_from(Flag)),
    digest=st.text("0123456789abcdef", min_size=64, max_size=64),
)


@given(scores)
def test_a_stored_score_reads_as_it_was_written(score: Score) -> None:
    expected = StoredScore(
        score.product_id,
        float(f"{score.value:.4f}"),
        score.order,
        score.scored_at_ms,
        score.flags,
        score.digest[:DIGEST_DIGITS],
    )
    assert decode(score.product_id, encode(score)) == expected


@given(st.builds(Tombstone, st.text(min_size=1), orders))
def test_a_tombstone_reads_as_it_was_written(tombstone: Tombstone) -> None:
    assert decode(tombstone.product_id, encode(tombstone)) == tombstone


@given(st.one_of(scores, st.builds(Tombstone, st.text(min_size=1), orders)))
def test_a_line_has_at_most_80_ascii_bytes(entry: Score | Tombstone) -> None:
    assert len(encode(entry).encode("ascii")) <= 80


@given(st.text())
def test_arbitrary_text_raises_nothing_else_than_value_error(text: str) -> None:
    with suppress(ValueError):
        assert decode("P", text).product_id == "P"


@pytest.mark.parametrize("line", ["", "hello", "4.2 1 2", "deleted 1", "4.2 1 2 3 z abc", "deleted 1 2 3"])
def test_a_line_that_is_nearly_ours_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="not a stored score"):
        decode("P", line)
