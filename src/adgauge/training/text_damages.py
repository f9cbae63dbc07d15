"""What goes wrong with product texts, each kind with how many points it costs before scaling."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random
from string import ascii_lowercase

from adgauge.training.texts import ProductText

TextDamage = Callable[[Random, ProductText], tuple[ProductText, float]]
_WORD = re.compile(r"[^\W\d_]+")
_SHOUTS = (" !!!", " BUY NOW!!!", " L@@K!!!!", " BEST PRICE $$$", " 100% SALE!!")
_MOJIBAKE = ("Ã©", "â€™", "Â", "ï¿½", "\ufffd", "Ð°")
_FILLERS = (
    "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
    "TBD",
    "description goes here",
    "N/A",
    "test test test",
    "no description available",
    "xxx",
    "coming soon",
)


def damage_text(rng: Random, text: ProductText, kind: str) -> tuple[ProductText, float]:
    """The damaged text and its drop; `kind` is a key of TEXT_DAMAGES."""
    return TEXT_DAMAGES[kind](rng, text)


def _map(change: Callable[[str], str], text: ProductText) -> ProductText:
    features = tuple(change(feature) for feature in text.features)
    return replace(text, title=change(text.title), features=features, description=change(text.description))


def _map_words(rng: Random, text: ProductText, share: float, change: Callable[[str], str]) -> ProductText:
    """Change about `share` of the words of title, features and description."""

    def some(found: re.Match[str]) -> str:
        return change(found[0]) if rng.random() < share else found[0]

    return _map(lambda line: _WORD.sub(some, line), text)


def _empty(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    return ProductText("", "", (), ""), 2.0


def _category_only(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    return ProductText(text.main_category, "", (), ""), 1.9


def _title_only(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    return replace(text, features=(), description=""), 1.2


def _cut(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """The description breaks off after `kept` of its characters."""
    kept = rng.choice((0.05, 0.2, 0.5))
    features = text.features[:1] if kept > 0.3 else ()
    description = text.description[: int(len(text.description) * kept)]
    return replace(text, features=features, description=description), 0.9 - kept


def _garbled(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """Letters shuffled within words."""
    share = rng.choice((0.3, 0.5, 0.8, 1.0, 1.0))
    shuffled = _map_words(rng, text, share, lambda word: "".join(rng.sample(word, len(word))))
    return shuffled, 0.6 + 0.9 * share


def _typos(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """Two neighbouring letters swapped."""

    def swap(word: str) -> str:
        at = rng.randrange(max(1, len(word) - 1))
        return word[:at] + word[at : at + 2][::-1] + word[at + 2 :]

    share = rng.choice((0.3, 0.5, 0.8))
    return _map_words(rng, text, share, swap), 0.3 + 0.5 * share


def _mashed(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """Random letters where words were."""
    return _map_words(rng, text, 1.0, lambda word: "".join(rng.choices(ascii_lowercase, k=len(word)))), 1.8


def _shouting(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    loud = _map(lambda line: line and line.upper().replace(".", "!!!") + rng.choice(_SHOUTS), text)
    return loud, 0.7


def _mojibake(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """Characters decoded by the wrong code page."""
    share = rng.uniform(0.06, 0.14)

    def spoil(line: str) -> str:
        return "".join(rng.choice(_MOJIBAKE) if rng.random() < share else char for char in line)

    return _map(spoil, text), 0.4 + 3 * share


def _word_salad(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    def mix(line: str) -> str:
        words = line.split()
        return " ".join(rng.sample(words, len(words)))

    return _map(mix, text), 0.7


def _repeated(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    """The title over and over, as keyword stuffers write."""
    words = text.title.split()[:3] * rng.randint(4, 15)
    return replace(text, features=(), description=" ".join(words)), 1.2


def _filler(rng: Random, text: ProductText) -> tuple[ProductText, float]:
    return replace(text, features=(), description=rng.choice(_FILLERS)), 1.4


TEXT_DAMAGES: Mapping[str, TextDamage] = {
    "empty": _empty,
    "category_only": _category_only,
    "title_only": _title_only,
    "cut": _cut,
    "garbled": _garbled,
    "typos": _typos,
    "mashed": _mashed,
    "shouting": _shouting,
    "mojibake": _mojibake,
    "word_salad": _word_salad,
    "repeated": _repeated,
    "filler": _filler,
}
