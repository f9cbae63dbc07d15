"""A model that may be scored with: folder, canonicalizer and Triton agree, or nothing starts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adgauge.adapters.triton import REQUEST_ROWS, Probe, TritonClient, TritonScorer
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.golden import canonicalize_golden, load_golden
from adgauge.contract import GOLDEN_FILE, ModelContract, load_contract
from adgauge.pipeline.admission import (
    require_golden_digests,
    require_golden_scores,
    require_served_contract,
)
from adgauge.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class AdmittedModel:
    """What belongs together: the contract, what canonicalizes for it, and what scores by it."""

    contract: ModelContract
    canonicalizer: Canonicalizer
    scorer: TritonScorer


def admit(
    model_dir: Path, triton_url: str, metrics: Metrics, *, deadline_s: float, requests: int
) -> AdmittedModel:
    """Check `model_dir` against itself and against what Triton serves; the caller closes the scorer.

    Raises ContractMismatch and BackendUnavailable.
    """
    contract = load_contract(model_dir)
    client = TritonClient(triton_url, contract, deadline_s)
    served = client.served()
    require_served_contract(contract, served.digest)
    canonicalizer = Canonicalizer(contract, model_dir)
    records = load_golden(model_dir / GOLDEN_FILE)
    golden = canonicalize_golden(canonicalizer, records)
    require_golden_digests(records, golden)
    scorer = TritonScorer(
        client,
        contract,
        Probe(golden[0], records[0].score),
        metrics,
        max_rows=min(served.max_batch, REQUEST_ROWS),
        max_batch=served.max_batch,
        requests=requests,
    )
    try:
        require_golden_scores(contract, records, golden, scorer)
    except BaseException:
        scorer.close()
        raise
    return AdmittedModel(contract, canonicalizer, scorer)
