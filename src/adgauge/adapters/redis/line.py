"""The line that Redis holds of a product: written by the scorer, read by recommenders, also by hand.

Keys: `ag:<generation>:<id>` holds one line, `ag:live` the generation that recommenders read, and
`ag:gen:<n>` describes generation n, once. The line has at most 80 bytes of ASCII:

    <score> <event_ms> <offset> <scored_at_ms> <flags> <digest>
    4.1873 1763870400123 4711 1763870401456 i 9f86d081884c
    deleted 1763870400123 4712

`score` has four decimals; (`event_ms`, `offset`) is its order; `flags` are letters (`i` no image, `t` no
text, `c` text cut, `e` event time clamped) or `-`; `digest` starts the sha256 of the canonical input.
"""

from __future__ import annotations

from dataclasses import dataclass

from adgauge.records import Flag, Order, Score, Tombstone

LIVE_KEY = "ag:live"
DIGEST_DIGITS = 12

_DELETED = "deleted"
_LETTERS = {Flag.NO_IMAGE: "i", Flag.NO_TEXT: "t", Flag.TEXT_CUT: "c", Flag.EVENT_CLAMPED: "e"}
_FLAGS = {letter: flag for flag, letter in _LETTERS.items()}


@dataclass(frozen=True, slots=True)
class StoredScore:
    """What Redis holds of a score; `digest` is a prefix of the content digest."""

    product_id: str
    value: float
    order: Order
    scored_at_ms: int
    flags: frozenset[Flag]
    digest: str


def encode(entry: Score | Tombstone) -> str:
    """The line that is stored for an entry."""
    order = f"{entry.order.event_ms} {entry.order.offset}"
    if isinstance(entry, Tombstone):
        return f"{_DELETED} {order}"
    flags = "".join(sorted(_LETTERS[flag] for flag in entry.flags)) or "-"
    return f"{entry.value:.4f} {order} {entry.scored_at_ms} {flags} {entry.digest[:DIGEST_DIGITS]}"


def decode(product_id: str, line: str) -> StoredScore | Tombstone:
    """The entry in a stored line; raises ValueError when it is none of ours."""
    try:
        score, event_ms, offset, *rest = line.split(" ")
        order = Order(int(event_ms), int(offset))
        if score == _DELETED and not rest:
            return Tombstone(product_id, order)
        scored_at_ms, letters, digest = rest
        flags = frozenset(_FLAGS[letter] for letter in letters if letter != "-")
        return StoredScore(product_id, float(score), order, int(scored_at_ms), flags, digest)
    except (ValueError, KeyError) as exc:
        raise ValueError(f"not a stored score: {line[:80]!r}") from exc


def score_key(generation: int, product_id: str) -> str:
    """Where the score of a product is."""
    return f"ag:{generation}:{product_id}"
