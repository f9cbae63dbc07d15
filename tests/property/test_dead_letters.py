"""A dead-letter topic may hold anything: whatever is in it can be read, and what is ours comes back."""

from hypothesis import given
from hypothesis import strategies as st

from adgauge.adapters.kafka.writers import (
    DETAIL_HEADER,
    ORIGIN_EVENT_HEADER,
    ORIGIN_HEADER,
    REASON_HEADER,
    STAGE_HEADER,
    VERSION_HEADER,
)
from adgauge.adapters.kafka_admin import TopicRecord
from adgauge.adapters.kafka_letters import (
    REPLAY_OF_HEADER,
    REPLAYS_HEADER,
    parse_letter,
    replayed,
)
from adgauge.cli.dlq import Selection, line_of
from adgauge.records import EVENT_HEADER

OURS = [
    REASON_HEADER, STAGE_HEADER, DETAIL_HEADER, ORIGIN_HEADER, ORIGIN_EVENT_HEADER, VERSION_HEADER,
]  # fmt: skip
MARKS = [EVENT_HEADER, REPLAYS_HEADER, REPLAY_OF_HEADER]
names = st.one_of(
    st.sampled_from(OURS + MARKS),
    st.text(max_size=8),
    st.binary(max_size=8).map(lambda raw: raw.decode(errors="surrogateescape")),
)
values = st.one_of(st.binary(max_size=12), st.integers(0, 10**20).map(lambda number: str(number).encode()))
headers = st.lists(st.tuples(names, values), max_size=12).map(tuple)
blobs = st.one_of(st.none(), st.binary(max_size=40))


def record(key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]) -> TopicRecord:
    return TopicRecord("dlq", 0, 1, 1000, key, value, headers)


@given(blobs, blobs, headers)
def test_no_letter_is_unreadable(
    key: bytes | None, value: bytes | None, headers: tuple[tuple[str, bytes], ...]
) -> None:
    letter = parse_letter(record(key, value, headers))

    assert line_of(letter).isprintable()
    assert letter in Selection()
    assert (letter.key, letter.value) == (key, value)


@given(blobs, blobs, headers)
def test_a_replay_is_the_record_as_it_came(
    key: bytes | None, value: bytes | None, own: tuple[tuple[str, bytes], ...]
) -> None:
    ours = {ORIGIN_HEADER: b"products/2/41", ORIGIN_EVENT_HEADER: b"1234", REASON_HEADER: b"invalid"}
    written = tuple((name, ours.get(name, b"x")) for name in OURS)
    letter = parse_letter(record(key, value, own + written))
    again_key, again_value, again_headers = replayed(letter)

    assert letter.headers == own
    assert (again_key, again_value) == (key, value)
    kept = tuple(each for each in own if each[0] not in MARKS)
    assert tuple(again_headers)[: len(kept)] == kept
    assert [name for name, _ in again_headers[len(kept) :]] == MARKS
    assert dict(again_headers)[EVENT_HEADER] == b"1234"


@given(headers)
def test_replays_are_counted_and_remember_the_first_record(own: tuple[tuple[str, bytes], ...]) -> None:
    plain = tuple(each for each in own if each[0] not in MARKS)
    where = ((ORIGIN_HEADER, b"products/2/41"), (ORIGIN_EVENT_HEADER, b"1234"))
    first = parse_letter(record(b"k", b"v", plain + where))
    _, _, sent = replayed(first)
    later = ((ORIGIN_HEADER, b"products/2/99"), (ORIGIN_EVENT_HEADER, b"1234"))
    second = parse_letter(record(b"k", b"v", tuple(sent) + later))

    assert (first.replays, second.replays) == (0, 1)
    assert first.first_origin == second.first_origin == "products/2/41"
    assert first.identity == second.identity


def test_a_header_that_was_copied_does_not_make_two_records_one() -> None:
    copied = ((REPLAY_OF_HEADER, b"products/0/1"),)
    letters = [
        parse_letter(record(key, value, copied)) for key in (b"a", b"b") for value in (b"1", b"2", None)
    ]

    assert len({each.identity for each in letters}) == len(letters)
