"""Apache Kafka → the scorer's process → tritonserver → Valkey, end to end."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient, NewTopic

from adgauge.adapters.kafka import KafkaWriter, plain_connection
from adgauge.adapters.kafka_admin import KafkaAdmin, planned_topics
from adgauge.adapters.redis import ScoreReader, StoredScore, connect
from adgauge.records import EVENT_HEADER, Position, Tombstone
from services.embedded.cache import ValkeyCluster
from services.embedded.kafka import Kafka
from tests.brightness import POISON, grey_score, product_bytes
from tests.conftest import MakeTopic
from tests.contract.test_source import damage_the_last_batch

pytestmark = pytest.mark.tool("kafka")

ROOT = Path(__file__).parents[2]
PARTITIONS = 3
DEADLINE_S = 60.0
NOW_MS = time.time_ns() // 1_000_000

Written = tuple[bytes | None, bytes | None, dict[str, bytes]]
Record = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes]]]


@dataclass
class Topics:
    products: str
    scores: str
    dead_letters: str


class Scorer:
    """The scorer as its own process."""

    def __init__(self, environment: Mapping[str, str], output: Path) -> None:
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self._output = output
        with output.open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.scorer"],
                cwd=ROOT,
                env=inherited | dict(environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(30)


class Stream:
    """The topics, servers and settings of one test."""

    def __init__(self, topics: Topics, environment: dict[str, str], output: Path) -> None:
        self.topics = topics
        self.environment = environment
        self._output = output
        self._bootstrap = environment["ADGAUGE_KAFKA_BOOTSTRAP"]
        self._scorers: list[Scorer] = []
        self._read: dict[str, tuple[KafkaConsumer, list[Written]]] = {}
        self._writer = KafkaWriter(plain_connection(self._bootstrap))
        self._client = connect(environment["ADGAUGE_REDIS_URL"], timeout_s=5.0)

    def start(self, **changes: str) -> Scorer:
        output = self._output / f"scorer-{len(self._scorers)}.log"
        scorer = Scorer(self.environment | changes, output)
        self._scorers.append(scorer)
        return scorer

    def publish(self, *records: Record) -> list[Position]:
        return self._writer.write(self.topics.products, records)

    def entries(self, ids: Sequence[str]) -> dict[str, StoredScore | Tombstone | None]:
        return dict(ScoreReader(self._client, time.monotonic).get(ids, generation=1).entries)

    def scores(self, ids: Sequence[str]) -> dict[str, float | None]:
        found = self.entries(ids)
        return {name: each.value if isinstance(each, StoredScore) else None for name, each in found.items()}

    def read(self, topic: str) -> list[Written]:
        """Everything that is in a topic by now."""
        if topic not in self._read:
            self._read[topic] = (self._consumer(topic), [])
        consumer, found = self._read[topic]
        ends = consumer.end_offsets(list(consumer.assignment()))
        while any(consumer.position(each) < end for each, end in ends.items()):
            for records in consumer.poll(timeout_ms=200).values():
                found += [(each.key, each.value, dict(each.headers)) for each in records]
        return found

    def _consumer(self, topic: str) -> KafkaConsumer:
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        consumer.assign([TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)])
        return consumer

    def decided(self) -> int:
        """Records before the committed offsets."""
        with KafkaAdmin(plain_connection(self._bootstrap)) as admin:
            group, products = self.environment["ADGAUGE_GROUP"], self.topics.products
            return sum(admin.committed(group, products, range(PARTITIONS)).values())

    def logged(self) -> list[dict[str, object]]:
        return [json.loads(value or b"") for _, value, _ in self.read(self.topics.scores)]

    def wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            outputs = "\n".join(scorer.output for scorer in self._scorers)
            assert time.monotonic() < deadline, f"it never came true; the scorers said:\n{outputs}"
            time.sleep(0.05)

    def close(self) -> None:
        for scorer in self._scorers:
            if scorer.process.poll() is None:
                scorer.process.kill()
                scorer.process.wait()
        for consumer, _ in self._read.values():
            consumer.close(autocommit=False)
        self._writer.close()
        self._client.close()


@pytest.fixture
def stream(
    make_topic: MakeTopic,
    kafka_bootstrap: str,
    redis_url: str,
    triton_url: str,
    brightness_dir: Path,
    tmp_path: Path,
) -> Iterator[Stream]:
    topics = Topics(make_topic("products", partitions=PARTITIONS), make_topic("scores"), make_topic("dlq"))
    stream = Stream(
        topics,
        {
            "ADGAUGE_KAFKA_BOOTSTRAP": kafka_bootstrap,
            "ADGAUGE_REDIS_URL": redis_url,
            "ADGAUGE_TRITON_URL": triton_url,
            "ADGAUGE_MODEL_DIR": str(brightness_dir),
            "ADGAUGE_IMAGE_SCHEMES": "data",
            "ADGAUGE_GENERATION": "1",
            "ADGAUGE_GROUP": topics.products,
            "ADGAUGE_PRODUCTS_TOPIC": topics.products,
            "ADGAUGE_SCORES_TOPIC": topics.scores,
            "ADGAUGE_DEAD_LETTERS_TOPIC": topics.dead_letters,
            "ADGAUGE_METRICS_PORT": "0",
            "ADGAUGE_SESSION_TIMEOUT_S": "6",
        },
        tmp_path,
    )
    yield stream
    stream.close()


def record(
    product_id: str, level: int | None, *, event_ms: int | None = None, title: str = "a thing"
) -> Record:
    headers = () if event_ms is None else ((EVENT_HEADER, str(event_ms).encode()),)
    return product_id.encode(), product_bytes(product_id, level, title), headers


def test_products_are_scored_and_everything_else_ends_where_it_should(stream: Stream) -> None:
    ids = [f"P{number}" for number in range(60)]
    stream.publish(*(record(name, number) for number, name in enumerate(ids)))
    broken: list[Record] = [
        (b"B1", b"{broken", (("trace", b"\x01\xff"),)),
        (None, b"\xff\xfe\x00", ()),
        (b"B3", product_bytes("OTHER", 10), ()),
        (None, None, ()),
    ]
    stream.publish(*broken, record("B5", 9, title=POISON))
    stream.publish(record("GONE", 50), (b"GONE", None, ()), record("NOPIC", None))
    scorer = stream.start()
    stream.wait(lambda: all(value is not None for value in stream.scores([*ids, "NOPIC"]).values()))
    stream.wait(lambda: isinstance(stream.entries(["GONE"])["GONE"], Tombstone))
    stream.wait(lambda: len(stream.read(stream.topics.dead_letters)) >= 5)
    code = scorer.stop()

    expected = {name: grey_score(number) for number, name in enumerate(ids)} | {"NOPIC": 1.0}
    assert stream.scores(list(expected)) == pytest.approx(expected, abs=1e-4)
    letters = stream.read(stream.topics.dead_letters)
    assert Counter(headers["adgauge-reason"] for *_, headers in letters) == {
        b"not_json": 1,
        b"not_utf8": 1,
        b"key_mismatch": 1,
        b"no_id": 1,
        b"model_error": 1,
    }
    as_published = {(key, value) for key, value, _ in [*broken, record("B5", 9, title=POISON)]}
    assert as_published == {(key, value) for key, value, _ in letters}
    assert [headers["trace"] for *_, headers in letters if "trace" in headers] == [b"\x01\xff"]
    outcomes = Counter((line["id"], line["outcome"]) for line in stream.logged())
    assert outcomes[("GONE", "deleted")] == 1
    assert all(outcomes[(name, "scored")] == 1 for name in ids)
    assert code == 0, scorer.output


def test_ten_megabytes_are_read_and_kept_as_a_dead_letter(stream: Stream, make_topic: MakeTopic) -> None:
    products, _, letters = (dict(plan.configs) for plan in planned_topics("products", "scores", "dlq"))
    stream.topics.products = make_topic("products", configs=products)
    stream.topics.dead_letters = make_topic("dlq", configs=letters)
    scorer = stream.start(
        ADGAUGE_PRODUCTS_TOPIC=stream.topics.products, ADGAUGE_DEAD_LETTERS_TOPIC=stream.topics.dead_letters
    )
    large = random.Random(10).randbytes(10 * 2**20)  # nothing that compression would make small
    stream.publish(record("P0", 0), (b"P1", large, (("trace", b"1"),)), record("P2", 2))
    stream.wait(lambda: len(stream.read(stream.topics.dead_letters)) == 1)
    stream.wait(lambda: all(value is not None for value in stream.scores(["P0", "P2"]).values()))
    ((key, value, headers),) = stream.read(stream.topics.dead_letters)

    assert (key, headers["adgauge-reason"], headers["trace"]) == (b"P1", b"too_large", b"1")
    assert value == large
    assert scorer.stop() == 0


def test_a_late_older_record_does_not_bring_a_deleted_product_back(stream: Stream) -> None:
    stream.publish(record("P1", 10, event_ms=NOW_MS - 3000))
    stream.publish((b"P1", None, ((EVENT_HEADER, str(NOW_MS - 1000).encode()),)))
    stream.publish(record("P1", 200, event_ms=NOW_MS - 2000), record("END", 1))
    scorer = stream.start()
    stream.wait(lambda: stream.decided() == 4)
    scorer.stop()
    (entry,) = stream.entries(["P1"]).values()

    assert isinstance(entry, Tombstone)
    assert entry.order.event_ms == NOW_MS - 1000


def test_a_rolling_restart_loses_nothing_and_repeats_only_what_was_in_flight(stream: Stream) -> None:
    in_flight = 64
    limits = {"ADGAUGE_IN_FLIGHT_RECORDS": str(in_flight), "ADGAUGE_BATCH_RECORDS": "16"}
    ids = [f"P{number}" for number in range(1500)]
    stream.publish(*(record(name, number % 256) for number, name in enumerate(ids)))
    stops = 3
    for round_ in range(1, stops + 1):
        scorer = stream.start(**limits)
        wanted = 300 * round_
        stream.wait(lambda enough=wanted: len(stream.logged()) >= enough)  # type: ignore[misc]  # bound now
        assert scorer.stop() == 0, scorer.output
    last = stream.start(**limits)
    stream.wait(lambda: all(value is not None for value in stream.scores(ids).values()))
    last.stop()

    expected = {name: grey_score(number % 256) for number, name in enumerate(ids)}
    assert stream.scores(ids) == pytest.approx(expected, abs=1e-4)
    assert len(ids) <= len(stream.logged()) <= len(ids) + stops * in_flight


def test_after_sigkill_what_was_not_committed_comes_again(stream: Stream) -> None:
    ids = [f"P{number}" for number in range(400)]
    stream.publish(*(record(name, number % 256) for number, name in enumerate(ids)))
    first = stream.start(ADGAUGE_COMMIT_INTERVAL_S="3600")
    stream.wait(lambda: len(stream.logged()) >= 100)
    first.stop(signal.SIGKILL)
    second = stream.start()
    stream.wait(lambda: all(value is not None for value in stream.scores(ids).values()))
    second.stop()

    assert {line["id"] for line in stream.logged()} == set(ids)


class Forwarder:
    """A TCP forwarder that can stop forwarding without closing anything: a server that hangs."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.flowing = threading.Event()
        self.flowing.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                ours, _ = self._listener.accept()
                theirs = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [ours, theirs]
                for pair in ((ours, theirs), (theirs, ours)):
                    self._threads.append(threading.Thread(target=self._pump, args=pair))
                    self._threads[-1].start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.flowing.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join()


