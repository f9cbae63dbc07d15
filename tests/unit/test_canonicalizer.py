import json
import math
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pytest

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.contract import ImageSpec, TensorSpec
from adgauge.errors import ContractMismatch, RecordRejected, RejectReason
from adgauge.product import ProductRecord, parse_product
from adgauge.records import CanonicalInput, Flag, ImageMissing, ImageResult
from tests.contracts import Holds, contract, image_spec

DEAD = ImageMissing("not_found", "HTTP 404")
HOLDS: tuple[Holds, ...] = ("image", "has_image", "token_ids", "token_mask")


def product(**fields: Any) -> ProductRecord:
    return parse_product(json.dumps({"parent_asin": "B01", "title": "Red shoe", **fields}).encode(), 1 << 20)


def picture(value: int, side: int = 32) -> npt.NDArray[np.uint8]:
    return np.full((3, side, side), value, dtype=np.uint8)


def made(canonicalizer: Canonicalizer, item: ProductRecord, images: list[ImageResult]) -> CanonicalInput:
    (only,) = canonicalizer.canonicalize([item], [images])
    assert isinstance(only, CanonicalInput)
    return only


class TestArrays:
    def test_one_picture_and_text_are_named_and_ordered_as_the_contract_lists_them(
        self, tmp_path: Path
    ) -> None:
        found = made(Canonicalizer(contract(tmp_path), tmp_path), product(), [picture(7)])

        assert list(found.arrays) == ["image", "has_image", "token_ids", "token_mask"]
        assert np.array_equal(found.arrays["image"], picture(7))
        assert found.arrays["has_image"].tolist() == [1.0]
        assert (found.rung, found.flags) == (8, frozenset())
        assert found.arrays["token_ids"].shape == found.arrays["token_mask"].shape == (8,)

    def test_three_pictures_a_category_and_numbers(self, tmp_path: Path) -> None:
        spec = contract(
            tmp_path,
            image=image_spec(count=3),
            categories=("Books", "All Beauty"),
            numeric=("log1p_price", "image_count", "feature_count"),
            holds=("image", "has_image", "token_ids", "token_mask", "category_id", "numeric"),
        )
        item = product(
            main_category="All  Beauty",
            price="$9.00",
            features=["a", "b"],
            images=["1.jpg", "2.jpg", "3.jpg", "4.jpg"],
        )
        canonicalizer = Canonicalizer(spec, tmp_path)

        found = made(canonicalizer, item, [picture(1), DEAD, picture(3)])

        assert canonicalizer.image_references(item) == ("1.jpg", "2.jpg", "3.jpg")
        assert found.arrays["image"].shape == (3, 3, 32, 32)
        assert found.arrays["image"][:, 0, 0, 0].tolist() == [1, 0, 3]
        assert found.arrays["has_image"].tolist() == [1.0, 0.0, 1.0]
        assert found.arrays["category_id"].tolist() == [2]
        assert found.arrays["numeric"].tolist() == pytest.approx([math.log(10), 4, 2])
        assert {name: array.dtype.name for name, array in found.arrays.items()} == {
            "image": "uint8",
            "has_image": "float32",
            "token_ids": "int64",
            "token_mask": "int64",
            "category_id": "int64",
            "numeric": "float32",
        }
        assert Flag.NO_IMAGE not in found.flags

    def test_an_unknown_category_is_zero_and_an_unknown_price_counts_nothing(self, tmp_path: Path) -> None:
        spec = contract(
            tmp_path,
            categories=("Books",),
            numeric=("log1p_price",),
            holds=("image", "has_image", "token_ids", "token_mask", "category_id", "numeric"),
        )

        found = made(Canonicalizer(spec, tmp_path), product(main_category="Toys"), [picture(1)])

        assert found.arrays["category_id"].tolist() == [0]
        assert found.arrays["numeric"].tolist() == [0.0]

    @pytest.mark.parametrize("images", [[], [DEAD]])
    def test_without_a_picture_pixels_are_black_and_flagged(
        self, images: list[ImageResult], tmp_path: Path
    ) -> None:
        found = made(Canonicalizer(contract(tmp_path), tmp_path), product(), images)

        assert not found.arrays["image"].any()
        assert found.arrays["has_image"].tolist() == [0.0]
        assert found.flags == {Flag.NO_IMAGE}

    def test_where_the_contract_requires_a_picture_only_that_product_is_rejected(
        self, tmp_path: Path
    ) -> None:
        canonicalizer = Canonicalizer(contract(tmp_path, image=image_spec(required=True)), tmp_path)

        kept, rejected, unnamed = canonicalizer.canonicalize([product()] * 3, [[picture(1)], [DEAD], []])

        assert isinstance(kept, CanonicalInput)
        assert isinstance(rejected, RecordRejected)
        assert (rejected.reason, rejected.stage) == (RejectReason.NO_IMAGE, "canonicalize")
        assert rejected.detail == "not_found: HTTP 404"
        assert isinstance(unnamed, RecordRejected)
        assert unnamed.detail == "the record names no picture"

    def test_a_category_that_is_not_listed_is_looked_for_in_the_shops_tree(self, tmp_path: Path) -> None:
        listed = ("Home & Kitchen", "Electronics")
        spec = contract(tmp_path, categories=listed, holds=("image", "has_image", "token_ids", "category_id"))
        canonicalizer = Canonicalizer(spec, tmp_path)

        def category(main: str | None, *tree: str) -> list[int]:
            item = product(main_category=main, categories=tree)
            found: list[int] = made(canonicalizer, item, []).arrays["category_id"].tolist()
            return found

        assert category("ELECTRONICS", "Home & Kitchen") == [2]
        assert category("Home &amp; Kitchen") == category("home_and_kitchen") == [1]
        assert category("Amazon Home", "Home & Kitchen", "Electronics") == [1]
        assert category(None, "Electronics") == [2]
        assert category("Amazon Home", "Wall Art", "Electronics") == [0]
        assert category("") == [0]

    def test_numbers_are_those_of_the_listing_whatever_is_shown(self, tmp_path: Path) -> None:
        spec = contract(
            tmp_path, numeric=("image_count",), holds=("image", "has_image", "token_ids", "numeric")
        )
        canonicalizer = Canonicalizer(spec, tmp_path)
        item = product(images=["1.jpg", "2.jpg", "3.jpg"])

        assert made(canonicalizer, item, [picture(1)]).arrays["numeric"].tolist() == [3.0]
        assert made(canonicalizer, item, [DEAD]).arrays["numeric"].tolist() == [3.0]


