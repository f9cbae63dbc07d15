import json
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from adgauge.errors import RecordRejected, RejectReason
from adgauge.product import ProductRecord, parse_product

MAX_BYTES = 1 << 20


def parse(**fields: Any) -> ProductRecord:
    return parse_product(json.dumps({"parent_asin": "B01", **fields}).encode(), MAX_BYTES)


def urls(product: ProductRecord) -> list[tuple[str, ...]]:
    return [picture.urls for picture in product.pictures]


class TestRejection:
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (b'{"parent_asin": "B\xff"}', RejectReason.NOT_UTF8),
            (b"", RejectReason.NOT_JSON),
            (b'{"parent_asin": "B01"', RejectReason.NOT_JSON),
            (b'{"parent_asin": "B01"} {}', RejectReason.NOT_JSON),
            (b"null", RejectReason.NOT_OBJECT),
            (b'["B01"]', RejectReason.NOT_OBJECT),
            (b"NaN", RejectReason.NOT_OBJECT),
            (b"{}", RejectReason.NO_ID),
            (b'{"parent_asin": null}', RejectReason.NO_ID),
            (b'{"parent_asin": " \\n "}', RejectReason.NO_ID),
            (b'{"parent_asin": 12345}', RejectReason.NO_ID),
            (b'{"parent_asin": ["B01"]}', RejectReason.NO_ID),
            (b'{"parent_asin": "B\\u0000"}', RejectReason.NO_ID),
            (b'{"parent_asin": "B\\ud800"}', RejectReason.NO_ID),
            (b'{"parent_asin": "B\\u202e01"}', RejectReason.NO_ID),
            (b'{"parent_asin": "' + "é".encode() * 129 + b'"}', RejectReason.NO_ID),
            (b'{"parent_asin": "B01", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", RejectReason.INVALID),
            (b'{"parent_asin": "B01", "title": "' + b"x" * MAX_BYTES + b'"}', RejectReason.TOO_LARGE),
        ],
    )
    def test_a_value_that_holds_no_product_is_rejected_with_its_reason(
        self, value: bytes, reason: RejectReason
    ) -> None:
        with pytest.raises(RecordRejected) as caught:
            parse_product(value, MAX_BYTES)

        assert (caught.value.reason, caught.value.stage) == (reason, "parse")
        assert "\n" not in str(caught.value)

    def test_a_byte_order_mark_and_white_space_around_the_id_are_no_harm(self) -> None:
        value = b'\xef\xbb\xbf{"parent_asin": " B01 "}'

        assert parse_product(value, MAX_BYTES).parent_asin == "B01"

    def test_the_last_of_duplicate_keys_counts(self) -> None:
        value = b'{"parent_asin": "B01", "title": "old", "title": "new"}'

        assert parse_product(value, MAX_BYTES).title == "new"


class TestLeniency:
    def test_only_the_id_is_needed(self) -> None:
        product = parse()

        assert product == ProductRecord(parent_asin="B01")
        assert (product.title, product.features, product.details, product.price) == ("", (), {}, None)

    def test_null_in_every_field_is_as_if_it_were_missing(self) -> None:
        nulls = dict.fromkeys(set(ProductRecord.model_fields) - {"parent_asin"})

        assert parse(**nulls) == parse()

    @pytest.mark.parametrize("value", [True, [[[[[["deep"]]]]]], {}, [], "", "  ", [None, True]])
    def test_a_value_that_holds_no_text_is_empty(self, value: Any) -> None:
        product = parse(title=value, store=value, features=value, description=value, categories=value)

        assert product == parse()

    def test_numbers_beyond_any_range_are_no_numbers(self) -> None:
        huge = b"9" * 100_000
        value = (
            b'{"parent_asin": "B01", "title": %b, "price": %b, "rating_number": -%b, "average_rating": NaN}'
        )

        assert parse_product(value % (huge, huge, huge), MAX_BYTES) == parse()

    def test_lone_surrogates_become_replacement_characters(self) -> None:
        value = b'{"parent_asin": "B01", "title": "a\\ud83d", "details": {"k\\udc00": "v\\udc00"}}'
        product = parse_product(value, MAX_BYTES)

        assert product.title == "a\ufffd"
        assert product.details == {"k\ufffd": "v\ufffd"}

    def test_unknown_fields_are_ignored(self) -> None:
        assert parse(author={"name": "A"}, subtitle="S", videos=[], bought_together=None) == parse()


