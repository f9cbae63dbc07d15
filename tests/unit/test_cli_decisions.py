import json
from collections.abc import Sequence
from dataclasses import replace

from adgauge.adapters.files import UNREADABLE_HEADER
from adgauge.cli.decisions import Decisions
from adgauge.cli.rows import Row
from adgauge.errors import RejectReason
from adgauge.records import (
    Envelope,
    Flag,
    Order,
    Outcome,
    OutcomeKind,
    Partition,
    Position,
    Rejection,
    Score,
)

Raw = Envelope[bytes | None]
FILE = Partition("c.jsonl", 0)


def record(line: int, value: bytes | None) -> Raw:
    return Envelope(value, Position(FILE, line), Order(0, line), None, value, (), frozenset())


def outcome(record: Raw) -> Outcome:
    """Numbers are scores, nothing is a deletion, everything else is rejected."""
    value, line = record.value, record.position.offset
    if value is None:
        return Outcome(OutcomeKind.DELETED, record.position, "P", None, None, None)
    if not value.isdigit():
        rejection = Rejection(RejectReason.NOT_JSON, "parse", "odd")
        return Outcome(OutcomeKind.REJECTED, record.position, None, None, rejection, None)
    score = Score(f"P{line}", float(value), record.order, 0, frozenset({Flag.NO_IMAGE}), "d")
    return Outcome(OutcomeKind.SCORED, record.position, f"P{line}", score, None, "timeout")


def decide(batch: Sequence[Raw]) -> list[Outcome]:
    return [outcome(record) for record in batch]


def test_rows_and_rejects_keep_the_order_of_the_file_whatever_ends_first() -> None:
    rows: list[Row] = []
    rejects: list[str] = []
    decisions = Decisions(decide, rows.extend, rejects.append)

    decisions.decide([record(3, b"3"), record(4, b"x")])
    assert rows == []
    decisions.decide([record(1, b"1"), record(2, b"y\xff")])
    decisions.flush(4)
    assert [row.line for row in rows] == [1, 3]
    decisions.flush(5)

    assert [json.loads(line) for line in rejects] == [
        {"line": 2, "reason": "not_json", "stage": "parse", "detail": "odd", "value_base64": "ef8="},
        {"line": 4, "reason": "not_json", "stage": "parse", "detail": "odd", "value": "x"},
    ]
    assert rows[0] == Row(1, "P1", 1.0, ("no_image",), "timeout", "d")


def test_what_the_catalog_could_not_read_is_rejected_without_the_pipeline() -> None:
    rejects: list[str] = []
    seen: list[bytes | None] = []

    def decide_and_tell(batch: Sequence[Raw]) -> list[Outcome]:
        seen.extend(record.value for record in batch)
        return decide(batch)

    decisions = Decisions(decide_and_tell, lambda _: None, rejects.append)
    # Its text would be a product, were it a line of JSON.
    unread = replace(record(2, b"5"), headers=((UNREADABLE_HEADER, "1 cell; œ".encode()),))
    results = decisions.decide([record(1, b"1"), unread, record(3, b"3")])
    decisions.decide([replace(unread, position=Position(FILE, 4))])
    decisions.flush(4)

    assert seen == [b"1", b"3"]
    assert [each.position.offset for each in results] == [1, 2, 3]
    assert [json.loads(line) for line in rejects] == [
        {"line": 2, "reason": "invalid", "stage": "read", "detail": "1 cell; œ", "value": "5"}
    ]
    assert decisions.summary.rejected == {"invalid": 2}


def test_lines_without_a_score_are_remembered_in_order() -> None:
    decisions = Decisions(decide, lambda _: None, lambda _: None)
    decisions.decide([record(4, b"x"), record(1, b"1"), record(3, None)])
    decisions.decide([record(2, b"y"), record(5, b"5"), record(6, b"z")])
    decisions.flush(4)
    assert decisions.unscored == [2, 3]
    decisions.flush(7)
    assert decisions.unscored == [2, 3, 4, 6]


def test_the_summary_counts_every_line_once() -> None:
    decisions = Decisions(decide, lambda _: None, lambda _: None)
    decisions.decide([record(1, b"1"), record(2, b"x"), record(3, None), record(4, b"2")])

    assert decisions.summary.as_json(blank=5, seconds=2.0) == {
        "scored": 2,
        "deleted": 1,
        "rejected": {"not_json": 1},
        "blank": 5,
        "without_image": {"timeout": 2},
        "seconds": 2.0,
        "records_per_s": 2.0,
    }
    assert decisions.summary.as_text(blank=5, seconds=2.0) == (
        "scored 2 (without a picture: 2 timeout)\nrejected 1 (1 not_json)\n"
        "deleted 1, blank lines 5\n4 records in 2.0 s, 2.0 records/s"
    )
