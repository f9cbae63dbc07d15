"""NVIDIA Triton over gRPC: canonical inputs → ratings. Sends what the contract lists and knows no model."""

from adgauge.adapters.triton.client import Served, TritonClient, TritonConnection, plain_triton
from adgauge.adapters.triton.health import ModelHealth
from adgauge.adapters.triton.requests import Probe, Requests
from adgauge.adapters.triton.scorer import REQUEST_ROWS, TritonScorer

__all__ = [
    "REQUEST_ROWS",
    "ModelHealth",
    "Probe",
    "Requests",
    "Served",
    "TritonClient",
    "TritonConnection",
    "TritonScorer",
    "plain_triton",
]
