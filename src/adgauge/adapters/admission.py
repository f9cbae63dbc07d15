"""A model that may be scored with: folder, canonicalizer and Triton agree, or nothing starts."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adgauge.adapters.triton import (
    REQUEST_ROWS,
    ModelHealth,
    Probe,
    Requests,
    TritonClient,
    TritonConnection,
    TritonScorer,
)
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
    """What belongs together: the contract, what canonicalizes for it, and what scores by it.

    `probe` asks whether all of this still holds; raises BackendUnavailable and ContractMismatch.
    """

    contract: ModelContract
    canonicalizer: Canonicalizer
    scorer: TritonScorer
    probe: Callable[[], None]


def admit(model_dir: Path, connection: TritonConnection, metrics: Metrics, *, requests: int) -> AdmittedModel:
    """Check `model_dir` against itself and against what Triton serves; the caller closes the scorer.

    At most `requests` are in flight. Raises ContractMismatch and BackendUnavailable.
    """
    contract = load_contract(model_dir)
    client = TritonClient(connection, contract)
    served = client.served()
    require_served_contract(contract, served.digest)
    canonicalizer = Canonicalizer(contract, model_dir)
    records = load_golden(model_dir / GOLDEN_FILE)
    golden = canonicalize_golden(canonicalizer, records)
    require_golden_digests(records, golden)
    probe = Probe(golden[0], records[0].score)
    health = ModelHealth(connection, client, contract, probe, metrics, sleep=time.sleep, random=random.random)
    scorer = TritonScorer(
        client,
        Requests(client, contract, probe, metrics, served.max_batch),
        health.vouch,
        max_rows=min(served.max_batch, REQUEST_ROWS),
        in_flight=requests,
    )
    try:
        require_golden_scores(contract, records, golden, scorer)
    except BaseException:
        scorer.close()
        raise
    return AdmittedModel(contract, canonicalizer, scorer, health)
