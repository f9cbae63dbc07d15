"""Which pictures a model is shown, and how several become one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from adgauge.canonical.pictures import compose, present, salience, select
from adgauge.contract import Cell, ImageSpec
from adgauge.records import ImageMissing, ImageResult
from tests.contracts import image_spec

Pixels = npt.NDArray[np.uint8]
GONE = ImageMissing("not_found", "HTTP 404")
SIDE = 4


def flat(level: int, side: int = SIDE) -> Pixels:
    return np.full((3, side, side), level, np.uint8)


def dotted(level: int) -> Pixels:
    """An even picture with one grey dot in its middle: the brighter, the more there is to see."""
    picture = flat(0)
    picture[:, 1, 1] = level
    return picture


def salient(count: int, candidates: int) -> ImageSpec:
    spec = dict(image_spec(count=count, side=SIDE))
    return ImageSpec.model_validate(spec | {"candidates": candidates, "selection": "salient"})


def collage(*cells: tuple[int, int, int], side: int = SIDE) -> ImageSpec:
    made = tuple(Cell(top=top, left=left, shrink=shrink) for top, left, shrink in cells)
    return ImageSpec.model_validate(dict(image_spec(count=len(cells), side=side)) | {"collage": made})


def levels(images: Sequence[ImageResult]) -> list[int | None]:
    """The brightest pixel of each, None of a missing one."""
    return [int(image.max()) if isinstance(image, np.ndarray) else None for image in images]


class TestSelect:
    def test_the_first_ones_keep_their_slots_present_or_missing(self) -> None:
        spec = image_spec(count=2, side=SIDE)
        assert levels(select([GONE, flat(1)], spec)) == [None, 1]
        assert levels(select([flat(3), GONE], spec)) == [3, None]
        assert levels(select([flat(7)], spec)) == [7]
        assert levels(select([], spec)) == []

    def test_the_salient_ones_come_in_the_publishers_order(self) -> None:
        images = [dotted(9), dotted(50), dotted(1), dotted(60)]
        assert levels(select(images, salient(2, 4))) == [50, 60]
        assert levels(select(images, salient(3, 4))) == [9, 50, 60]
        assert levels(select(images, salient(1, 4))) == [60]

    def test_of_equals_the_earlier_is_shown(self) -> None:
        first, second = dotted(5), dotted(5)
        assert select([flat(0), first, second], salient(1, 3))[0] is first

    def test_an_even_picture_is_better_than_a_missing_one(self) -> None:
        assert levels(select([GONE, flat(200), GONE, dotted(3)], salient(2, 4))) == [200, 3]

    @pytest.mark.parametrize(
        "images",
        [
            [dotted(3)],
            [GONE, dotted(3)],
            [GONE, GONE, dotted(3)],
            [dotted(3), GONE, GONE, GONE],
        ],
    )
    def test_which_candidates_are_missing_does_not_change_what_is_shown(
        self, images: list[ImageResult]
    ) -> None:
        spec = salient(2, 4)
        chosen = select(images, spec)
        assert levels(chosen) == [3]
        assert present(chosen, spec).tolist() == [1.0, 0.0]

    def test_of_nothing_there_is_nothing_to_choose(self) -> None:
        assert select([GONE, GONE, GONE], salient(2, 3)) == []


class TestSalience:
    def test_an_even_surface_has_none(self) -> None:
        assert salience(flat(255)) == 0

    def test_it_is_the_sum_of_steps_of_luma_down_and_right(self) -> None:
        luma = np.array([[0, 10], [30, 100]], np.uint8)
        assert salience(np.stack([luma] * 3)) == 30 + 90 + 10 + 70

    def test_luma_weighs_red_green_and_blue_and_is_rounded_down(self) -> None:
        colours = np.zeros((3, 1, 2), np.uint8)
        colours[:, 0, 1] = 100, 0, 0
        assert salience(colours) == 29  # 29.9
        colours[:, 0, 1] = 0, 100, 0
        assert salience(colours) == 58  # 58.7
        colours[:, 0, 1] = 0, 0, 100
        assert salience(colours) == 11  # 11.4

    def test_no_step_is_too_large_for_its_integers(self) -> None:
        board = np.indices((512, 512)).sum(axis=0) % 2 * 255
        assert salience(np.stack([board.astype(np.uint8)] * 3)) == 2 * 512 * 511 * 255


class TestCompose:
    def test_the_only_picture_is_shown_as_it_is_without_a_copy(self) -> None:
        picture = dotted(4)
        assert compose([picture], image_spec(side=SIDE)) is picture

    @pytest.mark.parametrize("images", [[], [GONE]])
    def test_no_picture_is_black(self, images: list[ImageResult]) -> None:
        made = compose(images, image_spec(side=SIDE))
        assert made.shape == (3, SIDE, SIDE)
        assert made.dtype == np.uint8
        assert not made.any()

    def test_several_pictures_are_stacked_and_a_missing_one_is_black(self) -> None:
        spec = image_spec(count=4, side=SIDE)
        made = compose([flat(1), GONE, flat(3)], spec)
        assert made.shape == spec.shape == (4, 3, SIDE, SIDE)
        assert [np.unique(each).tolist() for each in made] == [[1], [0], [3], [0]]
        assert present([flat(1), GONE, flat(3)], spec).tolist() == [1.0, 0.0, 1.0, 0.0]

    def test_a_collage_has_each_picture_in_its_cell(self) -> None:
        spec = collage((0, 0, 1), (0, 4, 2), (2, 4, 2))
        made = compose([flat(10), flat(20), flat(30)], spec)
        assert spec.shape == (3, 4, 6)
        rows = [[10, 10, 10, 10, 20, 20]] * 2 + [[10, 10, 10, 10, 30, 30]] * 2
        assert made.tolist() == [rows] * 3

    def test_the_cell_of_a_missing_picture_and_gaps_stay_black(self) -> None:
        spec = collage((1, 0, 2), (0, 3, 2))
        made = compose([GONE, flat(20)], spec)
        rows = [[0, 0, 0, 20, 20], [0, 0, 0, 20, 20], [0, 0, 0, 0, 0]]
        assert made.tolist() == [rows] * 3
        assert present([GONE, flat(20)], spec).tolist() == [0.0, 1.0]

    def test_a_collage_of_one_picture_is_a_collage(self) -> None:
        made = compose([flat(8)], collage((2, 0, 4)))
        assert made[0].tolist() == [[0], [0], [8]]

    def test_a_smaller_cell_shows_means_halves_rounded_up(self) -> None:
        picture = np.zeros((3, 4, 4), np.uint8)
        picture[0] = [[0, 1, 255, 255], [0, 1, 255, 255], [1, 1, 2, 0], [0, 0, 0, 3]]
        picture[2] = 255
        made = compose([picture], collage((0, 0, 2)))
        assert made.tolist() == [[[1, 255], [1, 1]], [[0, 0], [0, 0]], [[255, 255], [255, 255]]]

    def test_what_a_picture_is_shrunk_by_may_be_odd(self) -> None:
        picture = np.arange(3 * 36, dtype=np.uint8).reshape(3, 6, 6)
        made = compose([picture], collage((0, 0, 3), side=6))
        assert made.tolist() == [[[base + 7, base + 10], [base + 25, base + 28]] for base in (0, 36, 72)]

    def test_the_pictures_themselves_stay_as_they_are(self) -> None:
        pictures = [dotted(4), dotted(5)]
        compose(pictures, collage((0, 0, 1), (0, 4, 2)))
        assert [picture.tolist() for picture in pictures] == [dotted(4).tolist(), dotted(5).tolist()]
