"""Triton's model repository at one replica: what it holds, what is loaded, how that has done."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tritonclient.utils import InferenceServerException

from adgauge.adapters.triton.client import BACKEND, LATE, TritonConnection, contract_digest
from adgauge.errors import AdgaugeError, BackendUnavailable, ConfigurationError

READY = "ready"
NOT_LOADED = "not loaded"

_NO_CONTROL = "explicit model load / unload is not allowed"
_RESTRICTED = "protocol is restricted"
_NOT_READ = "failed to poll from model repository"
# The python backend adds where in its source a model raised.
_TRACE = re.compile(r"\s*\nAt:\n(?:  .*\n?)*")


@dataclass(frozen=True, slots=True)
class IndexedVersion:
    """A line of Triton's repository index. `version` None: of this model nothing was ever loaded.

    `state`: ready, loading, unloading, unavailable or not loaded; `reason`: why, in one line, or empty.
    """

    model: str
    version: int | None
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Batching:
    """What Triton merges: rows at most, row counts it prefers, and µs that a request waits for others."""

    max_rows: int
    preferred_rows: tuple[int, ...]
    delay_us: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one version since it was loaded. Times in ms, None before the first row.

    `queue_ms`: what a request, and so each of its rows, waited on average. `compute_ms_per_row`: time of
    executions, inputs and outputs included, divided by the rows in them.
    """

    rows: int
    executions: int
    failed_requests: int
    queue_ms: float | None
    compute_ms_per_row: float | None


@dataclass(frozen=True, slots=True)
class LoadedVersion:
    """How a ready version is served. `digest` None: its config names no contract for it."""

    digest: str | None
    version_policy: str
    batching: Batching
    instances: tuple[str, ...]
    statistics: Statistics


