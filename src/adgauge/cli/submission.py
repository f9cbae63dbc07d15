"""The challenge's submission: CSV `item_id,score,params,flops`, each product once, in the input's order."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence

from adgauge.cli.rows import Row
from adgauge.cli.terminal import named, named_lines
from adgauge.contract import Cost, ModelContract
from adgauge.errors import ConfigurationError

HEADER = ("item_id", "score", "params", "flops")


class Submission:
    """Writes rows as text: the score with two decimals, parameters in millions, FLOPs (2·MAC) in GFLOPs."""

    def __init__(self, write: Callable[[str], object], cost: Cost) -> None:
        self._write = write
        self._cost = f"{cost.params / 1e6:.3f}", f"{cost.flops / 1e9:.3f}"
        self._lines: dict[str, int] = {}
        self._repeated: list[str] = []
        write(_line(HEADER))

    def write(self, rows: Sequence[Row]) -> None:
        """Scored rows, in the input's order."""
        for row in rows:
            first = self._lines.setdefault(row.parent_asin, row.line)
            if first != row.line:
                self._repeated.append(f"{row.parent_asin} (lines {first} and {row.line})")
            self._write(_line((row.parent_asin, f"{row.score:.2f}", *self._cost)))

    def require_complete(self, name: str, unscored: Sequence[int]) -> None:
        """Raise ConfigurationError unless every line had a score and an id of its own."""
        wrong = [f"{named_lines(unscored)} without a score"] if unscored else []
        if not self._lines and not unscored:
            wrong.append("the input holds no product")
        if self._repeated:
            wrong.append(f"more than once: {named(self._repeated)}")
        if wrong:
            raise ConfigurationError(
                f"{name} was not written, for an evaluation needs each product once: {'; '.join(wrong)};"
                " mend these lines (--rejects FILE tells what is wrong with them) and score again"
            )


def protocol_warning(contract: ModelContract) -> str | None:
    """What to say of a model that breaks the challenge's rules; None of one that keeps them."""
    broken = ", ".join(contract.protocol.breaches())
    if not broken:
        return None
    return f"{contract.name} breaks the Canonical Inference Protocol ({broken}): it may be refused"


def _line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()
