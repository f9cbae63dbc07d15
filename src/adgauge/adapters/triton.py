"""Triton over gRPC: canonical inputs → ratings. Sends what the contract lists and knows no model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from adgauge.contract import DIGEST_PARAMETER, ModelContract
from adgauge.errors import BackendUnavailable, ContractMismatch, RecordRejected, RejectReason
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics, ScorerFailure, Stage

_BACKEND = "triton"
REQUEST_ROWS = 4
"""Rows in one request at most. Triton's dynamic batcher merges neighbours of one shape in its queue, from
all workers; requests of 32 rows leave it nothing to merge and cost twice as much a row on the wire."""
_MESSAGE_BYTES = 2**31 - 1
# These replace all of tritonclient's own. A replica that was away is seen again after 0.1-1 s, and calls
# spread over the replicas behind a name. Deadlines, not keepalive pings: servers answer pings with GOAWAY.
_CHANNEL = [
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
]
# What a poison row draws: Triton refuses the request, or the model raises and fails all it was merged with.
_REFUSALS = {"StatusCode.INVALID_ARGUMENT", "StatusCode.INTERNAL"}
# Told with several status codes while a model is being loaded or replaced, or when its process has died.
_NOT_LOADED = ("unknown model", "no available versions", "not at ready state", "is not ready", "not healthy")


@dataclass(frozen=True, slots=True)
class Served:
    """What Triton says about the model it serves; `digest` None: its config names no contract."""

    digest: str | None
    max_batch: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A golden input and its score: it tells a dead model from a row that the model cannot bear."""

    canonical: CanonicalInput
    score: float


class _Refused(Exception):
    """The server works and will not score this request."""


class TritonClient:
    """A channel to the replicas at `url` (`host:port`). Calls end within `deadline_s`. Thread-safe."""

    def __init__(self, url: str, contract: ModelContract, deadline_s: float) -> None:
        self._client = triton.InferenceServerClient(url, channel_args=_CHANNEL)
        self._url = url
        self._contract = contract
        self._deadline_s = deadline_s

    def served(self) -> Served:
        """Ask for the model's configuration; raises BackendUnavailable."""
        name, version = self._contract.name, str(self._contract.version)
        try:
            config = self._client.get_model_config(name, version, client_timeout=self._deadline_s).config
        except InferenceServerException as exc:
            raise BackendUnavailable(
                _BACKEND,
                f"no model {name} version {version} at {self._url}: {exc.message()};"
                " is ADGAUGE_TRITON_URL right, and does Triton serve ADGAUGE_MODEL_DIR's model?",
            ) from exc
        digest = (
            config.parameters[DIGEST_PARAMETER].string_value
            if DIGEST_PARAMETER in config.parameters
            else None
        )
        return Served(digest, max(config.max_batch_size, 1))

    def infer(self, rows: Sequence[CanonicalInput]) -> triton.InferResult:
        """Score rows of one rung in one request; raises InferenceServerException."""
        inputs = [
            _tensor(spec.name, [row.arrays[spec.name] for row in rows]) for spec in self._contract.inputs
        ]
        outputs = [triton.InferRequestedOutput(spec.name) for spec in self._contract.outputs]
        return self._client.infer(
            self._contract.name,
            inputs,
            model_version=str(self._contract.version),
            outputs=outputs,
            client_timeout=self._deadline_s,
        )

    def close(self) -> None:
        """Cancel what is in flight. Never raises."""
        with suppress(InferenceServerException):
            self._client.close()


