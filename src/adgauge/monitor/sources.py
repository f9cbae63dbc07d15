"""Where labels and scores lie: a file, a folder, a pattern, a remote store, or a Kafka topic; as files."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from adgauge.errors import ConfigurationError
from adgauge.monitor.engine import Engine

Form = Literal["jsonl", "csv", "parquet"]
ReadTopic = Callable[[str], Iterator[bytes]]
"""The values of a topic, as far as it goes now."""

TOPIC = "kafka:"
"""Before a topic's name."""
FORMS: Mapping[str, Form] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
_PACKED = (".gz", ".zst")
_SECRET = ("_", ".")
"""How names begin of what writers have not finished: Spark's, Hive's and editors'."""
_STORES = {"s3": "s3", "gs": "gs"}


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a location, and how it is written."""

    path: str
    form: Form

    @property
    def name(self) -> str:
        """Its last part, for people."""
        return self.path.rpartition("/")[2]


def parts_of(engine: Engine, location: str, read_topic: ReadTopic | None = None) -> tuple[Part, ...]:
    """The files of a location, by name. A topic is copied into one below the engine's scratch folder.

    Raises ConfigurationError where there is none, and what `read_topic` raises.
    """
    if location.startswith(TOPIC):
        return (_drained(engine, location.removeprefix(TOPIC), read_topic),)
    names = _remote(engine, location) if "://" in location else _local(location)
    found = [Part(name, form) for name in sorted(names) if (form := _form(name)) is not None]
    if not found:
        raise ConfigurationError(
            f"{location} names no file that ends in {', '.join(FORMS)} (or {' or '.join(_PACKED)} after it)"
        )
    return tuple(found)


def _form(name: str) -> Form | None:
    for ending in _PACKED:
        name = name.removesuffix(ending)
    return FORMS.get(Path(name).suffix.lower())


def _local(location: str) -> list[str]:
    path = Path(location)
    if path.is_file():
        return [location]
    if path.is_dir():
        inside = (each for each in path.rglob("*") if each.is_file())
        return [str(each) for each in inside if not _hidden(each.relative_to(path).parts)]
    # Path.glob takes no absolute pattern.
    found = [name for name in glob.glob(location, recursive=True) if Path(name).is_file()]  # noqa: PTH207
    if not found:
        raise ConfigurationError(f"{location} does not exist: give a file, a folder or a pattern")
    return found


def _hidden(names: tuple[str, ...]) -> bool:
    return any(name.startswith(_SECRET) for name in names)


def _remote(engine: Engine, location: str) -> list[str]:
    protocol, _, inside = location.partition("://")
    filesystem = _filesystem(protocol)
    engine.register(protocol, filesystem)
    try:
        if any(sign in inside for sign in "*?["):
            names = filesystem.glob(location)
        else:
            names = filesystem.find(location)
    except (OSError, ValueError) as exc:
        raise ConfigurationError(f"cannot list {location}: {exc}") from exc
    whole = [name if "://" in name else f"{protocol}://{name.lstrip('/')}" for name in names]
    base = location.rstrip("/")
    return [
        name
        for name in whole
        if name == base or not _hidden(tuple(name.removeprefix(base).strip("/").split("/")))
    ]


def _filesystem(protocol: str) -> Any:
    try:
        import fsspec

        if protocol in _STORES:
            from obstore.fsspec import register

            register(protocol)
        return fsspec.filesystem(protocol)
    except ImportError as exc:
        extra = "objectstore" if protocol in _STORES else "monitor"
        raise ConfigurationError(f"{protocol}:// needs {exc.name}: `pip install 'adgauge[{extra}]'`") from exc
    except ValueError as exc:
        raise ConfigurationError(f"{protocol}:// is nothing that fsspec reads: {exc}") from exc


def _drained(engine: Engine, topic: str, read_topic: ReadTopic | None) -> Part:
    if read_topic is None:
        raise ConfigurationError(f"{TOPIC}{topic} needs a broker: set ADGAUGE_KAFKA_BOOTSTRAP")
    path = engine.scratch / f"{topic}.jsonl"
    with path.open("wb") as file:
        for value in read_topic(topic):
            # In JSON a line's end is white space; as a raw sign inside a string it is none.
            file.write(value.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
    return Part(str(path), "jsonl")
