"""Whatever stands in a file: it is read line by line, and no line stops the reading."""

import io
import json

from hypothesis import given
from hypothesis import strategies as st

from adgauge.adapters.files import UTF8_MARK, CatalogFile, key_and_value
from adgauge.product import ID_BYTES

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("parent_asin"), inner),
)


@given(st.binary() | ANY_JSON.map(lambda value: json.dumps(value).encode()))
def test_any_line_has_a_key_and_stays_as_it_is(line: bytes) -> None:
    key, value = key_and_value(line)

    assert value == line
    assert len(key) <= ID_BYTES


@given(st.dictionaries(st.text(), ANY_JSON), st.from_regex(r"[!-~]{1,40}", fullmatch=True))
def test_a_product_is_keyed_by_its_id_and_deleted_only_by_a_true_mark(
    fields: dict[str, object], product_id: str
) -> None:
    product = fields | {"parent_asin": product_id}
    line = json.dumps(product | {"_deleted": True}).encode()

    assert key_and_value(line) == (product_id.encode(), None)
    kept = json.dumps(product | {"_deleted": 1}).encode()
    assert key_and_value(kept) == (product_id.encode(), kept)


@given(st.binary() | st.binary().map(UTF8_MARK.__add__), st.integers(min_value=1, max_value=50))
def test_the_lines_of_a_file_are_its_bytes_or_cut_at_the_limit(content: bytes, limit: int) -> None:
    with CatalogFile("-", io.BytesIO(content), limit) as catalog:
        lines = dict(catalog)
    expected = content.removeprefix(UTF8_MARK).split(b"\n")

    assert len(lines) + catalog.blank == catalog.line
    for number, line in lines.items():
        assert len(line) <= limit + 1
        assert expected[number - 1].startswith(line)
