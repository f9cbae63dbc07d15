"""Which of a product's pictures a model is shown, and how several become one array.

A model has `spec.count` slots. Where the `first` pictures are shown, slot i is picture i in the publisher's
order (MAIN first), and stays empty while that picture is missing: a collage keeps its layout. Where the
`salient` ones are shown, the slots are filled from the front, in the publisher's order, and only those at the
end are empty: which candidates were missing or passed over does not change what the model sees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from adgauge.contract import Cell, ImageSpec
from adgauge.records import ImageResult

Pixels = npt.NDArray[np.uint8]


def select(images: Sequence[ImageResult], spec: ImageSpec) -> Sequence[ImageResult]:
    """What the slots hold: at most `spec.count` of the candidates, in the publisher's order.

    Of `first` the leading ones, present or missing. Of `salient` those that are present and have the largest
    `salience`, of equals the earlier.
    """
    if spec.selection == "first":
        return images[: spec.count]
    there = [image for image in images if isinstance(image, np.ndarray)]
    if len(there) <= spec.count:
        return there
    ranked = sorted(range(len(there)), key=lambda at: -salience(there[at]))  # stable
    return [there[at] for at in sorted(ranked[: spec.count])]


def salience(pixels: Pixels) -> int:
    """How much there is to see: the sum of absolute differences between neighbouring pixels of the luma.

    `pixels` is uint8 [3, H, W]. Luma is (299 R + 587 G + 114 B) / 1000 rounded down (ITU-R BT.601), and all
    arithmetic is on integers, so that every machine selects the same pictures. An even surface has none; a
    placeholder or a plain swatch has little.
    """
    red, green, blue = pixels.astype(np.int32)
    luma = (299 * red + 587 * green + 114 * blue) // 1000
    return int(np.abs(np.diff(luma, axis=0)).sum() + np.abs(np.diff(luma, axis=1)).sum())


def compose(images: Sequence[ImageResult], spec: ImageSpec) -> Pixels:
    """What `select` gave as uint8 of `spec.shape`; an empty slot is black, `present` tells.

    A model of one picture is shown that very array, not a copy.
    """
    shown = [(slot, image) for slot, image in enumerate(images) if isinstance(image, np.ndarray)]
    if shown and spec.count == 1 and not spec.collage:
        return shown[0][1]
    pixels = np.zeros(spec.shape, dtype=np.uint8)
    for slot, image in shown:
        if spec.collage:
            _paste(image, spec.collage[slot], pixels)
        else:
            pixels[slot] = image
    return pixels


def present(images: Sequence[ImageResult], spec: ImageSpec) -> npt.NDArray[np.float32]:
    """float32 [count]: 1 for a slot that `select` filled with a picture, 0 for an empty one."""
    filled = np.zeros(spec.count, dtype=np.float32)
    filled[: len(images)] = [isinstance(image, np.ndarray) for image in images]
    return filled


def _paste(image: Pixels, cell: Cell, pixels: Pixels) -> None:
    small = _shrunk(image, cell.shrink)
    _, height, width = small.shape
    pixels[:, cell.top : cell.top + height, cell.left : cell.left + width] = small


def _shrunk(image: Pixels, by: int) -> Pixels:
    """The mean of each `by` × `by` pixels, halves rounded up; integers, so that it is the same everywhere."""
    if by == 1:
        return image
    parts = [image[:, row::by, column::by] for row in range(by) for column in range(by)]
    total = np.stack(parts).sum(axis=0, dtype=np.uint32)
    mean: Pixels = ((total + by * by // 2) // (by * by)).astype(np.uint8)
    return mean
