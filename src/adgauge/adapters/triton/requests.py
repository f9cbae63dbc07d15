"""One request to Triton: sent, its errors told apart, its answer checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from adgauge.adapters.triton.client import BACKEND, LATE, TritonClient
from adgauge.contract import ModelContract
from adgauge.errors import BackendUnavailable, ContractMismatch
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics, ScorerFailure

DEAD_STUB = "not healthy"
"""What Triton says of a model whose process is gone or frozen; to its own mind the model is still ready."""
# What a poison row draws: Triton refuses the request, or the model raises and fails all it was merged with.
_REFUSALS = {"StatusCode.INVALID_ARGUMENT", "StatusCode.INTERNAL"}
# Told with several status codes while a model is being loaded or replaced, or when its process has died.
_NOT_LOADED = ("unknown model", "no available versions", "not at ready state", "is not ready", DEAD_STUB)


@dataclass(frozen=True, slots=True)
class Probe:
    """A golden input and its score: it tells a dead model from a row that the model cannot bear."""

    canonical: CanonicalInput
    score: float


class Refused(Exception):
    """The server works and will not score this request."""


class Requests:
    """Requests on one channel. `max_batch` is what Triton merges at most. Thread-safe.

    Every method raises BackendUnavailable and ContractMismatch.
    """

    def __init__(
        self, client: TritonClient, contract: ModelContract, probe: Probe, metrics: Metrics, max_batch: int
    ) -> None:
        self._client = client
        self._contract = contract
        self._probe = probe
        self._metrics = metrics
        self._max_batch = max_batch
        (self._output,) = (spec for spec in contract.outputs if spec.holds == "score")

    def send(self, rows: Sequence[CanonicalInput]) -> list[float]:
        """The scores of rows of one rung; raises Refused."""
        self._metrics.request_rows.observe(len(rows))
        with self._metrics.in_flight_requests.track_inprogress():
            try:
                result = self._client.infer(rows)
            except InferenceServerException as exc:
                raise self._translated(exc) from exc
        return self._validated(result, len(rows))

    def send_alone(self, rows: Sequence[CanonicalInput]) -> list[float]:
        """Repeat the rows until they fill a Triton batch: nothing can be merged with them; raises Refused."""
        return self.send([rows[row % len(rows)] for row in range(self._max_batch)])[: len(rows)]

    def require_golden(self, *, alone: bool) -> None:
        """The model scores the golden record as it should; if not, it is us and not the data.

        Unless `alone` it may be refused for another worker's row, and is then asked again alone.
        """
        try:
            (score,) = (self.send_alone if alone else self.send)([self._probe.canonical])
        except Refused as refused:
            if not alone:
                self.require_golden(alone=True)
                return
            raise BackendUnavailable(BACKEND, f"the golden record is refused: {refused}") from refused
        if abs(score - self._probe.score) > self._contract.tolerance:
            raise BackendUnavailable(
                BACKEND, f"the golden record scores {score:.4f}, not {self._probe.score:.4f}"
            )

    def _translated(self, exc: InferenceServerException) -> Exception:
        status, message = exc.status(), exc.message() or ""
        if status in _REFUSALS and not any(words in message for words in _NOT_LOADED):
            return self._failed(ScorerFailure.REFUSED, Refused(message))
        kind = ScorerFailure.DEADLINE if status == LATE else ScorerFailure.UNAVAILABLE
        return self._failed(kind, BackendUnavailable(BACKEND, message))

    def _validated(self, result: triton.InferResult, rows: int) -> list[float]:
        """The scores in an answer. Triton checks nothing that a python model returns."""
        output = result.get_output(self._output.name)
        if output is None or output.datatype != np_to_triton_dtype(np.dtype(self._output.dtype)):
            got = "is missing" if output is None else f"is {output.datatype}"
            raise self._failed(
                ScorerFailure.CONTRACT,
                ContractMismatch(f"output {self._output.name} {got}, the contract says {self._output.dtype}"),
            )
        scores = self._scores(result)
        if scores is None or scores.shape != (rows, *self._output.shape):
            shape = list(output.shape)
            error = BackendUnavailable(
                BACKEND, f"output {self._output.name} has shape {shape} for {rows} rows"
            )
            raise self._failed(ScorerFailure.INVALID_OUTPUT, error)
        low, high = self._contract.score_range
        slack = self._contract.tolerance
        if not np.all((scores >= low - slack) & (scores <= high + slack)):  # false for NaN
            raise self._failed(
                ScorerFailure.INVALID_OUTPUT, Refused(f"score {scores.ravel()[:4]} out of range")
            )
        return [float(score) for score in scores.reshape(rows)]

    def _scores(self, result: triton.InferResult) -> npt.NDArray[np.float64] | None:
        try:
            return np.asarray(result.as_numpy(self._output.name), dtype=np.float64)
        except ValueError:  # fewer bytes than its own shape needs
            return None

    def _failed(self, kind: ScorerFailure, error: Exception) -> Exception:
        self._metrics.scorer_failures.labels(kind).inc()
        return error
