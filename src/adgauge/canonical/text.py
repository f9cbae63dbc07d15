"""Product fields → the text a shopper would read → token ids.

Every step takes time linear in the record's size, whatever the record holds.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from adgauge.contract import TextPart, TextSpec
from adgauge.errors import ContractMismatch
from adgauge.product import ProductRecord
from adgauge.records import Flag

CHARS_PER_TOKEN = 8
"""The canonical text is its first CHARS_PER_TOKEN × token_limit characters. Catalog text has 4 to 5
characters a token, so this cuts before the token limit does only where words have absurd lengths."""

_INLINE = frozenset(
    {"a", "b", "big", "em", "font", "i", "mark", "small", "span", "strong", "sub", "sup", "u"}
)
_HIDDEN = frozenset({"script", "style"})
# Each alternative stops at the next "<", so no input makes the search look at a character twice.
_MARKUP = re.compile(r"<!--|-->|<[!?][^<>]*+>|<(?P<close>/?)(?P<name>[a-zA-Z][a-zA-Z0-9]*+)[^<>]*+>")
_LONG_REFERENCE = re.compile(r"&#[xX]?[0-9a-fA-F]{8,}+;?")  # no such character; int() on it takes long
# Not drawn, or drawn as nobody can know: controls but white space, Unicode's Default_Ignorable_Code_Point
# (zero-width, bidi and tag characters, variation selectors), private use, surrogates, noncharacters.
# Listed here because unicodedata's categories depend on the Python version.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0"
    "\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Token ids and mask, int64 [rung], and what is unusual about the text."""

    ids: npt.NDArray[np.int64]
    mask: npt.NDArray[np.int64]
    flags: frozenset[Flag]


def clean(text: str) -> str:
    """What a browser would show of it, NFC, on one line, without invisible characters."""
    if "<" in text:
        text = _strip_markup(text)
    if "&" in text:
        text = html.unescape(_LONG_REFERENCE.sub("\ufffd", text))
    return _visible(text)


def _visible(text: str) -> str:
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    return " ".join(_INVISIBLE.sub("", text).split())


def _strip_markup(text: str) -> str:
    """Tags become a space (inline ones nothing); comments, scripts and styles go with their content.

    A "<" that opens no tag stays: "a < b", "<3".
    """
    kept: list[str] = []
    start = 0
    hidden = ""  # what we are inside of: "--" for a comment, "script" or "style"
    for mark in _MARKUP.finditer(text):
        name = (mark["name"] or "").lower()
        if hidden:
            if _ends(hidden, mark[0], name):
                hidden, start = "", mark.end()
            continue
        if mark[0] == "-->":
            continue
        kept += text[start : mark.start()], "" if name in _INLINE else " "
        start = mark.end()
        hidden = "--" if mark[0] == "<!--" else name if name in _HIDDEN and not mark["close"] else ""
    return "".join(kept) if hidden else "".join(kept) + text[start:]


def _ends(hidden: str, mark: str, name: str) -> bool:
    return mark == "-->" if hidden == "--" else name == hidden and mark.startswith("</")


def _part_values(product: ProductRecord, part: TextPart) -> Iterable[str]:
    match part.field:
        case "details":
            return (f"{key}: {value}" if key else value for key, value in product.details.items())
        case "price":
            return () if product.price is None else (f"{product.price:.2f}",)
        case "features" | "description" | "categories":
            values: tuple[str, ...] = getattr(product, part.field)
            return values
        case _:
            return (getattr(product, part.field),)


def _part_text(product: ProductRecord, part: TextPart, limit: int) -> str:
    """A field's cleaned values joined, more than `limit` characters of them where there are as many."""
    kept: list[str] = []
    length = 0
    for value in _part_values(product, part):
        if cleaned := clean(value):
            kept.append(cleaned)
            length += len(cleaned) + len(part.joiner)
        if length > limit + len(part.joiner):
            break
    return part.prefix + part.joiner.join(kept) if kept else ""


def canonical_text(product: ProductRecord, spec: TextSpec) -> tuple[str, bool]:
    """The text the tokenizer sees, and whether characters were cut off its end: never of the instruction."""
    limit = CHARS_PER_TOKEN * spec.token_limit
    texts = (_part_text(product, part, limit) for part in spec.parts)
    whole = spec.separator.join(text for text in (spec.instruction, *texts) if text)
    # Composed after the cut: NFC takes quadratic time on a long run of combining characters.
    return unicodedata.normalize("NFC", whole[:limit]), len(whole) > limit


class TextEncoder:
    """Turns a product's fields into padded token ids, as the contract says.

    The instruction stands first and text is cut at its end, so it is there whole before whatever remains of
    the product. `text_cut` says that some of the product is not seen; `no_text` that there is no more than
    the instruction. The constructor raises ContractMismatch.
    """

    def __init__(self, spec: TextSpec, model_dir: Path) -> None:
        self._spec = spec
        self._tokenizer = _load_tokenizer(model_dir / spec.tokenizer, spec)

    def encode(self, products: Sequence[ProductRecord]) -> list[Tokens]:
        """Of each product token ids, at most `token_limit`, padded to the smallest rung that holds them."""
        texts = [canonical_text(product, self._spec) for product in products]
        encodings = self._tokenizer.encode_batch([text for text, _ in texts])  # outside Python's lock
        return [self._padded(*each) for each in zip(texts, encodings, strict=True)]

    def _padded(self, canonical: tuple[str, bool], encoding: Encoding) -> Tokens:
        text, cut = canonical
        rung = next(rung for rung in self._spec.ladder if rung >= len(encoding.ids))
        ids = np.full(rung, self._spec.pad_id, dtype=np.int64)
        ids[: len(encoding.ids)] = encoding.ids
        mask = np.zeros(rung, dtype=np.int64)
        mask[: len(encoding.ids)] = 1
        flags = {
            Flag.TEXT_CUT: cut or bool(encoding.overflowing),
            Flag.NO_TEXT: text == self._spec.instruction,
        }
        return Tokens(ids, mask, frozenset(flag for flag, raised in flags.items() if raised))


def _require_room(tokenizer: Tokenizer, spec: TextSpec) -> None:
    """The instruction must leave a token and a character for the product."""
    needed = len(tokenizer.encode(spec.instruction).ids)
    if needed >= spec.token_limit or len(spec.instruction) >= CHARS_PER_TOKEN * spec.token_limit:
        raise ContractMismatch(
            f"spec.text.token_limit is {spec.token_limit}: the instruction of {len(spec.instruction)}"
            f" characters and the tokenizer's own tokens take {needed}, which leaves nothing for the product"
        )


def _load_tokenizer(path: Path, spec: TextSpec) -> Tokenizer:
    """The contract's tokenizer without padding, cut at the token limit; text never makes special tokens."""
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ContractMismatch(f"{path}: {exc.strerror}; assemble or export the model again") from exc
    if (found := sha256(data).hexdigest()) != spec.tokenizer_sha256:
        raise ContractMismatch(f"{path}: sha256 is {found}, the contract says {spec.tokenizer_sha256}")
    try:
        tokenizer = Tokenizer.from_str(data.decode())
    except Exception as exc:  # tokenizers raises plain Exception for a file it cannot read
        raise ContractMismatch(f"{path}: not a tokenizer: {exc}") from exc
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    _require_room(tokenizer, spec)
    tokenizer.enable_truncation(max_length=spec.token_limit)
    return tokenizer
