"""NVIDIA Triton over gRPC: canonical inputs → ratings. Sends what the contract lists and knows no model."""

from adgauge.adapters.triton.client import Served, TritonClient, TritonConnection, plain_triton
from adgauge.adapters.triton.health import ModelHealth
from adgauge.adapters.triton.repository import (
    READY,
    Batching,
    IndexedVersion,
    LoadedVersion,
    ModelRepository,
    Statistics,
    ready_versions,
)
from adgauge.adapters.triton.requests import Probe, Requests
from adgauge.adapters.triton.scorer import REQUEST_ROWS, TritonScorer

__all__ = [
    "READY",
    "REQUEST_ROWS",
    "Batching",
    "IndexedVersion",
    "LoadedVersion",
    "ModelHealth",
    "ModelRepository",
    "Probe",
    "Requests",
    "Served",
    "Statistics",
    "TritonClient",
    "TritonConnection",
    "TritonScorer",
    "plain_triton",
    "ready_versions",
]
