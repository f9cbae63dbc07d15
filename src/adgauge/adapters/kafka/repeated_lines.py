"""kafka-python's log lines, each once in a while."""

from __future__ import annotations

import logging
import math

EVERY_S = 10.0
TALKATIVE = ("kafka.cluster", "kafka.consumer.fetcher", "kafka.coordinator.consumer")
"""They say of a topic that is gone ten times a second, or as fast as they can, that it is."""


class Seldom(logging.Filter):
    """Lets the same line through again only after EVERY_S."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        line = record.getMessage()
        due = abs(record.created - self._said.get(line, -math.inf)) >= EVERY_S
        if due:
            self._said = {each: at for each, at in self._said.items() if record.created - at < EVERY_S}
            self._said[line] = record.created
        return due


def say_seldom() -> None:
    """From now on, in this process."""
    for name in TALKATIVE:
        logging.getLogger(name).addFilter(Seldom())