class ModelRepository:
    """The repository API of one replica; the caller closes it.

    A name behind which several replicas stand must be asked for each (`TritonConnection.replicas`): on a
    shared channel only one of them would load. Calls end within the connection's deadline or the time given.
    Every method raises BackendUnavailable, and ConfigurationError where Triton allows it to nobody or not us.
    """

    def __init__(self, connection: TritonConnection) -> None:
        self.url = connection.url
        self._deadline_s = connection.deadline_s
        self._client = connection.open()

    def index(self) -> list[IndexedVersion]:
        """Every model in the repository and every version that was ever loaded, in order."""
        found = self._ask(lambda: self._client.get_model_repository_index(client_timeout=self._deadline_s))
        return sorted(map(_indexed, found.models), key=lambda each: (each.model, each.version or 0))

    def versions(self, name: str) -> list[IndexedVersion]:
        """The index of one model; raises ConfigurationError when the repository has none of that name."""
        index = self.index()
        of_name = [each for each in index if each.model == name]
        if not of_name:
            models = ", ".join(dict.fromkeys(each.model for each in index)) or "no model"
            raise ConfigurationError(f"Triton at {self.url} has no model {name}; its repository has {models}")
        return of_name

    def load(self, name: str, wait_s: float) -> list[int]:
        """Load what the model's config asks for and return the versions that are ready.

        What is loaded and unchanged stays as it is. Raises ConfigurationError with Triton's reason when a
        version fails; versions that were ready before go on.
        """
        self.versions(name)
        try:
            self._client.load_model(name, client_timeout=wait_s)
        except InferenceServerException as exc:
            raise self._not_loaded(name, wait_s, exc) from exc
        ready = ready_versions(self.versions(name))
        if not ready:
            raise BackendUnavailable(BACKEND, f"{self.url}: {name} was loaded and has no ready version")
        return ready

    def unload(self, name: str, wait_s: float) -> list[int]:
        """Take every version out of service and return those that were; what is in flight is finished."""
        ready = ready_versions(self.versions(name))
        self._ask(lambda: self._client.unload_model(name, client_timeout=wait_s))
        return ready

    def loaded(self, name: str, version: int) -> LoadedVersion:
        """Config and statistics of a version that is ready."""
        of, limit = (name, str(version)), self._deadline_s
        config = self._ask(lambda: self._client.get_model_config(*of, client_timeout=limit)).config
        answer = self._ask(lambda: self._client.get_inference_statistics(*of, client_timeout=limit))
        (statistics,) = answer.model_stats
        return LoadedVersion(
            digest=contract_digest(config, version),
            version_policy=policy_of(config.version_policy),
            batching=Batching(
                max(config.max_batch_size, 1),
                tuple(config.dynamic_batching.preferred_batch_size),
                config.dynamic_batching.max_queue_delay_microseconds,
            ),
            instances=tuple(map(instance_of, config.instance_group)),
            statistics=statistics_of(statistics),
        )

    def close(self) -> None:
        """Cancel what is in flight."""
        self._client.close()

    def _ask(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except InferenceServerException as exc:
            raise self._translated(exc) from exc

    def _translated(self, exc: InferenceServerException) -> AdgaugeError:
        message = one_line(exc.message() or "")
        if _NO_CONTROL in message:
            return ConfigurationError(
                f"Triton at {self.url} may not be told what to load:"
                " start tritonserver with --model-control-mode=explicit"
            )
        if _RESTRICTED in message:
            return ConfigurationError(
                f"Triton at {self.url} restricts its repository API (--grpc-restricted-protocol names"
                " model-repository): ask where it is allowed"
            )
        if exc.status() in {LATE, "StatusCode.UNAVAILABLE"}:
            message = f"it does not answer, is ADGAUGE_TRITON_URL right? {message}"
        return BackendUnavailable(BACKEND, f"{self.url}: {message}")

    def _not_loaded(self, name: str, wait_s: float, exc: InferenceServerException) -> AdgaugeError:
        message = one_line(exc.message() or "")
        if exc.status() == LATE:
            return BackendUnavailable(
                BACKEND,
                f"{self.url}: {name} is not ready after {wait_s:g} s and may still be loading:"
                f" `adgauge models status {name}`, or a longer --timeout",
            )
        if exc.status() not in {"StatusCode.INVALID_ARGUMENT", "StatusCode.INTERNAL"}:
            return self._translated(exc)
        hint = ": its config.pbtxt is missing or wrong, Triton's log says where" * (_NOT_READ in message)
        ready = ", ".join(map(str, ready_versions(self.versions(name)))) or "none"
        return ConfigurationError(f"Triton at {self.url}: {message}{hint} (versions that are ready: {ready})")


def ready_versions(index: Sequence[IndexedVersion]) -> list[int]:
    """The versions that take requests."""
    return [each.version for each in index if each.version is not None and each.state == READY]


def one_line(message: str) -> str:
    """What Triton says without the places in a model's source."""
    return " ".join(_TRACE.sub("", message).split()).rstrip(";")


def _indexed(entry: Any) -> IndexedVersion:
    version = int(entry.version) if entry.version else None
    return IndexedVersion(
        entry.name, version, entry.state.lower() or NOT_LOADED, one_line(entry.reason or "")
    )


def policy_of(policy: Any) -> str:
    """As in config.pbtxt: `latest 1`, `all`, `specific 1 2`."""
    kind = policy.WhichOneof("policy_choice") or "latest"
    if kind == "specific":
        return " ".join([kind, *map(str, policy.specific.versions)])
    return f"latest {policy.latest.num_versions or 1}" if kind == "latest" else str(kind)


def instance_of(group: Any) -> str:
    """`2 x CPU`, or `1 x GPU 0 1`: instances on each of these devices."""
    kind = type(group).Kind.Name(group.kind).removeprefix("KIND_")
    return " ".join([f"{group.count} x {kind}", *map(str, group.gpus)])


def statistics_of(found: Any) -> Statistics:
    """Of a `ModelStatistics` message."""
    requests, queue_ns = found.inference_stats.queue.count, found.inference_stats.queue.ns
    # `inference_stats` counts a merged execution once for each of its requests, `batch_stats` once.
    parts = [(each.compute_input, each.compute_infer, each.compute_output) for each in found.batch_stats]
    compute_ns = sum(part.ns for batch in parts for part in batch)
    rows = found.inference_count
    return Statistics(
        rows=rows,
        executions=found.execution_count,
        failed_requests=found.inference_stats.fail.count,
        queue_ms=queue_ns / requests / 1e6 if requests else None,
        compute_ms_per_row=compute_ns / rows / 1e6 if rows else None,
    )
