"""Batch scoring of ad catalogs: Kafka in, NVIDIA Triton, Redis out."""

__version__ = "0.1.0"