class TestChoosing:
    """Two of four pictures are shown."""

    CHOSEN: ClassVar = {"candidates": 4, "selection": "salient"}

    def spec(self, required: bool = False) -> ImageSpec:
        return ImageSpec.model_validate(dict(image_spec(count=2, required=required)) | self.CHOSEN)

    def test_four_are_asked_for_and_two_are_shown_from_the_front(self, tmp_path: Path) -> None:
        canonicalizer = Canonicalizer(contract(tmp_path, image=self.spec(), holds=HOLDS), tmp_path)
        item = product(images=[f"{number}.jpg" for number in range(6)])
        assert canonicalizer.image_references(item) == ("0.jpg", "1.jpg", "2.jpg", "3.jpg")

        found = made(canonicalizer, item, [DEAD, DEAD, picture(3), DEAD])

        assert found.arrays["has_image"].tolist() == [1.0, 0.0]
        assert found.arrays["image"][:, 0, 0, 0].tolist() == [3, 0]
        assert found.flags == frozenset()

    def test_only_without_any_of_them_the_product_is_flagged(self, tmp_path: Path) -> None:
        canonicalizer = Canonicalizer(contract(tmp_path, image=self.spec(), holds=HOLDS), tmp_path)
        found = made(canonicalizer, product(), [DEAD] * 4)
        assert found.arrays["has_image"].tolist() == [0.0, 0.0]
        assert found.flags == {Flag.NO_IMAGE}
        assert found.digest == made(canonicalizer, product(), []).digest

    def test_where_a_picture_is_required_any_of_them_will_do(self, tmp_path: Path) -> None:
        canonicalizer = Canonicalizer(
            contract(tmp_path, image=self.spec(required=True), holds=HOLDS), tmp_path
        )
        kept, rejected = canonicalizer.canonicalize(
            [product()] * 2, [[DEAD, DEAD, DEAD, picture(1)], [DEAD] * 4]
        )
        assert isinstance(kept, CanonicalInput)
        assert isinstance(rejected, RecordRejected)
        assert rejected.reason == RejectReason.NO_IMAGE