@pytest.fixture
def hanging_redis(redis_url: str) -> Iterator[tuple[Forwarder, str]]:
    port = urlsplit(redis_url).port
    assert port is not None
    forwarder = Forwarder(port)
    yield forwarder, redis_url.replace(str(port), str(forwarder.port))
    forwarder.close()


def test_a_second_signal_stops_at_once_and_commits_nothing_unfinished(
    stream: Stream, hanging_redis: tuple[Forwarder, str]
) -> None:
    forwarder, url = hanging_redis
    scorer = stream.start(ADGAUGE_REDIS_URL=url, ADGAUGE_REDIS_TIMEOUT_S="60", ADGAUGE_DRAIN_S="60")
    stream.publish(record("P1", 1))
    stream.wait(lambda: len(stream.logged()) == 1)
    forwarder.flowing.clear()
    stream.publish(record("P2", 2))
    time.sleep(1.0)
    scorer.process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        scorer.process.wait(1.5)
    started = time.monotonic()
    code = scorer.stop()

    assert (code, time.monotonic() - started < 5) == (0, True), scorer.output
    forwarder.flowing.set()
    successor = stream.start()
    stream.wait(lambda: stream.scores(["P2"])["P2"] is not None)
    successor.stop()


def test_a_redis_that_hangs_is_waited_for_and_nothing_is_lost(
    stream: Stream, hanging_redis: tuple[Forwarder, str]
) -> None:
    forwarder, url = hanging_redis
    scorer = stream.start(ADGAUGE_REDIS_URL=url, ADGAUGE_REDIS_TIMEOUT_S="0.5")
    stream.publish(record("P0", 0))
    stream.wait(lambda: stream.scores(["P0"])["P0"] is not None)
    forwarder.flowing.clear()
    ids = [f"P{number}" for number in range(1, 50)]
    stream.publish(*(record(name, int(name[1:])) for name in ids))
    time.sleep(8.0)  # longer than the session: a worker that did not poll would be out of the group
    forwarder.flowing.set()
    stream.wait(lambda: {line["id"] for line in stream.logged()} == {"P0", *ids})
    code = scorer.stop()

    assert code == 0
    assert "lost" not in scorer.output
    assert "redis: Timeout" in scorer.output
    assert stream.scores(ids) == pytest.approx({name: grey_score(int(name[1:])) for name in ids}, abs=1e-4)


