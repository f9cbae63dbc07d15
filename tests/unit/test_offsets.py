from hypothesis import given
from hypothesis import strategies as st

from adgauge.pipeline.offsets import OffsetTracker
from adgauge.records import Partition, Position

P0, P1 = Partition("t", 0), Partition("t", 1)


def tracker_with(*offsets: int, partition: Partition = P0) -> OffsetTracker:
    tracker = OffsetTracker()
    tracker.assign([P0, P1])
    for offset in offsets:
        tracker.deliver(Position(partition, offset), tracker.moves())
    return tracker


def test_nothing_is_committable_before_the_first_record_is_done() -> None:
    tracker = tracker_with(0, 1)
    tracker.complete(Position(P0, 1))

    assert tracker.committable() == {}


def test_out_of_order_completion_commits_the_contiguous_prefix() -> None:
    tracker = tracker_with(0, 1, 2, 3)
    for offset in (2, 0, 1):
        tracker.complete(Position(P0, offset))

    assert tracker.committable() == {P0: 3}


def test_gaps_left_by_compaction_do_not_hold_back() -> None:
    tracker = tracker_with(5, 9, 40)
    for offset in (9, 5, 40):
        tracker.complete(Position(P0, offset))

    assert tracker.committable() == {P0: 41}


def test_committed_offsets_are_not_committed_again() -> None:
    tracker = tracker_with(0)
    tracker.complete(Position(P0, 0))
    tracker.committed(tracker.committable())

    assert tracker.committable() == {}


def test_partitions_progress_apart() -> None:
    tracker = tracker_with(0, 1)
    tracker.deliver(Position(P1, 7), tracker.moves())
    tracker.complete(Position(P1, 7))

    assert tracker.committable() == {P1: 8}


def test_a_revoked_partition_hands_over_what_is_done_and_is_forgotten() -> None:
    tracker = tracker_with(0, 1)
    tracker.complete(Position(P0, 0))

    assert tracker.forget([P0]) == {P0: 1}
    tracker.complete(Position(P0, 1))
    assert tracker.committable() == {}
    assert not tracker.tracks(Position(P0, 1))


def test_records_of_a_partition_that_went_away_are_ignored_until_it_comes_back() -> None:
    tracker = tracker_with(0)
    tracker.forget([P0])

    assert not tracker.deliver(Position(P0, 1), tracker.moves())
    assert tracker.owned() == {P1}
    tracker.assign([P0])
    tracker.complete(Position(P0, 1))
    assert tracker.committable() == {}
    assert tracker.deliver(Position(P0, 0), tracker.moves())


def test_the_first_undecided_offset_is_that_of_the_first_record_not_done() -> None:
    tracker = tracker_with(3, 4, 5)
    tracker.complete(Position(P0, 4))
    assert tracker.undecided() == {P0: 3}
    tracker.complete(Position(P0, 3))
    assert tracker.undecided() == {P0: 5}
    tracker.complete(Position(P0, 5))
    assert tracker.undecided() == {}


def test_a_rewound_partition_waits_for_its_records_again() -> None:
    tracker = tracker_with(0, 1)
    tracker.complete(Position(P0, 0))
    tracker.complete(Position(P0, 1))
    tracker.deliver(Position(P0, 0), tracker.moves())

    assert tracker.committable() == {}
    tracker.complete(Position(P0, 0))
    assert tracker.committable() == {P0: 1}


def test_a_record_delivered_twice_is_done_once() -> None:
    tracker = tracker_with(0, 1)
    tracker.deliver(Position(P0, 0), tracker.moves())
    tracker.complete(Position(P0, 0))

    assert tracker.committable() == {P0: 1}


@given(st.sets(st.integers(0, 60), min_size=1), st.data())
def test_committable_is_never_past_an_unfinished_record(offsets: set[int], data: st.DataObject) -> None:
    delivered = sorted(offsets)
    tracker = tracker_with(*delivered)
    order = data.draw(st.permutations(delivered))
    for done, offset in enumerate(order, 1):
        tracker.complete(Position(P0, offset))
        unfinished = min(order[done:], default=delivered[-1] + 1)
        before = [each for each in delivered if each < unfinished]
        assert tracker.committable() == ({P0: before[-1] + 1} if before else {})
