from adgauge.cli.publish import Published
from adgauge.cli.terminal import named_lines
from adgauge.records import Partition, Position


def published(*records: tuple[int, int, int]) -> Published:
    """From (line, partition, offset)."""
    made = Published()
    lines = [(line, b"") for line, _, _ in records]
    made.add(lines, [Position(Partition("t", partition), offset) for _, partition, offset in records])
    return made


def test_a_record_is_decided_once_its_offset_is_committed() -> None:
    made = published((1, 0, 10), (2, 1, 4), (3, 0, 11), (5, 0, 12))

    assert made.undecided({0: 0, 1: 0}) == [1, 2, 3, 5]
    assert made.undecided({0: 11, 1: 4}) == [2, 3, 5]
    assert made.undecided({0: 13, 1: 5}) == []


def test_many_undecided_lines_are_named_by_the_first_few() -> None:
    assert named_lines([7]) == "line 7"
    assert named_lines([1, 2, 3, 4, 5, 6, 8]) == "lines 1, 2, 3, 4, 5 and 2 more"