def test_metrics_and_health_tell_what_happened(stream: Stream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    stream.publish(*(record(f"P{number}", number) for number in range(20)))
    scorer = stream.start(ADGAUGE_METRICS_PORT=str(port))
    stream.wait(lambda: len(stream.logged()) == 20)

    def page(path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            text: str = answer.read().decode()
            return text

    stream.wait(lambda: "adgauge_committed_offset{" in page("/metrics"))
    text = page("/metrics")
    assert 'adgauge_records_total{outcome="scored",reason=""} 20.0' in text
    assert "adgauge_freshness_seconds_count 20.0" in text
    assert "ready" in page("/healthz/ready")
    assert page("/healthz/live")
    scorer.stop()


def test_a_fatal_error_ends_the_scorer_though_other_batches_wait_for_a_server(
    stream: Stream, hanging_redis: tuple[Forwarder, str], make_topic: MakeTopic
) -> None:
    forwarder, url = hanging_redis
    small = make_topic("dlq", configs={"max.message.bytes": "1000", "compression.type": "uncompressed"})
    scorer = stream.start(
        ADGAUGE_REDIS_URL=url,
        ADGAUGE_REDIS_TIMEOUT_S="0.5",
        ADGAUGE_BATCH_RECORDS="1",
        ADGAUGE_DEAD_LETTERS_TOPIC=small,
    )
    stream.publish(record("P0", 0))
    stream.wait(lambda: stream.scores(["P0"])["P0"] is not None)
    forwarder.flowing.clear()
    stream.publish(record("P1", 1))
    stream.wait(lambda: scorer.output.count("redis: Timeout") > 1)
    stream.publish((b"B", random.Random(0).randbytes(10_000), ()))
    code = scorer.process.wait(10)

    assert code == 1
    assert "raise its max.message.bytes" in scorer.output


def test_a_record_that_cannot_be_decoded_ends_the_scorer_and_says_where_it_is(
    stream: Stream, kafka: Kafka
) -> None:
    (position,) = stream.publish(record("P0", 0))
    damage_the_last_batch(kafka, position.partition)
    scorer = stream.start()
    code = scorer.process.wait(20)

    assert code == 1
    assert f"a record cannot be decoded, {stream.topics.products}/" in scorer.output.splitlines()[-1]
    assert "Traceback" not in scorer.output


def test_a_topic_that_is_deleted_ends_the_scorer_with_one_line_that_names_it(
    stream: Stream, kafka_bootstrap: str
) -> None:
    scorer = stream.start()
    stream.publish(record("P0", 0))
    stream.wait(lambda: stream.scores(["P0"])["P0"] is not None)
    with closing(KafkaAdminClient(bootstrap_servers=kafka_bootstrap)) as admin:
        admin.delete_topics([stream.topics.products])
        code = scorer.process.wait(40)
        admin.create_topics([NewTopic(stream.topics.products, 1, 1)])  # for what deletes it after the test

    assert code == 1
    assert f"Kafka has no topic {stream.topics.products} any more" in scorer.output.splitlines()[-1]
    assert "Traceback" not in scorer.output


WRONG = {
    "a wrong Kafka address": ({"ADGAUGE_KAFKA_BOOTSTRAP": "127.0.0.1:1"}, "ADGAUGE_KAFKA_BOOTSTRAP"),
    "no Kafka address at all": ({"ADGAUGE_KAFKA_BOOTSTRAP": "127.0.0.1:port"}, "ADGAUGE_KAFKA_BOOTSTRAP"),
    "a missing topic": ({"ADGAUGE_PRODUCTS_TOPIC": "adgauge-test-none"}, "adgauge-test-none"),
    "a wrong Redis address": ({"ADGAUGE_REDIS_URL": "redis://127.0.0.1:1/0"}, "ADGAUGE_REDIS_URL"),
    "a wrong Triton address": ({"ADGAUGE_TRITON_URL": "127.0.0.1:1"}, "ADGAUGE_TRITON_URL"),
    "no model": ({"ADGAUGE_MODEL_DIR": "/nowhere"}, "/nowhere/contract.json"),
    "no generation": ({"ADGAUGE_GENERATION": ""}, "ADGAUGE_GENERATION: must be set"),
    "a generation that is no number": ({"ADGAUGE_GENERATION": "live"}, "ADGAUGE_GENERATION"),
    "a misspelt setting": ({"ADGAUGE_BATCH_RECORD": "3"}, "did you mean ADGAUGE_BATCH_RECORDS?"),
    "an address of ours that is not": ({"ADGAUGE_METRICS_HOST": "192.0.2.1"}, "192.0.2.1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_one_line_and_exit_code_1(stream: Stream, case: str) -> None:
    changes, said = WRONG[case]
    started = time.monotonic()
    scorer = stream.start(**changes)
    code = scorer.process.wait(20)

    assert code == 1
    assert said in scorer.output
    assert len(scorer.output.splitlines()) == 1, scorer.output
    assert time.monotonic() - started < 12


def test_a_taken_port_is_one_line_and_exit_code_1(stream: Stream) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        scorer = stream.start(ADGAUGE_METRICS_PORT=str(taken.getsockname()[1]))
        code = scorer.process.wait(20)

    assert (code, len(scorer.output.splitlines())) == (1, 1), scorer.output


def test_a_model_that_is_not_the_contracted_one_is_refused(
    stream: Stream, brightness_dir: Path, tmp_path: Path
) -> None:
    contract = json.loads((brightness_dir / "contract.json").read_text()) | {"target": "clicks"}
    for file in brightness_dir.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "contract.json").write_text(json.dumps(contract))
    scorer = stream.start(ADGAUGE_MODEL_DIR=str(tmp_path))

    assert scorer.process.wait(20) == 1
    assert "Triton serves brightness with contract" in scorer.output
    assert len(scorer.output.splitlines()) == 1, scorer.output


def test_a_generation_of_another_model_is_refused(stream: Stream) -> None:
    client = connect(stream.environment["ADGAUGE_REDIS_URL"], timeout_s=5.0)
    client.set("ag:gen:1", json.dumps({"digest": "of another model"}))
    client.close()
    scorer = stream.start()

    assert scorer.process.wait(20) == 1
    assert "choose another ADGAUGE_GENERATION" in scorer.output


def test_scores_go_to_a_redis_cluster_and_known_content_is_not_scored_again(
    stream: Stream, valkey_cluster: ValkeyCluster, redis_url: str
) -> None:
    client = connect(valkey_cluster.url, timeout_s=5.0)
    reader = ScoreReader(client, time.monotonic)

    def scores(ids: Sequence[str]) -> dict[str, float | None]:
        found = reader.get(ids, generation=77).scores
        return {name: each.value if each else None for name, each in found.items()}

    ids = [f"P{number}" for number in range(40)]
    stream.publish(*(record(name, number % 4) for number, name in enumerate(ids)))
    scorer = stream.start(
        ADGAUGE_GENERATION="77", ADGAUGE_REDIS_URL=valkey_cluster.url, ADGAUGE_CONTENT_CACHE_URL=redis_url
    )
    stream.wait(lambda: None not in scores(ids).values())
    expected = {name: grey_score(number % 4) for number, name in enumerate(ids)}
    assert scores(ids) == pytest.approx(expected, abs=1e-4)

    with redis.Redis.from_url(redis_url, decode_responses=True) as cache:
        contents = sorted(cache.scan_iter("ag:content:77:*"))
        assert len(contents) == 4
        for key in contents:
            cache.set(key, "2.25")
        cache.delete(*cache.scan_iter("ag:source:77:*"))  # so that it is the content that is recognized
    stream.publish(record("TWIN", 0))
    stream.wait(lambda: scores(["TWIN"])["TWIN"] is not None)
    assert scores(["TWIN"]) == {"TWIN": 2.25}
    assert scorer.stop() == 0, scorer.output
    reader.close()


def test_a_right_that_redis_takes_away_ends_the_scorer_with_one_line(stream: Stream, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as admin:
        admin.acl_setuser("few", enabled=True, passwords=["+x"], keys=["ag:*"], commands=["+@all"])
        scorer = stream.start(ADGAUGE_REDIS_URL=redis_url.replace("://", "://few:x@"))
        stream.publish(record("P1", 1))
        stream.wait(lambda: stream.scores(["P1"])["P1"] is not None)
        admin.acl_setuser("few", commands=["-evalsha"])
        stream.publish(record("P2", 2))
        code = scorer.process.wait(30)
        admin.acl_deluser("few")
    said = scorer.output.strip().splitlines()[-1]
    assert code == 1
    assert said.startswith("adgauge scorer: Redis refuses us:")
    assert "Traceback" not in scorer.output
