"""Channels to Triton, and what its errors mean to us."""

from __future__ import annotations

import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from adgauge.contract import ModelContract, digest_parameter
from adgauge.errors import BackendUnavailable, ConfigurationError
from adgauge.records import CanonicalInput

BACKEND = "triton"
LATE = "StatusCode.DEADLINE_EXCEEDED"
_MESSAGE_BYTES = 2**31 - 1
# These replace all of tritonclient's own. A replica that was away is seen again after 0.1-1 s, and calls
# spread over the replicas behind a name. Deadlines, not keepalive pings: servers answer pings with GOAWAY.
_CHANNEL: list[tuple[str, int | str]] = [
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),
    # A new channel is a new connection, and not a share in an old one that may be dead.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True)
class TritonConnection:
    """How to reach the replicas behind `url` (`host:port`); every call ends within `deadline_s`.

    `certified_as`: the name that the certificate must carry, where it is not the host of the URL.
    """

    url: str
    deadline_s: float
    tls: bool
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    certified_as: str | None = None

    def open(self) -> triton.InferenceServerClient:
        """A new channel; raises ConfigurationError when a file cannot be read."""
        name = [("grpc.ssl_target_name_override", self.certified_as)] if self.certified_as else []
        try:
            return triton.InferenceServerClient(
                self.url,
                ssl=self.tls,
                root_certificates=_path(self.ca_file),
                certificate_chain=_path(self.cert_file),
                private_key=_path(self.key_file),
                channel_args=[*_CHANNEL, *name],
            )
        except OSError as exc:
            raise ConfigurationError(f"Triton's TLS files: {exc.strerror}: {exc.filename}") from exc

    def replicas(self) -> list[TritonConnection]:
        """One connection for each address that the name has now; raises BackendUnavailable."""
        host, _, port = self.url.rpartition(":")
        try:
            found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        except OSError as exc:
            raise BackendUnavailable(BACKEND, f"{self.url}: {exc.strerror or exc}") from exc
        addresses = sorted({str(address[0]) for *_, address in found})
        urls = [f"[{each}]:{port}" if ":" in each else f"{each}:{port}" for each in addresses]
        name = (self.certified_as or host) if self.tls else None
        return [replace(self, url=url, certified_as=name) for url in urls]


def plain_triton(url: str, deadline_s: float) -> TritonConnection:
    """Without encryption."""
    return TritonConnection(url, deadline_s, tls=False, ca_file=None, cert_file=None, key_file=None)


@dataclass(frozen=True, slots=True)
class Served:
    """What Triton says about the version it serves; `digest` None: its config names no contract for it."""

    digest: str | None
    max_batch: int


class TritonClient:
    """One channel, for one model. Calls end within the connection's deadline. Thread-safe."""

    def __init__(self, connection: TritonConnection, contract: ModelContract) -> None:
        self._connection = connection
        self._contract = contract
        self._lock = threading.Lock()
        self._late = False
        self._old: triton.InferenceServerClient | None = None
        self._client = connection.open()

    def served(self) -> Served:
        """Ask for the model's configuration; raises BackendUnavailable."""
        name, version = self._contract.name, self._contract.version
        timeout_s = self._connection.deadline_s
        try:
            config = self._client.get_model_config(name, str(version), client_timeout=timeout_s).config
        except InferenceServerException as exc:
            raise BackendUnavailable(
                BACKEND,
                f"no model {name} version {version} at {self._connection.url}: {exc.message()};"
                " is ADGAUGE_TRITON_URL right, and does Triton serve ADGAUGE_MODEL_DIR's model?",
            ) from exc
        return Served(contract_digest(config, version), max(config.max_batch_size, 1))

    def infer(self, rows: Sequence[CanonicalInput]) -> triton.InferResult:
        """Score rows of one rung in one request; raises InferenceServerException."""
        inputs = [
            _tensor(spec.name, [row.arrays[spec.name] for row in rows]) for spec in self._contract.inputs
        ]
        outputs = [triton.InferRequestedOutput(spec.name) for spec in self._contract.outputs]
        try:
            return self._client.infer(
                self._contract.name,
                inputs,
                model_version=str(self._contract.version),
                outputs=outputs,
                client_timeout=self._connection.deadline_s,
            )
        except InferenceServerException as exc:
            self._late = self._late or exc.status() == LATE
            raise

    def renew(self) -> None:
        """A new channel if a call was late on this one: its peer may be gone without a word."""
        with self._lock:
            if not self._late:
                return
            # Calls that wait on the old channel end by their deadline; it is closed the next time.
            oldest, self._old = self._old, self._client
            self._client, self._late = self._connection.open(), False
        _close(oldest)

    def reload(self) -> None:
        """Unload and load the model; raises InferenceServerException, also where control is not allowed."""
        timeout_s = self._connection.deadline_s
        self._client.unload_model(self._contract.name, client_timeout=timeout_s)
        self._client.load_model(self._contract.name, client_timeout=timeout_s)

    def close(self) -> None:
        """Cancel what is in flight. Never raises."""
        _close(self._old)
        _close(self._client)


def contract_digest(config: Any, version: int) -> str | None:
    """Of the contract that a served model's config names for a version, if it names one."""
    parameter = digest_parameter(version)
    return config.parameters[parameter].string_value if parameter in config.parameters else None


def _close(client: triton.InferenceServerClient | None) -> None:
    with suppress(InferenceServerException):
        if client is not None:
            client.close()


def _tensor(name: str, rows: Sequence[npt.NDArray[np.generic]]) -> Any:
    stacked = np.stack(rows)
    tensor = triton.InferInput(name, list(stacked.shape), np_to_triton_dtype(stacked.dtype))
    tensor.set_data_from_numpy(stacked)
    return tensor


def _path(file: Path | None) -> str | None:
    return str(file) if file else None
