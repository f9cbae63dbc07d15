"""Product texts by a grammar of our own: no text of anybody else is trained on."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from random import Random
from typing import Any

GRAMMAR = Path(__file__).parent / "recipes" / "product_texts.toml"
_SLOT = re.compile(r"\{(\w+)\}")
_KINDS = ("product", "story")


@dataclass(frozen=True)
class ProductText:
    """The text of one product, in the fields of the item schema."""

    main_category: str
    title: str
    features: tuple[str, ...]
    description: str

    def record(self, product_id: str) -> dict[str, Any]:
        """The product as a publisher would send it, without pictures."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {"parent_asin": product_id, **values}


class Grammar:
    """Expands templates with the words of `product_texts.toml` and of a vocabulary."""

    def __init__(self, vocabulary: Sequence[str], path: Path = GRAMMAR) -> None:
        tables: dict[str, Mapping[str, list[str]]] = tomllib.loads(path.read_text())
        self._kinds = [tables[kind] for kind in _KINDS]
        self._words = tables["words"]
        self._vocabulary = vocabulary

    def product(self, rng: Random) -> ProductText:
        """A random product or story with zero to six features and one to six sentences."""
        kind = rng.choice(self._kinds)
        return ProductText(
            main_category=self._line(rng, kind["main_category"]) if rng.random() < 0.9 else "",
            title=self._line(rng, kind["title"]),
            features=tuple(self._line(rng, kind["feature"]) for _ in range(rng.randint(0, 6))),
            description=" ".join(self._line(rng, kind["sentence"]) for _ in range(rng.randint(1, 6))),
        )

    def _line(self, rng: Random, templates: Sequence[str]) -> str:
        line = self._expand(rng, rng.choice(templates))
        return line[:1].upper() + line[1:]

    def _expand(self, rng: Random, template: str) -> str:
        return _SLOT.sub(lambda slot: self._word(rng, slot[1]), template)

    def _word(self, rng: Random, name: str) -> str:
        if name == "vocab":
            return rng.choice(self._vocabulary)
        if name == "vocab_cap":
            return rng.choice(self._vocabulary).capitalize()
        return self._expand(rng, rng.choice(self._words[name]))


def vocabulary_words(tokens: Mapping[str, int]) -> list[str]:
    """The commoner plain English words of a WordPiece vocabulary, for names that no list of ours holds."""
    words = sorted(tokens, key=tokens.__getitem__)
    return [word for word in words if re.fullmatch("[a-z]{4,9}", word)][:12_000]
