import time
from pathlib import Path

import numpy as np
import pytest

from adgauge.canonical.text import CHARS_PER_TOKEN, TextEncoder, canonical_text, clean
from adgauge.errors import ContractMismatch
from adgauge.product import ProductRecord
from adgauge.records import Flag
from tests.contracts import TOKENIZER_FILE, text_spec

CLS, SEP, PAD, UNKNOWN = 2, 3, 0, 1


class TestClean:
    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("  two\t\n words ", "two words"),
            ("non\u00a0breaking\u3000space", "non breaking space"),
            ("fish &amp; chips &lt;3 &#169;&#xA9;&eacute;", "fish & chips <3 ©©é"),
            ("&amp;lt;b&amp;gt;", "&lt;b&gt;"),
            ("e\u0301 &#101;&#769;", "e\u0301 e\u0301"),  # composed once the parts are joined
            ("un<b>bold</b>ed <i>text</i>", "unbolded text"),
            ("one<br>two<br/>three<p>four</p>five", "one two three four five"),
            ("<ul><li>a</li><li>b</li></ul>", "a b"),
            ("a < b, c > d and x<y", "a < b, c > d and x<y"),
            ("I <3 it", "I <3 it"),
            ("cut off <span class=", "cut off <span class="),
            ("x<script>alert('<b>')</script>y<STYLE>p {}</Style >z", "x y z"),
            ("a<script>never closed", "a"),
            ("a<!-- hidden <b> --> b --> c", "a b --> c"),
            ("a<!-- never closed", "a"),
            ("<!DOCTYPE html><?xml version='1'?>a", "a"),
            ("bell\x07 nul\x00 escape\x1b[0m \x85next", "bell nul escape[0m next"),
            (
                "zero\u200bwidth \ufeffbom soft\u00adhyphen \u202eright\u202c",
                "zerowidth bom softhyphen right",
            ),
            ("heart\u2764\ufe0f private\ue000 tag\U000e0041 lone\ud800", "heart\u2764 private tag lone"),
            ("&#0;&#xD800;&#" + "9" * 5000 + ";", "\ufffd\ufffd\ufffd"),
            ("العربية עברית 中文", "العربية עברית 中文"),
        ],
    )
    def test_text_is_what_a_shopper_would_read(self, raw: str, expected: str) -> None:
        assert clean(raw) == expected

    @pytest.mark.parametrize(
        "hostile",
        [
            "x" * 1_000_000,
            "<" * 1_000_000,
            "<a " * 330_000,
            "<!--" * 250_000,
            "<script>" * 125_000,
            "&" * 1_000_000,
            "&#x" * 330_000,
            "&#" + "9" * 1_000_000,
            " \x00" * 500_000,
            "a" + "\u0300\u0316" * 500_000,
            "<b>x</b> " * 110_000,
        ],
    )
    def test_a_million_hostile_characters_take_no_time(self, hostile: str, tmp_path: Path) -> None:
        product = ProductRecord.model_validate({"parent_asin": "B01", "description": hostile})
        spec = text_spec(tmp_path)
        encoder = TextEncoder(spec, tmp_path)
        start = time.perf_counter()

        tokens = encoder.encode([product])[0]

        assert time.perf_counter() - start < 2.0
        assert len(tokens.ids) in spec.ladder


class TestTemplate:
    def test_parts_stand_in_the_contract_s_order_and_empty_ones_are_left_out(self, tmp_path: Path) -> None:
        product = ProductRecord.model_validate(
            {
                "parent_asin": "B01",
                "title": "Red <b>shoe</b>",
                "features": ["light", "<br>", "fast"],
                "details": {"Brand": "Acme", "": "plain"},
                "price": "$12.5",
            }
        )

        text, cut = canonical_text(product, text_spec(tmp_path))

        expected = "Title: Red shoe\nFeatures: light | fast\nBrand: Acme; plain\nPrice: 12.50"
        assert (text, cut) == (expected, False)

    def test_the_whole_is_composed(self, tmp_path: Path) -> None:
        product = ProductRecord(parent_asin="B01", title="Cafe\u0301")

        assert canonical_text(product, text_spec(tmp_path))[0] == "Title: Café"

    def test_a_product_without_text_says_so(self, tmp_path: Path) -> None:
        tokens = TextEncoder(text_spec(tmp_path), tmp_path).encode([ProductRecord(parent_asin="B01")])[0]

        assert tokens.flags == {Flag.NO_TEXT}
        assert tokens.ids.tolist() == [CLS, SEP] + [PAD] * 6
        assert tokens.mask.tolist() == [1, 1] + [0] * 6


