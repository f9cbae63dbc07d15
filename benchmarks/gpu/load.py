"""Requests to a served subject: a fixed number in flight, every answer kept and timed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as grpc
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from adgauge.adapters.triton import plain_triton
from adgauge.errors import BackendUnavailable
from benchmarks.gpu.products import Products
from benchmarks.gpu.subjects import Subject

DEADLINE_S = 120.0
REQUEST_SETS = 8
"""Different requests that are sent in turn, so that no cache answers for the model."""


@dataclass(frozen=True)
class Effort:
    """`repeats` runs of `seconds` each for every batch size with every number of requests in flight."""

    batches: tuple[int, ...]
    in_flight: tuple[int, ...]
    seconds: float
    repeats: int


@dataclass(frozen=True)
class Point:
    """One point of a curve; medians over the repeats. Latencies are a request's, in ms, the wire included."""

    products_per_s: float
    p50_ms: float
    p99_ms: float
    model_ms: float  # of a request in the model's process, by Triton's count: the rest is wire and queue
    requests: int  # of all repeats


@dataclass(frozen=True)
class Answered:
    """Scores beside their references, both [N]."""

    scores: npt.NDArray[np.float64]
    reference: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Request:
    tensors: Sequence[Any]
    reference: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Answer:
    began: float
    ended: float
    answered: Answered


@dataclass(frozen=True)
class _Computed:
    """What Triton has counted since the model was loaded."""

    requests: int
    ns: int

    def ms_each_since(self, earlier: _Computed) -> float:
        return (self.ns - earlier.ns) / (self.requests - earlier.requests) / 1e6


class Load:
    """Sends to one server; close it. Raises BackendUnavailable where a request is refused or late."""

    def __init__(self, url: str, subject: Subject, effort: Effort) -> None:
        self._subject = subject
        self._effort = effort
        self._stack = ExitStack()
        # A connection each: over one, large requests wait for each other.
        self._clients = [
            self._stack.enter_context(closing(plain_triton(url, DEADLINE_S).open()))
            for _ in range(max(effort.in_flight))
        ]

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()

    def server_version(self) -> str:
        """Triton's."""
        return str(self._clients[0].get_server_metadata().version)

    def every_product(self, products: Products, batch: int) -> Answered:
        """Score each product once, in requests of `batch` rows; warms the server up for this shape."""
        starts = range(0, len(products), batch)
        requests = [_request(self._subject, products, start, batch) for start in starts]
        return _joined([self._send(self._clients[0], request) for request in requests])

    def measure(self, products: Products, batch: int, in_flight: int) -> tuple[Point, Answered]:
        """Keep `in_flight` requests of `batch` rows on their way, and repeat."""
        sets = range(0, REQUEST_SETS * batch, batch)
        requests = [_request(self._subject, products, start, batch) for start in sets]
        self._run(requests, in_flight, self._effort.seconds / 4)  # not counted: warms up
        before = self._computed()
        runs = [self._run(requests, in_flight, self._effort.seconds) for _ in range(self._effort.repeats)]
        model_ms = self._computed().ms_each_since(before)
        return _point(runs, batch, model_ms), _joined([answer for run in runs for answer in run])

    def _computed(self) -> _Computed:
        (found,) = self._clients[0].get_inference_statistics(self._subject.name).model_stats
        computed = found.inference_stats.compute_infer
        return _Computed(computed.count, computed.ns)

    def _run(self, requests: Sequence[_Request], in_flight: int, seconds: float) -> list[_Answer]:
        until = time.perf_counter() + seconds
        with ThreadPoolExecutor(in_flight) as pool:
            drivers = [pool.submit(self._drive, number, requests, until) for number in range(in_flight)]
        return [answer for driver in drivers for answer in driver.result()]

    def _drive(self, number: int, requests: Sequence[_Request], until: float) -> list[_Answer]:
        """One request after the other over a connection of our own; at least one."""
        turns: Iterator[_Request] = islice(cycle(requests), number, None)
        answers = [self._send(self._clients[number], next(turns))]
        while time.perf_counter() < until:
            answers.append(self._send(self._clients[number], next(turns)))
        return answers

    def _send(self, client: grpc.InferenceServerClient, request: _Request) -> _Answer:
        output = self._subject.contract.outputs[0].name
        began = time.perf_counter()
        try:
            result = client.infer(self._subject.name, request.tensors, client_timeout=DEADLINE_S)
        except InferenceServerException as exc:
            raise BackendUnavailable("triton", " ".join(str(exc.message()).split())) from exc
        ended = time.perf_counter()
        scores = np.asarray(result.as_numpy(output), np.float64)
        if scores.shape != (len(request.reference), 1):
            raise BackendUnavailable(
                "triton", f"{len(request.reference)} rows were answered with {list(scores.shape)} scores"
            )
        return _Answer(began, ended, Answered(scores[:, 0], request.reference))


def _request(subject: Subject, products: Products, start: int, batch: int) -> _Request:
    """`batch` products from `start` on, around the end."""
    rows = np.arange(start, start + batch) % len(products)
    tensors = []
    for spec in subject.contract.inputs:
        values = products.inputs[spec.name][rows]
        tensor = grpc.InferInput(spec.name, list(values.shape), np_to_triton_dtype(values.dtype))
        tensor.set_data_from_numpy(values)
        tensors.append(tensor)
    return _Request(tensors, products.reference[rows])


def _point(runs: Sequence[Sequence[_Answer]], batch: int, model_ms: float) -> Point:
    latencies = [np.array([answer.ended - answer.began for answer in run]) * 1e3 for run in runs]
    return Point(
        products_per_s=median(len(run) * batch / _seconds(run) for run in runs),
        p50_ms=median(float(np.percentile(each, 50)) for each in latencies),
        p99_ms=median(float(np.percentile(each, 99, method="higher")) for each in latencies),
        model_ms=model_ms,
        requests=sum(map(len, runs)),
    )


def _seconds(run: Sequence[_Answer]) -> float:
    return max(answer.ended for answer in run) - min(answer.began for answer in run)


def _joined(answers: Sequence[_Answer]) -> Answered:
    parts = [answer.answered for answer in answers]
    return Answered(
        np.concatenate([part.scores for part in parts]), np.concatenate([part.reference for part in parts])
    )