class TestTexts:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("one", ("one",)),
            (["one", None, "", " two "], ("one", "two")),
            ({"a": "one", "b": ["two"]}, ("one", "two")),
            ([["one", "two"], ["three"]], ("one", "two", "three")),
            ("['one', \"it's\"]", ("one", "it's")),
            ('["one", "two"]', ("one", "two")),
            ("[not a list", ("[not a list",)),
            (7, ("7",)),
        ],
    )
    def test_lists_of_texts_are_read_from_every_form(self, value: Any, expected: tuple[str, ...]) -> None:
        product = parse(features=value, description=value, categories=value)

        assert (product.features, product.description, product.categories) == (expected,) * 3

    def test_a_title_may_be_a_number_or_a_list(self) -> None:
        assert parse(title=1984).title == "1984"
        assert parse(title=["War", "Peace"]).title == "War Peace"


class TestDetails:
    @pytest.mark.parametrize(
        "value",
        [
            {"Brand": "Acme", "Sizes": ["S", "M"], "Box": {"Width": 3}},
            '{"Brand": "Acme", "Sizes": ["S", "M"], "Box": {"Width": 3}}',
            "{'Brand': 'Acme', 'Sizes': ['S', 'M'], 'Box': {'Width': 3}}",
        ],
    )
    def test_a_dict_its_json_and_its_repr_mean_the_same(self, value: Any) -> None:
        assert parse(details=value).details == {"Brand": "Acme", "Sizes": "S, M", "Box": "Width: 3"}

    def test_repr_escapes_are_undone(self) -> None:
        written = repr({"Size": "3.54\"W x 6'H", "Note": "tab\t back\\slash \xe9 \u2028 \U0001f600\x07"})

        assert parse(details=written).details["Size"] == "3.54\"W x 6'H"
        assert parse(details=written).details["Note"].startswith("tab\t back\\slash é")

    @pytest.mark.parametrize(
        "value",
        [
            "{'a': __import__('os')}",
            "{'a': 1if 1else 2}",
            r"{'a': '\d'}",
            "{" * 5000,
            "{'a': " + "-" * 50_000 + "1}",
            "{'a': 'unfinished}",
            "{'a': '" + "\\'" * 20_000,
        ],
    )
    def test_what_is_no_literal_is_plain_text(self, value: str) -> None:
        assert parse(details=value).details == {"": value}

    @pytest.mark.parametrize(
        "key",
        [
            "average_rating",
            "averageRating",
            "Customer Reviews",
            "Best Sellers Rank",
            "rating-number",
            "5 Stars",
        ],
    )
    def test_keys_that_speak_of_ratings_never_enter(self, key: str) -> None:
        details = {key: "4.5", "Box": {key: 5, "Width": 3}, "Operating System": "None"}

        assert parse(details=details).details == {"Box": "Width: 3", "Operating System": "None"}

    def test_nor_do_values_that_tell_one(self) -> None:
        assert parse(details={"Shoppers say": "4.5 out of 5 stars"}).details == {}


class TestNumbers:
    @pytest.mark.parametrize(
        ("price", "expected"),
        [
            (12.99, 12.99),
            (12, 12.0),
            ("$12.99", 12.99),
            ("from $3.00", 3.0),
            ("$3.00 - $5.00", 3.0),
            ("$1,299.00", 1299.0),
            ("$12.99, was $15", 12.99),
            ("—", None),
            ("", None),
            ("12,99", None),
            ("1.2.3", None),
            (-1, None),
            (float("nan"), None),
            (float("inf"), None),
            (True, None),
            ([12.99], None),
            ("9" * 30, None),
        ],
    )
    def test_a_price_is_a_finite_amount_or_nothing(self, price: Any, expected: float | None) -> None:
        assert parse(price=price).price == expected

    def test_ratings_are_labels_in_range(self) -> None:
        product = parse(average_rating="4.5", rating_number="1,234")

        assert (product.average_rating, product.rating_number) == (4.5, 1234)
        assert parse(average_rating=0).average_rating is None
        assert parse(average_rating=50).average_rating is None


