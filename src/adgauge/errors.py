"""The error tree. The class of an error decides what happens to the record (see `pipeline/scoring.py`).

    AdgaugeError
    ├── RecordRejected      this record can never be scored      → dead letter, then done
    ├── BackendUnavailable  a server cannot answer right now     → retry, do not commit
    ├── ContractMismatch    the model is not what it says it is  → refuse to serve
    └── ConfigurationError  the operator must change something   → one line, exit 1

Adapters translate their technology's errors into these once, at their edge, with `raise … from exc`.
"""

from __future__ import annotations

from enum import StrEnum


class AdgaugeError(Exception):
    """Base of every error that adgauge raises on purpose; its text is one line that says what to do."""


class RejectReason(StrEnum):
    """Why a record can never be scored. A closed list: it labels a metric and filters dead letters."""

    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    NO_ID = "no_id"
    KEY_MISMATCH = "key_mismatch"
    TOO_LARGE = "too_large"
    INVALID = "invalid"
    NO_IMAGE = "no_image"
    MODEL_ERROR = "model_error"


class RecordRejected(AdgaugeError):
    """This record can never be scored; it goes to the dead letters with `reason` and `stage`."""

    def __init__(self, reason: RejectReason, stage: str, detail: str) -> None:
        super().__init__(f"{reason} at {stage}: {detail}")
        self.reason = reason
        self.stage = stage
        self.detail = detail


class BackendUnavailable(AdgaugeError):
    """A server did not answer in time or cannot answer now; the work is retried and nothing is committed."""

    def __init__(self, backend: str, detail: str) -> None:
        super().__init__(f"{backend}: {detail}")
        self.backend = backend
        self.detail = detail


class ContractMismatch(AdgaugeError):
    """The served model differs from its contract; scores would be wrong, so nothing is served."""


class ConfigurationError(AdgaugeError):
    """The operator must change an address, a right, a file or a setting; the text says which."""
