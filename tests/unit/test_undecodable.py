"""Only what goes wrong in decoding a record is the record's fault: a person is told to skip it."""

import pytest
from kafka import errors as kafka_errors
from kafka.record.memory_records import MemoryRecords

from adgauge.adapters.kafka.source import is_undecodable


def raised_by_decoding() -> Exception:
    try:
        MemoryRecords(b"\x00" * 5).next_batch()
        list(MemoryRecords(b"\x00" * 11 + b"\x00\x00\x00\x01" + b"\x07" * 90).next_batch() or [])
    except Exception as error:
        return error
    raise AssertionError("it was decoded")


def test_what_the_decoder_raises_is() -> None:
    assert is_undecodable(raised_by_decoding())


@pytest.mark.parametrize("error", [kafka_errors.CorruptRecordError(), kafka_errors.UnsupportedCodecError()])
def test_what_the_client_calls_so_is(error: Exception) -> None:
    assert is_undecodable(error)


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError, MemoryError, kafka_errors.KafkaError])
def test_anything_else_is_not(kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        raise kind("of another part")

    assert not is_undecodable(caught.value)