class TestPictures:
    def test_a_list_of_dicts_puts_main_first_and_the_largest_size_first(self) -> None:
        product = parse(
            images=[
                {"thumb": "t1", "large": "l1", "hi_res": None, "variant": "PT01"},
                {"thumb": "t2", "large": "l2", "hi_res": "h2", "variant": "MAIN"},
                {"thumb": None, "large": None, "hi_res": None, "variant": "PT02"},
            ]
        )

        assert urls(product) == [("h2", "l2", "t2"), ("l1", "t1")]
        assert [picture.variant for picture in product.pictures] == ["MAIN", "PT01"]

    def test_a_dict_of_lists_means_the_same(self) -> None:
        columns = {
            "hi_res": [None, "h2"],
            "large": ["l1", "l2"],
            "thumb": ["t1", "t2", "t3"],
            "variant": ["PT01", "MAIN"],
        }

        assert urls(parse(images=columns)) == [("h2", "l2", "t2"), ("l1", "t1"), ("t3",)]

    def test_prime_video_widths_are_sizes(self) -> None:
        product = parse(images=[{"360w": "a", "1920w": "c", "720w": "b", "variant": "MAIN"}])

        assert urls(product) == [("c", "b", "a")]

    @pytest.mark.parametrize(
        "images",
        [
            ["https://x/1.jpg"],
            "https://x/1.jpg",
            {"large": "https://x/1.jpg"},
            '[{"large": "https://x/1.jpg"}]',
            "[{'large': 'https://x/1.jpg', 'thumb': None}]",
            [{"large": "https://x/1.jpg"}, {"large": "https://x/1.jpg"}, 3, None, {}, "null", ""],
        ],
    )
    def test_other_forms_are_understood_and_equal_pictures_counted_once(self, images: Any) -> None:
        assert urls(parse(images=images)) == [("https://x/1.jpg",)]

    def test_the_flattened_image_counts_where_images_names_none(self) -> None:
        assert urls(parse(image="a.jpg")) == [("a.jpg",)]
        assert urls(parse(image="a.jpg", images=[])) == [("a.jpg",)]
        assert urls(parse(image="a.jpg", images=["b.jpg"])) == [("b.jpg",)]


@pytest.mark.parametrize(
    "fields",
    [
        {"images": [{"large": f"u{number}"} for number in range(50_000)]},
        {"images": {"large": ["u"] * 90_000} | {f"{width}w": ["u"] for width in range(1000)}},
        {"features": ["<b>"] * 100_000},
        {"details": {f"k{number}": "v" for number in range(50_000)}},
        {"details": "{'" + "\\'" * 30_000},
        {"price": "1," * 400_000},
        {"details": {"aA" * 400_000: "out of " * 10_000}},
    ],
)
def test_a_megabyte_of_anything_is_parsed_in_a_moment(fields: dict[str, Any]) -> None:
    start = time.perf_counter()
    parse(**fields)

    assert time.perf_counter() - start < 2.0


def test_the_published_schema_accepts_every_documented_form() -> None:
    schema = json.loads((Path(__file__).parents[2] / "docs/contracts/product.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    forms: list[dict[str, Any]] = [
        {"parent_asin": "B01"},
        {"parent_asin": "B01", **dict.fromkeys(set(schema["properties"]) - {"parent_asin"})},
        {"parent_asin": "B01", "images": {"hi_res": [None], "large": ["u"]}, "details": "{'a': ['b']}"},
        {"parent_asin": "B01", "images": [{"360w": "u", "variant": "MAIN"}, "u"], "details": {"a": ["b"]}},
        {"parent_asin": "B01", "price": "—", "features": ["a"], "description": "b", "author": {"name": "A"}},
    ]

    assert [error.message for form in forms for error in validator.iter_errors(form)] == []
    assert not validator.is_valid({"title": "no id"})
    assert not validator.is_valid({"parent_asin": 5})
