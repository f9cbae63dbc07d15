"""Products whose one picture lies on the picture server, with texts of the sample catalog.

The kind of a product says what has to come of it: a healthy one the score of its grey, any other the score of
black and the flag that says so.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from services.embedded.__main__ import SAMPLE
from tests.brightness import grey_score
from tests.pictures.answers import HOSTILE, SLOW
from tests.pictures.hosts import PictureHosts

Kind = Literal["healthy", "dead", "slow", "hostile"]
Variant = Literal["p", "photo", "fresh", "bare"]

DIRECTLY_HOSTILE = (
    "http://169.254.169.254/latest/meta-data/iam.png",
    "http://[::ffff:10.0.0.1]/picture.png",
    "http://user:password@127.0.0.11/picture.png",
    "file:///etc/passwd",
)
"""Refused without asking anybody."""
WORDY = 20
"""A title so long has a product's worth of text below it."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One version of a product. `host` is where its picture lies; None: no server of ours is asked."""

    id: str
    kind: Kind
    number: int
    grey: int
    host: str | None
    path: str
    url: str
    title: str = ""
    price: float = 9.99

    @property
    def score(self) -> float:
        """What the model has to say: a missing picture is black."""
        return grey_score(self.grey if self.kind == "healthy" else 0)

    @property
    def value(self) -> bytes:
        """The record."""
        texts = _texts()
        text = texts[self.number % len(texts)]
        title = self.title or f"{self.id} {text['title']}"
        images = [{"variant": "MAIN", "large": self.url}]
        product = {**text, "parent_asin": self.id, "title": title, "price": self.price, "images": images}
        return json.dumps(product).encode()


class Catalog:
    """Makes listings of numbers: two of different numbers or series share neither id, URL nor text."""

    def __init__(self, pictures: PictureHosts, series: str, variant: Variant = "p") -> None:
        self._pictures = pictures
        self._series = series
        self._variant = variant

    def healthy(self, number: int, host: str | None = None) -> Listing:
        """A picture that can be had; without `host` hosts take turns."""
        grey = 1 + number % 255  # black would score like no picture at all
        return self._listing(
            "healthy", number, f"/{self._variant}/{grey}/{self._name(number)}.png", host, grey
        )

    def dead(self, number: int, host: str | None = None) -> Listing:
        """404."""
        return self._listing("dead", number, f"/dead/{self._name(number)}", host)

    def slow(self, number: int) -> Listing:
        """Never done, in one way after the other."""
        how = SLOW[number // len(self._pictures.addresses) % len(SLOW)]
        return self._listing("slow", number, f"/slow/{how}/{self._name(number)}", None)

    def hostile(self, number: int, turn: int) -> Listing:
        """One way after the other, those that need no server included."""
        turn %= len(HOSTILE) + len(DIRECTLY_HOSTILE)
        if turn < len(HOSTILE):
            return self._listing("hostile", number, f"/hostile/{HOSTILE[turn]}/{self._name(number)}", None)
        url = DIRECTLY_HOSTILE[turn - len(HOSTILE)]
        return replace(self._listing("hostile", number, "", None), url=url, host=None)

    def mixed(self, count: int, *, dead: float, slow: float, hostile: float) -> list[Listing]:
        """Shares of each kind, spread evenly; the rest is healthy."""
        made: list[Listing] = []
        turns = 0
        for number in range(count):
            if _falls(number, dead, 0.1):
                made.append(self.dead(number))
            elif _falls(number, slow, 0.4):
                made.append(self.slow(number))
            elif _falls(number, hostile, 0.7):
                made.append(self.hostile(number, turns))
                turns += 1
            else:
                made.append(self.healthy(number))
        return made

    def _name(self, number: int) -> str:
        return f"{self._series}-{number}"

    def _listing(self, kind: Kind, number: int, path: str, host: str | None, grey: int = 0) -> Listing:
        addresses = self._pictures.addresses
        host = host or addresses[number % len(addresses)]
        name = f"{self._series.upper()}-{number:06d}"
        return Listing(name, kind, number, grey, host, path, self._pictures.url(host, path))


def priced_anew(listings: Sequence[Listing]) -> list[Listing]:
    """What most updates change: nothing that the model sees."""
    return [replace(each, price=each.price + 1) for each in listings]


def _falls(number: int, share: float, phase: float) -> bool:
    """True for this share of numbers, spread evenly; the phases keep kinds apart."""
    return int((number + 1) * share + phase) > int(number * share + phase)


@cache
def _texts() -> list[dict[str, Any]]:
    """Products of the sample catalog that say something, without pictures."""
    found = []
    for line in SAMPLE.read_text().splitlines():
        try:
            product = json.loads(line)
        except ValueError:
            continue  # the sample holds what goes wrong as well
        if (
            isinstance(product, dict)
            and len(str(product.get("title") or "")) > WORDY
            and product.get("features")
        ):
            found.append(product)
    return found
