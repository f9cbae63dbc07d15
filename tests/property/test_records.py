"""Whatever a publisher sends gives a product or a named reason, and its text is clean."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adgauge.canonical.text import TextEncoder, clean
from adgauge.errors import RecordRejected
from adgauge.product import ProductRecord, parse_product
from tests.contracts import text_spec

FIELDS = sorted(set(ProductRecord.model_fields) - {"parent_asin"})
PICTURE_KEYS = ("variant", "hi_res", "large", "thumb", "360w", "1920w")
TEXT = st.text(max_size=20) | st.sampled_from(["MAIN", "$1,299.00", "—", "{'a': 'b'}", "['a'", '{"a": [1]}'])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT
VALUE: st.SearchStrategy[Any] = st.recursive(
    SCALAR,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(PICTURE_KEYS) | st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
RECORD = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=8), VALUE, max_size=8)
HTML = st.lists(
    st.sampled_from(
        ["<", ">", "</b>", "<br/>", "<script>", "</script>", "<!--", "-->", "&lt;", "&#0;", "&", " "]
    )
    | st.characters(),
    max_size=40,
).map("".join)


def rejected_at(value: bytes, max_bytes: int) -> str | None:
    """The stage that rejects a value; None for a product."""
    try:
        parse_product(value, max_bytes)
    except RecordRejected as rejected:
        return rejected.stage
    return None


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_a_product_or_a_named_reason(value: bytes) -> None:
    assert rejected_at(value, 100) in (None, "parse")


@given(RECORD)
def test_an_object_with_an_id_is_always_a_product(record: dict[str, Any]) -> None:
    value = json.dumps(record | {"parent_asin": "B01"}).encode()

    product = parse_product(value, len(value))

    assert product.parent_asin == "B01"
    assert product == parse_product(value, len(value))
    product.model_dump_json().encode()  # strict UTF-8: no surrogate is left anywhere


@given(st.binary(max_size=60), st.integers(0, 400), RECORD)
def test_a_damaged_record_never_raises_anything_else(noise: bytes, at: int, record: dict[str, Any]) -> None:
    value = json.dumps(record | {"parent_asin": "B01"}).encode()

    assert rejected_at(value[:at] + noise + value[at:], 10_000) in (None, "parse")


@given(HTML)
def test_clean_text_is_one_line_without_invisible_characters(text: str) -> None:
    cleaned = clean(text)

    assert cleaned == " ".join(cleaned.split())
    assert not {unicodedata.category(character) for character in cleaned} & {"Cc", "Cs", "Co"}
    assert "\u200b" not in cleaned


PLAIN = st.characters(exclude_characters="<&\u115f\u1160\u3164\uffa0", exclude_categories=["C", "Z", "M"])


@given(st.text(PLAIN))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert clean(text) == text


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> TextEncoder:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return TextEncoder(text_spec(folder), folder)


@given(record=RECORD)
def test_any_product_has_tokens_of_a_rung(encoder: TextEncoder, record: dict[str, Any]) -> None:
    product = parse_product(json.dumps(record | {"parent_asin": "B01"}).encode(), 1 << 20)

    (tokens,) = encoder.encode([product])

    length = int(tokens.mask.sum())
    assert len(tokens.ids) == len(tokens.mask) == min(rung for rung in (8, 16, 64) if rung >= length)
    assert tokens.mask.tolist() == [1] * length + [0] * (len(tokens.mask) - length)
    assert (tokens.ids[length:] == 0).all()
