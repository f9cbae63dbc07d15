"""`adgauge check`: one line for each thing a scorer needs, and what to do where it is not as it should be."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from prometheus_client import CollectorRegistry

from adgauge.adapters.admission import admit
from adgauge.adapters.kafka_admin import HEADROOM_BYTES, KafkaAdmin, TopicState
from adgauge.adapters.redis import ScoreReader, connect, persistence, require_writable
from adgauge.adapters.settings import ServerSettings, load_settings, refuse_misspelt
from adgauge.contract import load_contract, require_files
from adgauge.errors import AdgaugeError, ConfigurationError
from adgauge.telemetry.metrics import Metrics

READ, WRITE = "READ", "WRITE"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `detail` says what is so, or what to do.

    `unwise`: it works, and may lose data or time on a bad day.
    """

    what: str
    ok: bool
    detail: str
    unwise: bool = False

    @property
    def mark(self) -> str:
        """Its state in one word."""
        return "FAIL" if not self.ok else "warn" if self.unwise else "ok"


def check_everything(*, as_json: bool) -> int:
    """Print every finding; 1 when one is bad. What is merely unwise is no failure."""
    findings = list(_findings())
    if as_json:
        print(json.dumps([asdict(finding) for finding in findings], ensure_ascii=False))
    else:
        for finding in findings:
            print(f"{finding.mark:4} {finding.what} — {finding.detail}")
    return 0 if all(finding.ok for finding in findings) else 1


def _findings() -> Iterator[Finding]:
    try:
        refuse_misspelt(ServerSettings)
        settings = load_settings(ServerSettings)
    except AdgaugeError as error:
        yield Finding("settings", ok=False, detail=str(error))
        return
    yield Finding("settings", ok=True, detail="every variable can be read")
    yield from _kafka(settings)
    redis = _found("redis", lambda: _redis(settings))
    yield redis
    if redis.ok:
        yield _found("redis durability", lambda: _durability(settings))
    model = _found("model", lambda: _model(settings))
    yield model
    if model.ok:
        yield _found("triton", lambda: _triton(settings))
    for root in settings.image_roots:
        yield _found(f"image root {root}", partial(readable, root))


def _found(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, ok=True, detail=look())
    except AdgaugeError as error:
        return Finding(what, ok=False, detail=" ".join(str(error).split()))


def _kafka(settings: ServerSettings) -> Iterator[Finding]:
    needed = {
        settings.products_topic: READ,
        settings.scores_topic: WRITE,
        settings.dead_letters_topic: WRITE,
    }
    try:
        with KafkaAdmin(settings.kafka()) as admin:
            topics = admin.topics(list(needed))
            yield Finding("kafka", ok=True, detail=f"{settings.kafka_bootstrap} answers")
            for name, right in needed.items():
                yield _found(f"topic {name}", partial(topic_usable, name, topics.get(name), right))
            yield _found(f"group {settings.group}", lambda: _group(admin, settings, topics))
            configs = {name: admin.configs(name) for name in topics}
            for what, detail in unwise_topics(settings, topics, configs):
                yield Finding(f"topic {what}", ok=True, detail=detail, unwise=True)
    except AdgaugeError as error:
        yield Finding("kafka", ok=False, detail=str(error))


def topic_usable(name: str, state: TopicState | None, right: str) -> str:
    """What can be said of a topic; raises ConfigurationError when it is missing or `right` is."""
    if state is None:
        raise ConfigurationError("it does not exist or may not be seen: `adgauge topics create`, or a right")
    if state.rights is not None and right not in state.rights:
        raise ConfigurationError(f"we may not {right.lower()} it: allow {right} on topic {name}")
    said = "" if state.rights is not None else " (the broker does not say what we may do)"
    return f"{state.partitions} partitions, {'readable' if right == READ else 'writable'}{said}"


def unwise_topics(
    settings: ServerSettings, topics: Mapping[str, TopicState], configs: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str]]:
    """Topics with what may lose data or time; what the brokers do not say is not judged."""
    for name, state in topics.items():
        if state.replicas == 1:
            yield name, "one replica: a broker that is lost takes its records along; production has three"
        elif configs[name].get("min.insync.replicas") == "1":
            yield name, "min.insync.replicas is 1: a write counts with one replica; 2 survives a broker"
    products, scores, letters = (configs.get(name, {}) for name in settings.topics())
    if "compact" in scores.get("cleanup.policy", ""):
        yield settings.scores_topic, "it is compacted: the history of scores goes; set cleanup.policy=delete"
    if "compact" in letters.get("cleanup.policy", ""):
        yield settings.dead_letters_topic, "it is compacted: letters are lost; set cleanup.policy=delete"
    largest, room = (_bytes(each) for each in (products, letters))
    if largest is not None and room is not None and room < largest + HEADROOM_BYTES:
        yield (
            settings.dead_letters_topic,
            f"max.message.bytes is {room}, less than that of {settings.products_topic} and its headers: the"
            f" dead letter of a large record cannot be written, set it to {largest + HEADROOM_BYTES}",
        )
    if largest is not None and largest < settings.max_record_bytes:
        yield (
            settings.products_topic,
            f"max.message.bytes is {largest}: publishers cannot send what ADGAUGE_MAX_RECORD_BYTES allows,"
            f" {settings.max_record_bytes}",
        )


def _bytes(configs: Mapping[str, str]) -> int | None:
    value = configs.get("max.message.bytes", "")
    return int(value) if value.isdigit() else None


def _group(admin: KafkaAdmin, settings: ServerSettings, topics: dict[str, TopicState]) -> str:
    state = topics.get(settings.products_topic)
    committed = admin.committed(
        settings.group, settings.products_topic, range(state.partitions if state else 0)
    )
    return f"may be used, {sum(offset > 0 for offset in committed.values())} partitions committed"


def _redis(settings: ServerSettings) -> str:
    client = connect(settings.redis(), settings.redis_timeout_s, settings.redis_ca_file)
    try:
        require_writable(client)
        live = ScoreReader(client, time.monotonic).get([]).generation
    finally:
        client.close()
    return f"writable, {f'generation {live} is live' if live is not None else 'no generation is live yet'}"


def _durability(settings: ServerSettings) -> str:
    """What a crash or a failover can lose; information, whatever it is."""
    client = connect(settings.redis(), settings.redis_timeout_s, settings.redis_ca_file)
    try:
        said = persistence(client)
    finally:
        client.close()
    replicas = settings.redis_wait_replicas
    waits = f"a write waits for {replicas} replicas" if replicas else "a write waits for no replica"
    return f"{said}; {waits}: what a failover loses, `adgauge reconcile` repairs"


def _model(settings: ServerSettings) -> str:
    folder = settings.model()
    contract = load_contract(folder)
    require_files(folder, contract)
    return f"{contract.name} version {contract.version}, its files are those of its contract"


def _triton(settings: ServerSettings) -> str:
    model = admit(settings.model(), settings.triton(), Metrics(CollectorRegistry()), requests=1)
    model.scorer.close()
    return f"{settings.triton_url} serves {model.contract.name} and scores the golden records as exported"


def readable(root: Path) -> str:
    """Raises ConfigurationError when pictures cannot be read below `root`."""
    if not root.is_dir():
        raise ConfigurationError("it is no folder: create it, or change ADGAUGE_IMAGE_ROOTS")
    if not os.access(root, os.R_OK | os.X_OK):
        raise ConfigurationError("it cannot be read: change its rights, or ADGAUGE_IMAGE_ROOTS")
    return "readable"
