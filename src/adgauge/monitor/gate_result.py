"""What the gate concluded: the JSON that `adgauge gate` writes and `adgauge scores promote` asks for."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from adgauge.errors import ConfigurationError
from adgauge.monitor.result import UNDEFINED, Count, Figure, Finite, Ms, Share, Slice

GATE_FORMAT: Literal[1] = 1
"""Of the document; a reader refuses another."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(StrEnum):
    """What is to become of the candidate; `hold` asks for more data, or for what was not shown."""

    PROMOTE = "promote"
    HOLD = "hold"
    REJECT = "reject"


class Finding(StrEnum):
    """How one check ended."""

    PASSED = "passed"
    UNDECIDED = "undecided"
    FAILED = "failed"


class CheckKind(StrEnum):
    """What was checked."""

    PLCC = "plcc"
    CES_PRINTED = "ces_printed"
    CES_LEADERBOARD = "ces_leaderboard"
    SCORED = "scored"
    PARITY = "parity"


class Check(_Frozen):
    """One check, in a sentence and in figures.

    `difference` is the candidate's figure minus the baseline's, with its interval; it must not lie below
    −`margin`. `p_value` is of "it is no lower than the baseline's", `q_value` that corrected over all slices.
    """

    kind: CheckKind
    slice: Slice
    finding: Finding
    words: str
    n: Count = 0
    candidate: Finite | None = None
    baseline: Finite | None = None
    difference: Figure = UNDEFINED
    margin: Finite | None = None
    p_value: Share | None = None
    q_value: Share | None = None


class Side(_Frozen):
    """Whose scores were compared: a generation, or None for a file that names none; `model` is name/version.

    `contract` is the sha256 (hex) of the model's contract. P is in millions, F in GFLOPs an item; None where
    no contract was given.
    """

    source: str
    generation: Count | None
    model: str
    contract: str
    params_m: Finite | None = None
    flops_g: Finite | None = None


class GateResult(_Frozen):
    """The decision, why, and all that it rests on. `decided_at_ms` is what "now" was."""

    format: Literal[1] = GATE_FORMAT
    decided_at_ms: Ms
    decision: Decision
    reasons: tuple[str, ...]
    candidate: Side
    baseline: Side
    checks: tuple[Check, ...]

    @model_validator(mode="after")
    def _follows_from_the_checks(self) -> Self:
        lacking = [check.words for check in self.checks if check.finding is not Finding.PASSED]
        if self.decision is Decision.PROMOTE and lacking:
            raise ValueError(f"it says promote, although {lacking[0]}")
        return self

    def to_json(self) -> str:
        """The document, in stable order, with a final newline."""
        return self.model_dump_json(indent=2) + "\n"


def load_gate_result(path: Path) -> GateResult:
    """Raises ConfigurationError for a file that cannot be read or is no result of the gate."""
    try:
        return GateResult.model_validate_json(path.read_bytes())
    except OSError as exc:
        raise ConfigurationError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValidationError as exc:
        where = ".".join(map(str, exc.errors()[0]["loc"])) or "the document"
        raise ConfigurationError(
            f"{path} is no result of `adgauge gate --json`: {where}: {exc.errors()[0]['msg']}"
        ) from exc
