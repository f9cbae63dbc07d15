"""Is the served model ours, and alive? Asked of every replica; a dead model process is replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing

from tritonclient.utils import InferenceServerException

from adgauge.adapters.triton.client import BACKEND, TritonClient, TritonConnection
from adgauge.adapters.triton.requests import DEAD_STUB, Probe, Requests
from adgauge.contract import ModelContract
from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.pipeline.admission import require_served_contract
from adgauge.telemetry.metrics import Metrics, ProbeResult

log = logging.getLogger(__name__)

HEAL_WITHIN_S = 0.5
"""Workers notice a death at the same time; each waits a random part of this and looks again."""


class ModelHealth:
    """Every replica serves our contract and scores the golden record; call it to ask.

    Triton goes on calling a model ready whose process has died (triton-inference-server/server#8604), so only
    a score tells. Such a model is unloaded and loaded again, at the replica that has it. Channels are new:
    a connection may be dead without anybody having said so. `sleep` and `random()` (uniform in [0, 1))
    spread the workers that heal.
    """

    def __init__(
        self,
        connection: TritonConnection,
        working: TritonClient,
        contract: ModelContract,
        golden: Probe,
        metrics: Metrics,
        *,
        sleep: Callable[[float], object],
        random: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._working = working
        self._contract = contract
        self._golden = golden
        self._metrics = metrics
        self._sleep = sleep
        self._random = random

    def __call__(self) -> None:
        """Raises BackendUnavailable while a replica cannot score as exported, ContractMismatch when one
        serves another model.
        """
        try:
            for replica in self._connection.replicas():
                self._examine(replica)
        except BackendUnavailable:
            self._metrics.model_probes.labels(ProbeResult.UNAVAILABLE).inc()
            raise
        except ContractMismatch:
            self._metrics.model_probes.labels(ProbeResult.MISMATCH).inc()
            raise
        self._metrics.model_probes.labels(ProbeResult.GOOD).inc()
        self._working.renew()

    def _examine(self, replica: TritonConnection) -> None:
        with closing(TritonClient(replica, self._contract)) as client:
            try:
                self._require_ours(client)
            except BackendUnavailable as error:
                if DEAD_STUB not in error.detail:
                    raise
                self._heal(client, replica.url)

    def vouch(self) -> None:
        """Every replica scores the golden record, in a batch of its own: what was refused, was for its row.

        Raises BackendUnavailable and ContractMismatch. On a shared channel another replica than the one that
        refused might answer.
        """
        for replica in self._connection.replicas():
            with closing(TritonClient(replica, self._contract)) as client:
                self._requests(client).require_golden(alone=True)

    def _require_ours(self, client: TritonClient) -> None:
        self._requests(client).require_golden(alone=False)

    def _requests(self, client: TritonClient) -> Requests:
        served = client.served()
        require_served_contract(self._contract, served.digest)
        return Requests(client, self._contract, self._golden, self._metrics, served.max_batch)

    def _heal(self, client: TritonClient, url: str) -> None:
        self._sleep(HEAL_WITHIN_S * self._random())
        try:
            self._require_ours(client)
            return  # another worker was first
        except BackendUnavailable as error:
            if DEAD_STUB not in error.detail:
                raise
        log.warning("the process of model %s at %s is dead: loading it again", self._contract.name, url)
        try:
            client.reload()
        except InferenceServerException as exc:
            raise BackendUnavailable(
                BACKEND,
                f"the process of model {self._contract.name} at {url} is dead and Triton does not load it"
                f" again: {exc.message()}; restart it, or run it with --model-control-mode=explicit",
            ) from exc
        self._metrics.model_heals.inc()
        self._require_ours(client)
