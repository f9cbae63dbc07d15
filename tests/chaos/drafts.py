"""What is published, in which order: a pure function of the seed, without clocks, offsets and servers."""

import base64
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tests.chaos.ledger import Kind, Picture
from tests.chaos.slow_images import grey_png

Timing = Literal["newer", "equal", "late"]
"""The event time: after all earlier ones of the product, equal to the newest, or before the newest."""

POISON = "poison"
"""A title with this word breaks the model `brightness`."""
_WORDS = ("a", "thing")
_TITLE_BITS = 15  # the model `brightness` reads 16 words at most
_RECENT = 40


@dataclass(frozen=True, slots=True)
class Draft:
    """A version of a product before it has an event time; `salt` is what else is random about it."""

    id: str
    version: int
    kind: Kind
    level: int | None
    picture: Picture
    timing: Timing
    title: str
    salt: int


@dataclass(slots=True)
class _Product:
    id: str
    versions: int = 0
    alive: bool = False
    seen: bool = False  # has an acceptable version, so that another can be late


_Shares = dict[tuple[Kind, Timing], int]
# Of what follows in a product that is alive or deleted. Rejects stay well below what trips a fuse.
_ALIVE: _Shares = {
    ("grey", "newer"): 750,
    ("deleted", "newer"): 80,
    ("grey", "late"): 90,
    ("deleted", "late"): 15,
    ("grey", "equal"): 40,
    ("deleted", "equal"): 5,
    ("poison", "newer"): 5,
    ("garbage", "newer"): 15,
}
_DELETED: _Shares = {
    ("grey", "newer"): 600,
    ("grey", "late"): 300,
    ("grey", "equal"): 40,
    ("deleted", "newer"): 40,
    ("poison", "newer"): 5,
    ("garbage", "newer"): 15,
}
_FIRST: _Shares = {
    ("grey", "newer"): 970,
    ("deleted", "newer"): 10,
    ("poison", "newer"): 5,
    ("garbage", "newer"): 15,
}
_PICTURES: dict[Picture, int] = {"data": 970, "slow": 10, "never": 1, "none": 19}
_QUICK_PICTURES: dict[Picture, int] = {"data": 980, "none": 20}


def drafts(
    *, seed: int, products: int, records: int, distinct_titles: bool, slow_pictures: bool
) -> Iterator[Draft]:
    """`records` versions of `products` products; raises ValueError when there are fewer records."""
    if records < products:
        raise ValueError(f"{records} records are too few for {products} products")
    rng = random.Random(seed)
    known: list[_Product] = []
    pictures = _PICTURES if slow_pictures else _QUICK_PICTURES
    for number in range(records):
        product = _next_product(rng, known, products, records - number)
        title = _title(number) if distinct_titles else "a thing"
        yield _draft(rng, product, pictures, title)


def _next_product(rng: random.Random, known: list[_Product], products: int, left: int) -> _Product:
    """A new one often enough that all occur; else one of those before, a recent one every other time."""
    missing = products - len(known)
    if not known or rng.random() * left < missing:
        known.append(_Product(f"P{len(known):06d}"))
        return known[-1]
    return rng.choice(known[-_RECENT:] if rng.random() < 0.5 else known)


def _draft(rng: random.Random, product: _Product, pictures: dict[Picture, int], title: str) -> Draft:
    shares = _FIRST if not product.seen else _ALIVE if product.alive else _DELETED
    kind, timing = rng.choices(list(shares), list(shares.values()))[0]
    picture = rng.choices(list(pictures), list(pictures.values()))[0]
    level = rng.randrange(1, 256)  # 0 would score like no picture at all
    salt = rng.getrandbits(32)
    product.versions += 1
    if kind in ("grey", "deleted"):
        product.seen = True
        if timing != "late":
            product.alive = kind == "grey"
    if kind != "grey":
        picture = "data" if kind == "poison" else "none"
    return Draft(
        id=product.id,
        version=product.versions,
        kind=kind,
        level=level if picture in ("data", "slow") else None,
        picture=picture,
        timing=timing,
        title=f"{POISON} {title}" if kind == "poison" else title,
        salt=salt,
    )


def _title(number: int) -> str:
    """Tokens of its own for each number: the model's vocabulary has two words, so they spell it in binary."""
    return " ".join(_WORDS[number >> bit & 1] for bit in range(_TITLE_BITS))


def body(draft: Draft, slow_image_url: str | None) -> tuple[bytes, bytes | None]:
    """Key and value of the record."""
    if draft.kind == "garbage":
        return _garbage(draft)
    value = None if draft.kind == "deleted" else _product_json(draft, draft.id, slow_image_url)
    return draft.id.encode(), value


def _product_json(draft: Draft, product_id: str, slow_image_url: str | None) -> bytes:
    images = [] if draft.picture == "none" else [{"variant": "MAIN", "large": _url(draft, slow_image_url)}]
    return json.dumps({"parent_asin": product_id, "title": draft.title, "images": images}).encode()


def _url(draft: Draft, slow_image_url: str | None) -> str:
    if draft.picture == "data" and draft.level is not None:
        return _data_url(draft.level)
    # What it asks for differs from all others, so that nobody answers from memory.
    query = f"?{draft.id}-{draft.version}"
    return f"{slow_image_url}/{draft.picture}/{draft.level or 0}.png{query}"


@lru_cache(maxsize=256)
def _data_url(level: int) -> str:
    return "data:image/png;base64," + base64.b64encode(grey_png(level)).decode()


def _garbage(draft: Draft) -> tuple[bytes, bytes | None]:
    """Never a product: not JSON, not UTF-8, no object, no id, another product's, or a key that is no id."""
    key, noise = draft.id.encode(), random.Random(draft.salt).randbytes(40)
    bodies: list[tuple[bytes, bytes | None]] = [
        (key, b'{"parent_asin": "' + key + b'", broken'),
        (key, b"\xff" + noise),
        (key, b"[1, 2, 3]"),
        (key, b'{"title": "a thing"}'),
        (key, _product_json(draft, f"other-{draft.id}", None)),
        (b"\xff" + noise, None),
        (b"\xff" + noise, _product_json(draft, f"other-{draft.id}", None)),
    ]
    return bodies[draft.salt % len(bodies)]


def extra_headers(draft: Draft) -> list[tuple[str, bytes]]:
    """A name that no other record has, and now and then bytes that mean nothing to anybody."""
    named = [("chaos-version", f"{draft.id}#{draft.version}".encode())]
    noisy = draft.kind == "garbage" or draft.salt % 10 == 0
    return [*named, ("noise", random.Random(draft.salt).randbytes(16))] if noisy else named
