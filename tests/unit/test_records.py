from hypothesis import given
from hypothesis import strategies as st

from adgauge.records import CLOCK_SKEW_MS, Order, event_order

NOW = 1_800_000_000_000


def test_a_header_is_the_event_time() -> None:
    assert event_order(b"1700000000000", NOW, NOW, 7) == (Order(1_700_000_000_000, 7), False)


def test_without_a_header_the_record_s_timestamp_is() -> None:
    assert event_order(None, NOW - 5, NOW, 7) == (Order(NOW - 5, 7), False)


def test_a_header_that_is_no_number_is_as_if_it_were_absent() -> None:
    for header in (b"", b"-5", b"soon", b"1e12", b"\xff", b"9" * 17):
        assert event_order(header, NOW - 5, NOW, 7) == (Order(NOW - 5, 7), False)


def test_a_header_far_past_the_record_is_clamped_to_it() -> None:
    late = str(NOW + CLOCK_SKEW_MS + 1).encode()
    assert event_order(late, NOW, NOW, 7) == (Order(NOW, 7), True)


def test_a_clock_from_2099_is_clamped_to_now() -> None:
    assert event_order(None, 4_070_908_800_000, NOW, 7) == (Order(NOW, 7), True)


def test_a_record_without_a_timestamp_happened_now() -> None:
    assert event_order(None, -1, NOW, 7) == (Order(NOW, 7), True)


@given(st.none() | st.binary(max_size=20), st.integers(-1, 2**63 - 1), st.integers(0, 2**53))
def test_no_event_time_lies_further_ahead_than_twice_the_skew(
    header: bytes | None, record_ms: int, now_ms: int
) -> None:
    order, _ = event_order(header, record_ms, now_ms, 0)
    assert 0 <= order.event_ms <= now_ms + 2 * CLOCK_SKEW_MS
