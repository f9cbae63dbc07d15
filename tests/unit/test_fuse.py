import pytest

from adgauge.errors import BackendUnavailable, RejectReason
from adgauge.pipeline.fuse import Fuse

GOOD, BAD, WORSE = None, RejectReason.NOT_JSON, RejectReason.MODEL_ERROR


def fuse(limit: float = 0.5) -> Fuse:
    return Fuse(window=20, judged_from=10, limit=limit)


def test_a_small_share_of_rejects_is_ordinary() -> None:
    ours = fuse()
    for _ in range(100):
        ours.admit([GOOD, BAD])


def test_too_large_a_share_blows_it_and_says_what_to_do() -> None:
    with pytest.raises(BackendUnavailable, match=r"75% of the last 20 records") as said:
        fuse().admit([GOOD] * 5 + [BAD] * 5 + [WORSE] * 10)

    assert said.value.backend == "fuse"
    assert "(model_error 10, not_json 5)" in said.value.detail
    assert "adgauge dlq list" in said.value.detail
    assert "ADGAUGE_REJECT_SHARE_LIMIT" in said.value.detail


def test_a_few_records_are_no_share() -> None:
    ours = fuse()
    ours.admit([BAD] * 9)
    with pytest.raises(BackendUnavailable):
        ours.admit([BAD])


def test_it_stays_blown_and_asking_again_counts_nothing() -> None:
    ours = fuse()
    for reasons in ([BAD] * 20, [GOOD] * 100, [GOOD] * 100):
        with pytest.raises(BackendUnavailable, match="100% of the last 20"):
            ours.admit(reasons)


def test_only_the_window_counts() -> None:
    ours = fuse()
    ours.admit([BAD] * 5 + [GOOD] * 15)
    for _ in range(10):
        ours.admit([GOOD] * 20)
        ours.admit([BAD] * 10)


def test_a_limit_of_one_never_blows() -> None:
    fuse(limit=1.0).admit([BAD] * 1000)
