"""Header names are bytes to Kafka and text to kafka-python: the ones that are not UTF-8 survive here.

On the way in they become text with surrogates (PEP 383), on the way out the bytes they were. kafka-python
3.0 raises for such a name when it decodes a record, and then never gets past that record.
"""

from __future__ import annotations

from typing import Any

from kafka.record import memory_records
from kafka.record.default_records import DefaultRecordBatch


class HeaderName(str):
    """A name that is written as the bytes it was read from."""

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:
        """The bytes; `errors` is what kafka-python leaves out."""
        return super().encode(encoding, "surrogateescape")


class _Name(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return HeaderName(super().decode(encoding, "surrogateescape"))


class _Names(bytearray):
    """A buffer whose slices decode as text whatever they hold."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Name(found) if isinstance(index, slice) else found


class _AnyNameBatch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python is untyped
    """A batch of records; only one whose header names are not UTF-8 takes the slow way."""

    _buffer: bytearray

    def _read_msg(self) -> Any:
        try:
            return super()._read_msg()
        except UnicodeDecodeError:
            # Nothing of the record has been taken: the position moves when all of it is read.
            buffer, self._buffer = self._buffer, _Names(self._buffer)
            try:
                return super()._read_msg()
            finally:
                self._buffer = buffer


def read_any_header_name() -> None:
    """From now on kafka-python's consumers read records with any header names."""
    memory_records.DefaultRecordBatch = _AnyNameBatch
