"""What a measurement hands to the table, to the figures and to those who hold it to its bounds."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Say = Callable[[str], object]


@dataclass(frozen=True)
class Measured:
    """One measurement as it came out; `problems` are the bounds that were missed, in words."""

    name: str
    title: str
    rows: Mapping[str, str]
    figures: Mapping[str, object]
    problems: Sequence[str]