class TestDigest:
    def test_equal_content_has_an_equal_digest_and_ratings_move_none(self, tmp_path: Path) -> None:
        canonicalizer = Canonicalizer(contract(tmp_path), tmp_path)
        plain = made(canonicalizer, product(), [picture(7)])
        rated = product(
            average_rating=1.5,
            rating_number=3,
            details={"average_rating": 1.5, "Customer Reviews": {"stars": 4}},
        )

        assert made(canonicalizer, rated, [picture(7)]).digest == plain.digest
        assert made(canonicalizer, product(parent_asin="B02"), [picture(7)]).digest == plain.digest

    def test_any_other_content_has_another(self, tmp_path: Path) -> None:
        canonicalizer = Canonicalizer(contract(tmp_path), tmp_path)
        variants: list[tuple[ProductRecord, list[ImageResult]]] = [
            (product(), [picture(7)]),
            (product(), [picture(8)]),
            (product(), [picture(0)]),
            (product(), []),
            (product(title="Blue shoe"), [picture(7)]),
            (product(price=1), [picture(7)]),
        ]

        digests = {made(canonicalizer, item, images).digest for item, images in variants}

        assert len(digests) == len(variants)

    def test_one_record_has_this_very_digest_on_every_machine(self, tmp_path: Path) -> None:
        spec = contract(tmp_path)
        ramp = np.arange(3 * 32 * 32, dtype=np.uint32).astype(np.uint8).reshape(3, 32, 32)

        found = made(Canonicalizer(spec, tmp_path), product(features=["the bag"], price=3), [ramp])

        assert found.digest == "baf468c87590755f91193a22f3b1975dd350dd0ea0205ec504ce991474ddc9bc"


class TestContract:
    @pytest.mark.parametrize(
        ("names", "message"),
        [
            (("Books", "Movies & TV", "movies_and_tv"), "'movies_and_tv' is the same as 'Movies & TV'"),
            (("Books", " "), "' ' is empty"),
        ],
    )
    def test_two_categories_that_are_one_are_refused(
        self, names: tuple[str, ...], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ContractMismatch, match=f"spec.categories: {message}"):
            Canonicalizer(contract(tmp_path, categories=names), tmp_path)

    @pytest.mark.parametrize(
        "wrong",
        [
            TensorSpec(name="image", dtype="float32", shape=(3, 32, 32), holds="image"),
            TensorSpec(name="image", dtype="uint8", shape=(32, 32, 3), holds="image"),
            TensorSpec(name="has_image", dtype="float32", shape=(3,), holds="has_image"),
            TensorSpec(name="token_ids", dtype="int64", shape=(64,), holds="token_ids"),
            TensorSpec(name="score", dtype="float32", shape=(1,), holds="score"),
        ],
    )
    def test_inputs_that_the_spec_does_not_make_are_refused(self, wrong: TensorSpec, tmp_path: Path) -> None:
        with pytest.raises(ContractMismatch, match=f"input {wrong.name}"):
            Canonicalizer(contract(tmp_path, inputs=(wrong,)), tmp_path)
