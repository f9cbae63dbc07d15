"""Which of a product's pictures a model is shown, and how several become one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adgauge.contract import ImageSpec
from adgauge.records import ImageResult

Pixels = npt.NDArray[np.uint8]


def select(images: Sequence[ImageResult], spec: ImageSpec) -> Sequence[ImageResult]:
    """At most `spec.count` of the candidates, in the publisher's order.

    Of `first` the leading ones, present or not. Of `salient` those with the largest `salience`; of equals
    the earlier, and a picture that is missing only where nothing else is left.
    """
    if spec.selection == "first" or len(images) <= spec.count:
        return images[: spec.count]
    ranked = sorted(range(len(images)), key=lambda at: -_salience(images[at]))  # stable
    return [images[at] for at in sorted(ranked[: spec.count])]


def salience(pixels: Pixels) -> int:
    """How much there is to see: the sum of absolute differences between neighbouring pixels of the luma.

    `pixels` is uint8 [3, H, W]. Luma is (299 R + 587 G + 114 B) / 1000 rounded down (ITU-R BT.601), and all
    arithmetic is on integers, so that every machine selects the same pictures. An even surface has none; a
    placeholder or a plain swatch has little.
    """
    red, green, blue = pixels.astype(np.int32)
    luma = (299 * red + 587 * green + 114 * blue) // 1000
    return int(np.abs(np.diff(luma, axis=0)).sum() + np.abs(np.diff(luma, axis=1)).sum())


def _salience(image: ImageResult) -> int:
    return salience(image) if isinstance(image, np.ndarray) else -1


def compose(images: Sequence[ImageResult], spec: ImageSpec) -> Pixels:
    """uint8 of `spec.shape`; what is not there is black, `has_image` tells."""
    pixels = np.zeros(spec.shape, dtype=np.uint8)
    for slot, image in enumerate(images):
        if not isinstance(image, np.ndarray):
            continue
        if spec.collage:
            cell, small = spec.collage[slot], _shrunk(image, spec.collage[slot].shrink)
            pixels[:, cell.top : cell.top + small.shape[1], cell.left : cell.left + small.shape[2]] = small
        elif spec.count == 1:
            pixels[:] = image
        else:
            pixels[slot] = image
    return pixels


def _shrunk(image: Pixels, by: int) -> Pixels:
    """The mean of each `by` × `by` pixels, halves rounded up; integers, so that it is the same everywhere."""
    if by == 1:
        return image
    channels, height, width = image.shape
    blocks = image.reshape(channels, height // by, by, width // by, by).astype(np.uint32)
    mean: Pixels = ((blocks.sum(axis=(2, 4)) + by * by // 2) // (by * by)).astype(np.uint8)
    return mean
