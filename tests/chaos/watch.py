"""What is measured while things go wrong: committed offsets, and the memory of the workers."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from tests.chaos.workers import Worker, resident_bytes

OFFSETS_EVERY_S = 0.25
MEMORY_EVERY_S = 1.0
ANSWER_MS = 2000


@dataclass(frozen=True)
class Progress:
    """Offsets by partition: what the group has committed, and where the log ends."""

    at_s: float
    committed: Mapping[int, int]
    ends: Mapping[int, int]

    @property
    def behind(self) -> dict[int, int]:
        """The partitions with lag, and what they have committed."""
        return {number: at for number, at in self.committed.items() if at < self.ends[number]}

    @property
    def lag(self) -> int:
        """Records that are not committed."""
        return sum(self.ends.values()) - sum(self.committed.values())


@dataclass(frozen=True)
class Memory:
    """Resident bytes of one worker with its decoders; `pid` tells one process of a place from the next."""

    at_s: float
    worker: str
    pid: int
    bytes: int


@dataclass
class Watch:
    """Samples on threads of its own while it is entered; times are of `time.monotonic`."""

    bootstrap: str
    topic: str
    group: str
    workers: Callable[[], Sequence[Worker]]
    progress: list[Progress] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=watch, name=watch.__name__, daemon=True)
            for watch in (self._watch_offsets, self._watch_memory)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _watch_offsets(self) -> None:
        offsets = Offsets(self.bootstrap, self.topic, self.group)
        while not self._closing.wait(OFFSETS_EVERY_S):
            if (progress := offsets.now()) is not None:
                self.progress.append(progress)
        offsets.close()

    def _watch_memory(self) -> None:
        while not self._closing.wait(MEMORY_EVERY_S):
            for worker in self.workers():
                pid = worker.process.pid
                if held := resident_bytes(pid):
                    self.memory.append(Memory(time.monotonic(), worker.name, pid, held))


class Offsets:
    """Asks a broker, directly, how far a group is."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self._group = group
        patience = {"request_timeout_ms": ANSWER_MS, "reconnect_backoff_max_ms": 200}
        self._admin = KafkaAdminClient(bootstrap_servers=bootstrap, **patience)
        self._consumer = KafkaConsumer(bootstrap_servers=bootstrap, **patience)
        numbers = self._consumer.partitions_for_topic(topic)
        self._partitions = [TopicPartition(topic, number) for number in numbers]

    def now(self) -> Progress | None:
        """None while the broker is away."""
        try:
            ends = self._consumer.end_offsets(self._partitions, timeout_ms=ANSWER_MS)
            found = self._admin.list_group_offsets({self._group: self._partitions})[self._group]
        except (KafkaError, KeyError):
            return None
        committed = {each.partition: max(found[each].offset, 0) for each in self._partitions}
        return Progress(
            time.monotonic(), committed, {each.partition: ends[each] for each in self._partitions}
        )

    def close(self) -> None:
        """Close both clients."""
        self._consumer.close(autocommit=False)
        self._admin.close()