class TestTokens:
    @pytest.mark.parametrize(
        ("words", "rung", "flags"),
        [
            (3, 8, set()),  # [CLS] title : … [SEP] are four
            (4, 8, set()),
            (5, 16, set()),
            (60, 64, set()),
            (61, 64, {Flag.TEXT_CUT}),
        ],
    )
    def test_ids_are_padded_to_the_smallest_rung_that_holds_them(
        self, words: int, rung: int, flags: set[Flag], tmp_path: Path
    ) -> None:
        product = ProductRecord(parent_asin="B01", title=" ".join(["red"] * words))

        tokens = TextEncoder(text_spec(tmp_path), tmp_path).encode([product])[0]

        assert (len(tokens.ids), len(tokens.mask), set(tokens.flags)) == (rung, rung, flags)
        assert tokens.ids.dtype == np.int64
        assert tokens.mask.dtype == np.int64
        assert tokens.mask.sum() == min(words + 4, 64)
        assert tokens.ids[tokens.mask.sum() - 1] == SEP

    def test_a_long_description_gives_the_tokens_of_its_beginning(self, tmp_path: Path) -> None:
        encoder = TextEncoder(text_spec(tmp_path), tmp_path)
        short = ProductRecord(parent_asin="B01", description=("red shoe " * 100,))
        long = ProductRecord(parent_asin="B01", description=("red shoe " * 100_000,))

        assert encoder.encode([long])[0].ids.tolist() == encoder.encode([short])[0].ids.tolist()
        assert encoder.encode([long])[0].flags == {Flag.TEXT_CUT}

    def test_words_of_absurd_length_are_cut_by_characters_and_flagged(self, tmp_path: Path) -> None:
        spec = text_spec(tmp_path)
        product = ProductRecord(parent_asin="B01", description=("x" * CHARS_PER_TOKEN * 64 + " red",))

        tokens = TextEncoder(spec, tmp_path).encode([product])[0]

        assert tokens.ids[:3].tolist() == [CLS, UNKNOWN, SEP]
        assert tokens.flags == {Flag.TEXT_CUT}

    def test_a_value_that_is_left_out_is_said_to_be_cut(self, tmp_path: Path) -> None:
        exactly = CHARS_PER_TOKEN * 64
        product = ProductRecord(parent_asin="B01", description=("x" * exactly, "y"))

        assert canonical_text(product, text_spec(tmp_path)) == ("x" * exactly, True)

    def test_text_never_makes_special_tokens(self, tmp_path: Path) -> None:
        product = ProductRecord(parent_asin="B01", description=("red [SEP] [PAD] blue",))

        ids = TextEncoder(text_spec(tmp_path), tmp_path).encode([product])[0].ids.tolist()

        assert ids.count(SEP) == 1
        assert PAD not in ids[: ids.index(SEP)]


class TestInstruction:
    """An instruction of three words; [CLS] and [SEP] are the tokenizer's own."""

    def encoder(self, folder: Path, limit: int = 16, instruction: str = "price the bag") -> TextEncoder:
        spec = text_spec(folder, limit=limit, ladder=(limit,))
        return TextEncoder(spec.model_copy(update={"instruction": instruction}), folder)

    def test_it_stands_before_the_fields(self, tmp_path: Path) -> None:
        spec = text_spec(tmp_path).model_copy(update={"instruction": "Price the bag"})
        product = ProductRecord(parent_asin="B01", title="Red")
        assert canonical_text(product, spec) == ("Price the bag\nTitle: Red", False)

    def test_it_stays_when_the_text_is_cut(self, tmp_path: Path) -> None:
        short = ProductRecord(parent_asin="B01", description=("red",))
        long = ProductRecord(parent_asin="B01", description=("red " * 1000,))
        encoder = self.encoder(tmp_path, limit=8)

        alone, cut = encoder.encode([short, long])

        assert cut.ids[:4].tolist() == alone.ids[:4].tolist()
        assert cut.ids[4:].tolist() == [alone.ids[4]] * 3 + [SEP]
        assert alone.flags == set()
        assert cut.flags == {Flag.TEXT_CUT}

    def test_it_is_no_text_of_the_product(self, tmp_path: Path) -> None:
        bare, blank, named = self.encoder(tmp_path).encode(
            [
                ProductRecord(parent_asin="B01"),
                ProductRecord(parent_asin="B01", title="<br> \u200b"),
                ProductRecord(parent_asin="B01", description=("bag",)),
            ]
        )
        assert bare.flags == blank.flags == {Flag.NO_TEXT}
        assert named.flags == set()

    @pytest.mark.parametrize(
        ("limit", "instruction", "tokens"),
        [(5, "price the bag", 5), (4, "price the bag", 5), (2, "", 2), (4, "x" * 200, 3)],
    )
    def test_a_limit_that_leaves_nothing_for_the_product_is_refused(
        self, limit: int, instruction: str, tokens: int, tmp_path: Path
    ) -> None:
        message = rf"token_limit is {limit}: the instruction of {len(instruction)} .* take {tokens}, which"
        with pytest.raises(ContractMismatch, match=message):
            self.encoder(tmp_path, limit, instruction)


class TestTokenizerFile:
    def test_another_file_than_the_contract_s_is_refused(self, tmp_path: Path) -> None:
        spec = text_spec(tmp_path)
        (tmp_path / TOKENIZER_FILE).write_text("{}")

        with pytest.raises(ContractMismatch, match="sha256"):
            TextEncoder(spec, tmp_path)

    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        spec = text_spec(tmp_path)
        (tmp_path / TOKENIZER_FILE).unlink()

        with pytest.raises(ContractMismatch, match=r"tokenizer\.json: No such file"):
            TextEncoder(spec, tmp_path)

    def test_a_file_that_is_no_tokenizer_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / TOKENIZER_FILE).write_text("{}")
        digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
        spec = text_spec(tmp_path).model_copy(update={"tokenizer_sha256": digest})
        (tmp_path / TOKENIZER_FILE).write_text("{}")

        with pytest.raises(ContractMismatch, match="not a tokenizer"):
            TextEncoder(spec, tmp_path)
