"""The canonical inputs of a catalog file, with its labels: what a model is shown of each product."""

from __future__ import annotations

import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client import CollectorRegistry

from adgauge.adapters.csv_catalog import open_catalog
from adgauge.adapters.files import Catalog, Unreadable, key_and_value
from adgauge.adapters.settings import ServerSettings
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.cli.score import HOST_PATIENCE_S, image_roots
from adgauge.errors import RecordRejected, RejectReason
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.creatives import Creatives, Gathered
from adgauge.pipeline.redeciding import batched
from adgauge.product import ProductRecord, parse_product
from adgauge.records import CanonicalInput
from adgauge.telemetry.metrics import Metrics
from adgauge.wiring import image_loader

PRODUCTS_AT_ONCE = 32
DELETED = "deleted"


@dataclass
class CatalogInputs:
    """Products in the file's order, each with its `average_rating`, where it has one.

    `left_out` counts the other lines by the reason, `without_image` the products here without a picture.
    """

    inputs: list[CanonicalInput] = field(default_factory=list)
    labels: list[float | None] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    without_image: Counter[str] = field(default_factory=Counter)

    @property
    def labelled(self) -> int:
        """How many have a label."""
        return sum(label is not None for label in self.labels)

    def losses(self) -> str:
        """How many were left out or lack a picture, by the reason, to follow their number; "" where none."""
        kinds = ((self.left_out, "left out"), (self.without_image, "without a picture"))
        return "".join(
            f"; {what}: {', '.join(f'{count} {reason}' for reason, count in counts.most_common())}"
            for counts, what in kinds
            if counts
        )


def read_catalog_inputs(
    path: str,
    canonicalizer: Canonicalizer,
    settings: ServerSettings,
    *,
    image_root: Path | None,
    show: Callable[[str], None],
) -> CatalogInputs:
    """All of a file, in memory, with pictures as `adgauge score` finds them; a line is left out where that
    would reject it. Raises ConfigurationError when the file cannot be read.
    """
    read = CatalogInputs()
    with ExitStack() as stack:
        catalog = stack.enter_context(open_catalog(path, sys.stdin.buffer, settings.max_record_bytes))
        creatives = _creatives(stack, canonicalizer, settings, image_roots(path, image_root, settings))
        products = _products(catalog, settings.max_record_bytes, read.left_out)
        for some in batched(products, PRODUCTS_AT_ONCE):
            _add(some, creatives, read)
            show(f"{path}: {len(read.inputs)} products")
    return read


def _creatives(
    stack: ExitStack, canonicalizer: Canonicalizer, settings: ServerSettings, roots: Sequence[Path]
) -> Creatives:
    metrics, stop = Metrics(CollectorRegistry()), threading.Event()
    images = image_loader(
        canonicalizer.image_spec, settings, metrics, roots=roots, patience_s=HOST_PATIENCE_S
    )
    stack.enter_context(closing(images))
    circuits = Circuits(stop.wait, random.random, time.monotonic, metrics, probes={}, patience=Patience())
    return Creatives(canonicalizer, images, None, circuits, metrics)


def _products(catalog: Catalog, max_bytes: int, left_out: Counter[str]) -> Iterator[ProductRecord]:
    for _, line in catalog:
        if isinstance(line, Unreadable):
            left_out[RejectReason.INVALID] += 1
        elif key_and_value(line)[1] is None:
            left_out[DELETED] += 1
        else:
            try:
                yield parse_product(line, max_bytes)
            except RecordRejected as exc:
                left_out[exc.reason] += 1


def _add(products: list[ProductRecord], creatives: Creatives, read: CatalogInputs) -> None:
    gathered = creatives.gather(creatives.ask(products), None)
    for product, each in zip(products, gathered, strict=True):
        if not isinstance(each, Gathered):
            raise AssertionError("without a deadline every picture is waited for")
        made = creatives.canonicalize(each)
        if isinstance(made, RecordRejected):
            read.left_out[made.reason] += 1
        elif made.canonical is not None:  # nothing is recognized without a cache
            read.inputs.append(made.canonical)
            read.labels.append(product.average_rating)
            if made.image_reason is not None:
                read.without_image[made.image_reason] += 1
