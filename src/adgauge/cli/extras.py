"""What only some commands need: serving installs neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adgauge.errors import ConfigurationError


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Around imports; raises ConfigurationError that says how to get what is not installed."""
    try:
        yield
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.partition(".")[0] == "adgauge":
            raise
        raise ConfigurationError(
            f"{exc.name} is not installed: run `pip install 'adgauge[{extra}]'`"
        ) from exc
