"""The check at start: nothing is served unless code, contract and served model agree."""

from __future__ import annotations

from collections.abc import Sequence

from adgauge.canonical.golden import GoldenRecord
from adgauge.contract import ModelContract
from adgauge.errors import ContractMismatch, RecordRejected
from adgauge.pipeline.ports import Scorer
from adgauge.records import CanonicalInput


def require_served_contract(contract: ModelContract, served_digest: str | None) -> None:
    """The served model's configuration names our contract; raises ContractMismatch."""
    if served_digest != contract.digest():
        raise ContractMismatch(
            f"Triton serves {contract.name} with contract {served_digest or 'unnamed'}, ours is"
            f" {contract.digest()}: point ADGAUGE_MODEL_DIR and Triton at the same, unchanged export"
        )


def require_golden_digests(records: Sequence[GoldenRecord], inputs: Sequence[CanonicalInput]) -> None:
    """The canonicalizer makes what the model was exported with; raises ContractMismatch."""
    for record, canonical in zip(records, inputs, strict=True):
        if canonical.digest != record.digest:
            raise ContractMismatch(
                f"golden record {record.product.parent_asin} canonicalizes to {canonical.digest}, not"
                f" {record.digest}: this build's Pillow or tokenizer differs from the exporter's"
            )


def require_golden_scores(
    contract: ModelContract, records: Sequence[GoldenRecord], inputs: Sequence[CanonicalInput], scorer: Scorer
) -> None:
    """The served model scores as exported, within its tolerance; raises ContractMismatch."""
    for record, score in zip(records, scorer.score(inputs), strict=True):
        if isinstance(score, RecordRejected) or abs(score - record.score) > contract.tolerance:
            raise ContractMismatch(
                f"Triton scores golden record {record.product.parent_asin} {score}, not {record.score}"
                f" within {contract.tolerance}: the served weights are not those of {contract.digest()}"
            )
