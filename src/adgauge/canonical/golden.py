"""Golden records: products with their pictures, the digests and scores they must give.

A scorer serves only a model whose golden records it canonicalizes to these digests and the model scores
as recorded. Pictures are `data:` URLs, so that the check needs nothing but the model's folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.canonical.data_url import data_url_bytes
from adgauge.canonical.image import DecodeLimits, ImageError, decode
from adgauge.contract import ImageSpec
from adgauge.errors import ContractMismatch, RecordRejected
from adgauge.product import ProductRecord, parse_product
from adgauge.records import CanonicalInput, ImageMissing, ImageResult

_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class GoldenRecord:
    """One product, the digest (hex) of its canonical input and the score of the model that was exported."""

    product: ProductRecord
    digest: str
    score: float


def load_golden(path: Path) -> list[GoldenRecord]:
    """The records of a `golden.jsonl`; raises ContractMismatch when there are none or one is broken."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as exc:
        raise ContractMismatch(f"{path}: {exc.strerror}; export the model again") from exc
    if not lines:
        raise ContractMismatch(f"{path} is empty; export the model again")
    return [_record(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]


def golden_line(product: Mapping[str, Any], digest: str, score: float) -> str:
    """One line of `golden.jsonl`, without the newline; `product` in the item schema."""
    return json.dumps({"product": product, "digest": digest, "score": score}, ensure_ascii=False)


def canonicalize_golden(
    canonicalizer: Canonicalizer, records: Sequence[GoldenRecord]
) -> list[CanonicalInput]:
    """The canonical inputs of golden records; raises ContractMismatch when one cannot be made."""
    products = [record.product for record in records]
    spec, limits = canonicalizer.image_spec, DecodeLimits()
    images = [
        [_picture(url, spec, limits) for url in canonicalizer.image_references(product)]
        for product in products
    ]
    inputs: list[CanonicalInput] = []
    for product, made in zip(products, canonicalizer.canonicalize(products, images), strict=True):
        if isinstance(made, RecordRejected):
            raise ContractMismatch(f"golden record {product.parent_asin}: {made}") from made
        inputs.append(made)
    return inputs


def _record(line: bytes, where: str) -> GoldenRecord:
    try:
        fields = json.loads(line)
        product = parse_product(json.dumps(fields["product"]).encode(), _MAX_BYTES)
        return GoldenRecord(product, str(fields["digest"]), float(fields["score"]))
    except (ValueError, TypeError, KeyError, RecordRejected) as exc:
        raise ContractMismatch(f"{where}: {type(exc).__name__}: {exc}; export the model again") from exc


def _picture(url: str, spec: ImageSpec, limits: DecodeLimits) -> ImageResult:
    try:
        return decode(data_url_bytes(url, limits.max_bytes), spec, limits)
    except ImageError as exc:
        return ImageMissing(exc.reason, exc.detail)
