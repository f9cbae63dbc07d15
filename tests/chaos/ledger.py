"""What the checker judges by: one JSON line for each record that the broker acknowledged."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["grey", "deleted", "poison", "garbage"]
Picture = Literal["data", "slow", "never", "none"]
"""`slow` arrives after a while, `never` is not sent; `none`: the record names no picture."""
Headers = Sequence[tuple[str, bytes]]

# docs/contracts: what a dead letter adds to the headers that it came with.
ADDED_HEADERS = frozenset(
    {
        "adgauge-reason",
        "adgauge-stage",
        "adgauge-detail",
        "adgauge-origin",
        "adgauge-origin-event-ms",
        "adgauge-version",
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One acknowledged record: version `version` of product `id`, and where it stands.

    `level` is the grey of its picture, None without one. `offset` is -1 where the broker acknowledged and did
    not say where. `digest` is `record_digest` of its bytes, which no two records of a ledger share.
    """

    id: str
    version: int
    kind: Kind
    level: int | None
    event_ms: int
    partition: int
    offset: int
    picture: Picture
    digest: str

    def to_json(self) -> str:
        """One line, without its end."""
        return json.dumps(asdict(self))


def read_ledger(path: Path) -> list[Entry]:
    """All entries; raises ValueError or TypeError for a line that is none."""
    with path.open() as lines:
        return [Entry(**json.loads(line)) for line in lines]


def record_digest(key: bytes | None, value: bytes | None, headers: Headers) -> str:
    """Names a record by its bytes; a dead letter has the digest of the record that it holds."""
    own = [(name.encode(), content) for name, content in headers if name not in ADDED_HEADERS]
    state = hashlib.sha256()
    for part in (key, value, *(part for pair in own for part in pair)):
        state.update(_framed(part))
    return state.hexdigest()[:32]


def _framed(part: bytes | None) -> bytes:
    return b"-" if part is None else b"%d:" % len(part) + part


def by_product(entries: Iterable[Entry]) -> dict[str, list[Entry]]:
    """Entries of each product in the ledger's order."""
    products: dict[str, list[Entry]] = {}
    for entry in entries:
        products.setdefault(entry.id, []).append(entry)
    return products
