"""Whatever pictures a product has: what a model sees of them is decided by those that are shown."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from adgauge.canonical.canonicalizer import digest
from adgauge.canonical.pictures import compose, present, salience, select
from adgauge.contract import Cell, ImageSpec
from adgauge.records import ImageMissing, ImageResult
from tests.contracts import image_spec

Pixels = npt.NDArray[np.uint8]
SIDE = 4
BYTES = 3 * SIDE * SIDE

PIXELS = st.binary(min_size=BYTES, max_size=BYTES) | st.integers(0, 255).map(
    lambda level: bytes([level]) * BYTES
)
PICTURES = PIXELS.map(lambda data: np.frombuffer(data, np.uint8).reshape(3, SIDE, SIDE))
MISSING = st.sampled_from([ImageMissing("not_found", "HTTP 404"), ImageMissing("timeout", "too slow")])


@st.composite
def specs(draw: st.DrawFn, selection: str | None = None) -> ImageSpec:
    count = draw(st.integers(1, 3))
    chosen = selection or draw(st.sampled_from(["first", "salient"]))
    more = draw(st.integers(0, 3)) if chosen == "salient" else 0
    cells = draw(
        st.sampled_from(
            [(), tuple(Cell(top=0, left=SIDE * at, shrink=at + 1 if at < 2 else 4) for at in range(count))]
        )
    )
    changes = {"candidates": count + more, "selection": chosen, "collage": cells}
    return ImageSpec.model_validate(dict(image_spec(count=count, side=SIDE)) | changes)


def images_of(spec: ImageSpec) -> st.SearchStrategy[list[ImageResult]]:
    return st.lists(PICTURES | MISSING, max_size=spec.candidates)


@st.composite
def cases(draw: st.DrawFn, selection: str | None = None) -> tuple[ImageSpec, list[ImageResult]]:
    spec = draw(specs(selection))
    return spec, draw(images_of(spec))


def places(chosen: Sequence[ImageResult], images: Sequence[ImageResult]) -> list[int]:
    return [next(at for at, image in enumerate(images) if image is each) for each in chosen]


def shown(images: Sequence[ImageResult]) -> list[Pixels]:
    return [image for image in images if isinstance(image, np.ndarray)]


def seen(images: Sequence[ImageResult], spec: ImageSpec) -> str:
    chosen = select(images, spec)
    return digest({"image": compose(chosen, spec), "has_image": present(chosen, spec)})


def distinct(images: Sequence[ImageResult]) -> list[ImageResult]:
    """The same, no two of them one object."""
    return [
        image.copy() if isinstance(image, np.ndarray) else ImageMissing(image.reason, image.detail)
        for image in images
    ]


@given(cases())
def test_what_is_chosen_stands_in_the_publishers_order(case: tuple[ImageSpec, list[ImageResult]]) -> None:
    spec, images = case[0], distinct(case[1])
    chosen = places(select(images, spec), images)

    assert chosen == sorted(set(chosen))
    assert len(chosen) <= spec.count
    assert chosen == places(select(images, spec), images)


@given(cases("salient"))
def test_a_missing_picture_is_never_chosen_and_a_present_one_is_left_only_for_more_salient_ones(
    case: tuple[ImageSpec, list[ImageResult]],
) -> None:
    spec, images = case[0], distinct(case[1])
    chosen = shown(select(images, spec))

    assert len(chosen) == len(select(images, spec)) == min(spec.count, len(shown(images)))
    left = [image for image in shown(images) if not any(image is each for each in chosen)]
    worst = min(map(salience, chosen), default=0)
    assert all(salience(image) <= worst for image in left)


@given(cases("salient"), st.data())
def test_missing_candidates_change_nothing_wherever_they_stand(
    case: tuple[ImageSpec, list[ImageResult]], data: st.DataObject
) -> None:
    spec, images = case
    others = list(shown(images))
    room = spec.candidates - len(others)
    padded: list[ImageResult] = list(others)
    for missing in data.draw(st.lists(MISSING, max_size=room)):
        padded.insert(data.draw(st.integers(0, len(padded))), missing)

    assert seen(padded, spec) == seen(others, spec)


@given(cases())
def test_why_a_picture_is_missing_changes_nothing_and_equal_pixels_are_equal_inputs(
    case: tuple[ImageSpec, list[ImageResult]],
) -> None:
    spec, images = case
    others = [
        image.copy() if isinstance(image, np.ndarray) else ImageMissing("tls", "another reason")
        for image in images
    ]

    assert seen(others, spec) == seen(images, spec)


@given(cases())
def test_nothing_is_drawn_outside_the_slots_that_are_filled(
    case: tuple[ImageSpec, list[ImageResult]],
) -> None:
    spec, images = case
    chosen = select(images, spec)
    made = compose(chosen, spec)
    filled = present(chosen, spec)

    assert made.shape == spec.shape
    assert made.dtype == np.uint8
    assert filled.sum() == len(shown(chosen))
    empty = np.ones(spec.shape, dtype=bool)
    for slot, image in enumerate(chosen):
        if isinstance(image, np.ndarray):
            _erase(slot, spec, empty)
    assert not made[empty].any()


def _erase(slot: int, spec: ImageSpec, empty: npt.NDArray[np.bool_]) -> None:
    if not spec.collage:
        empty[slot if spec.count > 1 else ...] = False
        return
    cell = spec.collage[slot]
    side = SIDE // cell.shrink
    empty[:, cell.top : cell.top + side, cell.left : cell.left + side] = False


@given(PICTURES)
def test_salience_is_the_same_of_a_mirrored_or_turned_picture(picture: Pixels) -> None:
    assert salience(picture) == salience(picture[:, ::-1]) == salience(picture.transpose(0, 2, 1)) >= 0
