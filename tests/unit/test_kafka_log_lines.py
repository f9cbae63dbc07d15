"""What kafka-python says again and again is logged once in a while."""

import logging

from adgauge.adapters.kafka.repeated_lines import EVERY_S, TALKATIVE, Seldom


def line(message: str, created: float) -> logging.LogRecord:
    record = logging.makeLogRecord({"msg": message})
    record.created = created
    return record


def test_the_same_line_is_logged_again_only_after_a_while() -> None:
    seldom = Seldom()
    moments = [0.0, 0.1, EVERY_S / 2, EVERY_S, EVERY_S + 0.1, 3 * EVERY_S]

    assert [at for at in moments if seldom.filter(line("gone", at))] == [0.0, EVERY_S, 3 * EVERY_S]


def test_other_lines_are_logged_at_once() -> None:
    seldom = Seldom()

    assert all(seldom.filter(line(f"topic {number} is gone", 0.0)) for number in range(3))


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    seldom = Seldom()

    assert all(seldom.filter(line("gone", at)) for at in (1000.0, 500.0))


def test_the_talkative_are_filtered_once_the_adapter_is_there() -> None:
    filters = [logging.getLogger(name).filters for name in TALKATIVE]

    assert all(any(isinstance(each, Seldom) for each in found) for found in filters)
