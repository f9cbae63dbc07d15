"""A batch of canonical inputs → requests → ratings; poison rows are found and put aside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from adgauge.adapters.triton.client import TritonClient
from adgauge.adapters.triton.requests import Refused, Requests
from adgauge.errors import RecordRejected, RejectReason
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Stage

REQUEST_ROWS = 4
"""Rows in one request at most. Triton's dynamic batcher merges neighbours of one shape in its queue, from
all workers; requests of 32 rows leave it nothing to merge and cost twice as much a row on the wire."""


class TritonScorer:
    """Splits a batch into requests of one rung and at most `max_rows` rows, `in_flight` of them at once.

    A row is rejected only if it is refused again in a batch of its own and `vouch()` then finds that the
    model scores the golden record as it should; it raises BackendUnavailable if not. The scorer closes
    `client`, on which `requests` are sent.
    """

    def __init__(
        self,
        client: TritonClient,
        requests: Requests,
        vouch: Callable[[], None],
        *,
        max_rows: int,
        in_flight: int,
    ) -> None:
        self._client = client
        self._requests = requests
        self._vouch = vouch
        self._max_rows = max_rows
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="triton")

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
            return list(self._requests.send(rows))
        except Refused:
            return self._isolate(rows)

    def _halves(self, rows: Sequence[CanonicalInput]) -> list[float | RecordRejected]:
        half = (len(rows) + 1) // 2
        return [rated for part in (rows[:half], rows[half:]) if part for rated in self._isolate(part)]

    def _isolate(self, rows: Sequence[CanonicalInput]) -> list[float | RecordRejected]:
        """Rate what was refused, in requests of its own: the refusal may have been for a row of another
        request that Triton merged with this one, which then costs one request more. Halved until a poison
        row stands alone.
        """
        try:
            return list(self._requests.send_alone(rows))
        except Refused as refused:
            if len(rows) > 1:
                return self._halves(rows)
            self._vouch()
            return [RecordRejected(RejectReason.MODEL_ERROR, Stage.SCORE, str(refused))]

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