class TritonScorer:
    """Splits a batch into requests of one rung and at most `max_rows` rows, `requests` in flight at most.

    `max_batch` is what Triton merges at most. A row is rejected only if it is refused again in a batch of its
    own and the probe is then scored as it should be.
    """

    def __init__(
        self,
        client: TritonClient,
        contract: ModelContract,
        probe: Probe,
        metrics: Metrics,
        *,
        max_rows: int,
        max_batch: int,
        requests: int,
    ) -> None:
        self._client = client
        self._contract = contract
        self._probe = probe
        self._metrics = metrics
        self._max_rows = max_rows
        self._max_batch = max_batch
        self._pool = ThreadPoolExecutor(requests, thread_name_prefix="triton")
        (self._output,) = (spec for spec in contract.outputs if spec.holds == "score")

    def score(self, inputs: Sequence[CanonicalInput]) -> Sequence[float | RecordRejected]:
        """See `ports.Scorer`."""
        ratings: dict[int, float | RecordRejected] = {}
        chunks = _chunks([each.rung for each in inputs], self._max_rows)
        for chunk, rated in zip(
            chunks,
            self._pool.map(lambda rows: self._rate([inputs[row] for row in rows]), chunks),
            strict=True,
        ):
            ratings |= zip(chunk, rated, strict=True)
        return [ratings[row] for row in range(len(inputs))]

    def _rate(self, rows: Sequence[CanonicalInput]) -> list[float | RecordRejected]:
        try:
            return list(self._request(rows))
        except _Refused:
            if len(rows) > 1:  # a single row is asked again alone, and then the probe
                self._require_health()
            return self._halves(rows)

    def _halves(self, rows: Sequence[CanonicalInput]) -> list[float | RecordRejected]:
        half = (len(rows) + 1) // 2
        return [rated for part in (rows[:half], rows[half:]) if part for rated in self._isolate(part)]

    def _isolate(self, rows: Sequence[CanonicalInput]) -> list[float | RecordRejected]:
        """Rate what was refused, in requests of its own: the refusal may have been for another worker's row
        that Triton merged with ours. Halved until a poison row stands alone.
        """
        try:
            return list(self._request_alone(rows))
        except _Refused as refused:
            if len(rows) > 1:
                return self._halves(rows)
            self._require_health()
            return [RecordRejected(RejectReason.MODEL_ERROR, Stage.SCORE, str(refused))]

    def _request_alone(self, rows: Sequence[CanonicalInput]) -> list[float]:
        """Repeat the rows until they fill a Triton batch: nothing can be merged with them."""
        return self._request([rows[row % len(rows)] for row in range(self._max_batch)])[: len(rows)]

    def _require_health(self) -> None:
        """Before a row is blamed the model must score the probe: else it is us, not the data."""
        try:
            (score,) = self._request_alone([self._probe.canonical])
        except _Refused as refused:
            raise BackendUnavailable(_BACKEND, f"the golden record is refused: {refused}") from refused
        if abs(score - self._probe.score) > self._contract.tolerance:
            raise BackendUnavailable(
                _BACKEND, f"the golden record scores {score:.4f}, not {self._probe.score:.4f}"
            )

    def _request(self, rows: Sequence[CanonicalInput]) -> list[float]:
        self._metrics.request_rows.observe(len(rows))
        with self._metrics.in_flight_requests.track_inprogress():
            try:
                result = self._client.infer(rows)
            except InferenceServerException as exc:
                raise self._translated(exc) from exc
        return self._validated(result, len(rows))

    def _translated(self, exc: InferenceServerException) -> Exception:
        status, message = exc.status(), exc.message() or ""
        if status in _REFUSALS and not any(words in message for words in _NOT_LOADED):
            return self._failed(ScorerFailure.REFUSED, _Refused(message))
        late = status == "StatusCode.DEADLINE_EXCEEDED"
        kind = ScorerFailure.DEADLINE if late else ScorerFailure.UNAVAILABLE
        return self._failed(kind, BackendUnavailable(_BACKEND, message))

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
                _BACKEND, f"output {self._output.name} has shape {shape} for {rows} rows"
            )
            raise self._failed(ScorerFailure.INVALID_OUTPUT, error)
        low, high = self._contract.score_range
        slack = self._contract.tolerance
        if not np.all((scores >= low - slack) & (scores <= high + slack)):  # false for NaN
            raise self._failed(
                ScorerFailure.INVALID_OUTPUT, _Refused(f"score {scores.ravel()[:4]} out of range")
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

    def close(self) -> None:
        """See `ports.Scorer`."""
        self._client.close()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _chunks(rungs: Sequence[int], max_rows: int) -> list[list[int]]:
    """Row numbers of each request: Triton merges only equal shapes, so a request holds one rung."""
    by_rung: dict[int, list[int]] = defaultdict(list)
    for row, rung in enumerate(rungs):
        by_rung[rung].append(row)
    return [
        rows[start : start + max_rows] for rows in by_rung.values() for start in range(0, len(rows), max_rows)
    ]


def _tensor(name: str, rows: Sequence[npt.NDArray[np.generic]]) -> triton.InferInput:
    stacked = np.stack(rows)
    tensor = triton.InferInput(name, list(stacked.shape), np_to_triton_dtype(stacked.dtype))
    tensor.set_data_from_numpy(stacked)
    return tensor
