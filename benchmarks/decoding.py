"""What a contract's `jpeg_scaling` saves and what it changes; writes docs/figures/decoding.json.

    python -m benchmarks.decoding

Photographs of our own making (soft shapes with grain), as JPEG of quality 85 in the two sizes that catalogs
carry most, decoded in this process with and without, in turn. Differences are of the canonical pixels, in
steps of 255.
"""

from __future__ import annotations

import io
import json
import time
from statistics import median

import numpy as np
from PIL import Image

from adgauge.canonical.image import DecodeLimits, decode
from adgauge.contract import ImageSpec
from benchmarks.pillow_suite import SPEC
from benchmarks.record import write_figures

SIZES = ((4000, 3000), (1500, 1500))
ROUNDS = 15


def main() -> None:
    """Measure and write."""
    figures = {f"{width}x{height}": _compared(_photo(width, height)) for width, height in SIZES}
    print(json.dumps(figures, indent=2))
    write_figures("decoding", "python -m benchmarks.decoding", figures)


def _photo(width: int, height: int) -> bytes:
    """Edges, gradients and grain: coarse noise enlarged, with fine noise over it."""
    rng = np.random.default_rng(4)
    picture = np.zeros((height, width, 3), dtype=np.float32)
    for cells, strength in ((8, 120.0), (64, 70.0), (400, 40.0)):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) * (strength / 255)
    picture += rng.normal(0, 6, picture.shape)
    file = io.BytesIO()
    Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def _compared(data: bytes) -> dict[str, float]:
    scaling = SPEC.model_copy(update={"jpeg_scaling": True})
    seconds = [(_seconds(data, SPEC), _seconds(data, scaling)) for _ in range(ROUNDS)]
    whole, scaled = (median(each) for each in zip(*seconds, strict=True))
    pixels = [decode(data, spec, DecodeLimits()).astype(np.int16) for spec in (SPEC, scaling)]
    difference = np.abs(pixels[0] - pixels[1])
    return {
        "file_kb": round(len(data) / 1024),
        "whole_ms": round(whole * 1e3, 1),
        "scaled_ms": round(scaled * 1e3, 1),
        "times_faster": round(whole / scaled, 2),
        "mean_difference": round(float(difference.mean()), 3),
        "max_difference": int(difference.max()),
    }


def _seconds(data: bytes, spec: ImageSpec) -> float:
    began = time.process_time()
    decode(data, spec, DecodeLimits())
    return time.process_time() - began


if __name__ == "__main__":
    main()
