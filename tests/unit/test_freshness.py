import pytest

from adgauge.images.freshness import (
    conditions,
    fresh_until_ms,
    http_date,
    may_store,
    retry_after_s,
    validators_of,
)
from adgauge.records import Validators

EIGHT = "Wed, 25 Nov 2026 08:00:00 GMT"
EIGHT_MS = 1_795_593_600_000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, 0),
        ({"last-modified": EIGHT}, 0),
        ({"cache-control": "max-age=60"}, 60),
        ({"cache-control": "Public, Max-Age = 60"}, 60),
        ({"cache-control": 'max-age="60"'}, 60),
        ({"cache-control": "max-age=60", "age": "20"}, 40),
        ({"cache-control": "max-age=60", "age": "61"}, 0),
        ({"cache-control": "max-age=60", "age": "old"}, 60),
        ({"cache-control": "max-age=60, max-age=30"}, 30),
        ({"cache-control": "s-maxage=60"}, 0),
        ({"cache-control": "s-maxage=60, max-age=30"}, 30),
        ({"cache-control": "max-age=-60"}, 0),
        ({"cache-control": "max-age=1.5"}, 0),
        ({"cache-control": "max-age=99999999999999999999"}, 0),
        ({"cache-control": "max-age=31536000"}, 86_400),
        ({"cache-control": "private, max-age=60"}, 60),
        ({"cache-control": "no-store, max-age=60"}, 0),
        ({"cache-control": "max-age=60, no-cache"}, 0),
        ({"cache-control": 'max-age=60, no-cache="set-cookie"'}, 0),
        ({"cache-control": 'max-age=60, x="no-store"'}, 60),
        ({"cache-control": "max-age=60", "vary": "*"}, 0),
        ({"cache-control": "max-age=60", "vary": "Accept-Encoding"}, 60),
        ({"expires": "Wed, 25 Nov 2026 08:01:00 GMT", "date": EIGHT}, 60),
        ({"expires": "Wed, 25 Nov 2026 08:01:00 GMT"}, 60),
        ({"expires": "Wed, 25 Nov 2026 08:01:00 GMT", "date": EIGHT, "age": "10"}, 50),
        ({"expires": "0", "date": EIGHT}, 0),
        ({"expires": "Wed, 25 Nov 2026 08:01:00 GMT", "cache-control": "max-age=5"}, 5),
        ({"expires": "Wed, 25 Nov 2026 07:01:00 GMT", "date": EIGHT}, 0),
    ],
)
def test_an_answer_is_fresh_for_as_long_as_it_says(headers: dict[str, str], seconds: int) -> None:
    assert fresh_until_ms(headers, EIGHT_MS) == (EIGHT_MS + seconds * 1000 if seconds else 0)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(
            ("7", 7),
            ("0", 0),
            ("-7", 0),
            ("7.5", 0),
            ("soon", 0),
            ("", 0),
            ("999999999", 3600),
            ("9" * 99, 0),
        ),
        ("Wed, 25 Nov 2026 08:00:30 GMT", 30),
        ("Wed, 25 Nov 2026 07:00:30 GMT", 0),
        ("Wed, 25 Nov 2099 07:00:30 GMT", 3600),
    ],
)
def test_a_host_may_ask_for_an_hour_of_peace_at_most(text: str, seconds: float) -> None:
    assert retry_after_s({"retry-after": text}, EIGHT_MS) == seconds


def test_no_store_is_honoured() -> None:
    assert may_store({"cache-control": "private, max-age=60"})
    assert not may_store({"cache-control": "max-age=60, No-Store"})


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "Wed, 25 Foo 2026 08:00:00 GMT", "Wed, 31 Feb 2026 08:00:00 GMT"),
        *("Wed, 25 Nov 2026 24:00:00 GMT", "Wed, 25 Nov 2026 08:00:00 CET", "Wed, 25 ovD 2026 08:00:00 GMT"),
        *("Wed, 25 Nov 0000 08:00:00 GMT", "Wednesday, 25-Nov-26 08:00:00 GMT", EIGHT + "\n"),
    ],
)
def test_a_date_of_any_other_form_is_none(text: str) -> None:
    assert http_date(text) is None


def test_a_date_is_seconds() -> None:
    assert http_date(EIGHT) == EIGHT_MS / 1000


def test_validators_are_sent_back_as_they_came() -> None:
    known = validators_of({"etag": 'W/"a"', "last-modified": EIGHT}, "00", 0, "")

    assert conditions(known) == [("If-None-Match", 'W/"a"'), ("If-Modified-Since", EIGHT)]


def test_validators_that_were_tampered_with_are_not_sent() -> None:
    assert conditions(Validators(etag='"a"\r\nX: y', last_modified="now\r\nX: y")) == []
