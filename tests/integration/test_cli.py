"""The command line against Apache Kafka, Valkey, tritonserver and a running scorer."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from kafka import KafkaAdminClient

from adgauge.adapters.kafka import KafkaWriter, plain_connection
from adgauge.cli import main
from services.embedded.cache import Cache
from tests.brightness import grey_score, product_bytes

TOPICS = ("PRODUCTS_TOPIC", "SCORES_TOPIC", "DEAD_LETTERS_TOPIC")
TOO_LARGE = product_bytes("LARGE", None, "x" * 2**20)
SILENT_KAFKA = {"ADGAUGE_KAFKA_BOOTSTRAP": "127.0.0.1:1", "ADGAUGE_KAFKA_TIMEOUT_S": "0.5"}
CATALOG = [
    product_bytes("DARK", 10),
    product_bytes("LIGHT", 250),
    b"",
    b"{broken",
    product_bytes("BARE", None),
    product_bytes("GONE", 100),
    b'{"parent_asin": "GONE", "_deleted": true}',
    TOO_LARGE,
]


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Adgauge = Callable[..., Ran]


def variables(kafka: str, cache: str, triton: str, model_dir: Path) -> dict[str, str]:
    """A place of its own on shared servers."""
    name = f"adgauge-test-{uuid.uuid4().hex[:12]}"
    topics = {f"ADGAUGE_{topic}": f"{name}-{topic.lower().replace('_', '-')}" for topic in TOPICS}
    return topics | {
        "ADGAUGE_KAFKA_BOOTSTRAP": kafka,
        "ADGAUGE_REDIS_URL": cache,
        "ADGAUGE_TRITON_URL": triton,
        "ADGAUGE_MODEL_DIR": str(model_dir),
        "ADGAUGE_IMAGE_SCHEMES": "data",
        "ADGAUGE_GROUP": name,
        "ADGAUGE_GENERATION": "7",
        "ADGAUGE_METRICS_PORT": "0",
        "ADGAUGE_COMMIT_INTERVAL_S": "0.1",
    }


@pytest.fixture(scope="module")
def environment(
    kafka_bootstrap: str, valkey: Cache, triton_url: str, brightness_dir: Path
) -> Iterator[dict[str, str]]:
    chosen = variables(kafka_bootstrap, valkey.url, triton_url, brightness_dir)
    yield chosen
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    made = {chosen[f"ADGAUGE_{topic}"] for topic in TOPICS} & set(admin.list_topics())
    if made:
        admin.delete_topics(sorted(made))
    admin.close()
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()


@pytest.fixture
def adgauge(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Adgauge:
    """Runs a command with this module's servers, or with some of its variables changed."""

    def run(*arguments: str, **changes: str) -> Ran:
        with monkeypatch.context() as patch:
            for name, value in (environment | changes).items():
                patch.setenv(name, value)
            code = main(arguments)
        shown = capsys.readouterr()
        return Ran(code, shown.out, shown.err)

    return run


def in_a_process(environment: dict[str, str], *arguments: str) -> Ran:
    command = [sys.executable, "-m", "adgauge.cli", *arguments]
    done = subprocess.run(
        command, env={**os.environ, **environment}, check=False, capture_output=True, text=True, timeout=90
    )
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def topics(environment: dict[str, str]) -> None:
    assert in_a_process(environment, "topics", "create", "--partitions", "3").code == 0


@pytest.fixture(scope="module")
def scorer(
    environment: dict[str, str], topics: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """A worker, from the first test that needs decisions to the end of the module."""
    log = tmp_path_factory.mktemp("scorer") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.scorer"], env={**os.environ, **environment}, stderr=output
        )
    yield
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0, log.read_text()


@pytest.fixture(scope="module")
def published(environment: dict[str, str], scorer: None, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """The catalog, published and decided."""
    path = catalog_file(tmp_path_factory.mktemp("catalog"))
    return in_a_process(environment, "publish", str(path), "--wait", "--timeout", "60", "--json")


def catalog_file(folder: Path) -> Path:
    path = folder / "catalog.jsonl"
    path.write_bytes(b"\n".join(CATALOG) + b"\n")
    return path


def test_explaining_needs_topics(adgauge: Adgauge) -> None:
    ran = adgauge("explain", "DARK")

    assert (ran.code, ran.out) == (1, "")
    assert "create it with `adgauge topics create`" in ran.err


def test_topics_are_created_once_with_their_retention(
    adgauge: Adgauge, topics: None, environment: dict[str, str], kafka_bootstrap: str
) -> None:
    again = adgauge("topics", "create", "--partitions", "9")

    assert again.code == 0
    assert again.out.count("exists, left as it is") == 3
    assert configs(kafka_bootstrap, environment["ADGAUGE_PRODUCTS_TOPIC"]) == {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": "604800000",
        "max.message.bytes": "16777216",
    }
    assert configs(kafka_bootstrap, environment["ADGAUGE_SCORES_TOPIC"]) == {
        "cleanup.policy": "delete",
        "retention.ms": "34560000000",
    }
    letters = configs(kafka_bootstrap, environment["ADGAUGE_DEAD_LETTERS_TOPIC"])
    assert letters["retention.ms"] == "1209600000"


def configs(bootstrap: str, topic: str) -> dict[str, str]:
    """What was chosen for a topic."""
    from kafka.admin import ConfigResource, ConfigResourceType

    admin = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        described = admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    finally:
        admin.close()
    return {name: each["value"] for name, each in described["topic"][topic].items()}


def test_without_a_scorer_a_product_waits_and_waiting_ends(
    adgauge: Adgauge, topics: None, tmp_path: Path
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(product_bytes("EARLY", 30))
    ran = adgauge("publish", str(path), "--wait", "--timeout", "0.5")

    assert ran.code == 1
    assert "decided 0 of 1" in ran.out
    assert "line 1 undecided after 0.5 s: is a scorer of group adgauge-test-" in ran.err
    explained = adgauge("explain", "EARLY", "--json").json
    assert (explained["state"], explained["stored"], explained["generation"]) == ("waiting", None, None)
    assert adgauge("scores", "get", "EARLY").code == 1


def test_publishing_says_what_it_published_and_waits_until_it_is_decided(published: Ran) -> None:
    assert (published.code, published.err) == (0, "")
    counts = published.json
    assert counts.pop("topic").endswith("-products-topic")
    assert counts == {
        "published": 7,
        "deletions": 1,
        "without_id": 1,
        "blank": 1,
        "too_large": 0,
        "decided": 7,
    }


def test_scores_are_read_with_their_generation(adgauge: Adgauge, published: Ran) -> None:
    ran = adgauge("scores", "get", "DARK", "LIGHT", "GONE", "NOBODY", "--json")

    assert (ran.code, ran.json["generation"]) == (0, 7)
    products = ran.json["products"]
    assert products["DARK"]["score"] == pytest.approx(grey_score(10), abs=1e-4)
    assert products["LIGHT"]["score"] == pytest.approx(grey_score(250), abs=1e-4)
    assert (products["GONE"]["state"], products["NOBODY"]) == ("deleted", None)


def test_scores_are_read_by_people(adgauge: Adgauge, published: Ran) -> None:
    ran = adgauge("scores", "get", "BARE", "GONE", "NOBODY")
    bare, gone, nobody, generation = ran.out.splitlines()

    assert bare.startswith("BARE  1.0000  event 20")
    assert bare.endswith(" UTC  no_image")
    assert gone.startswith("GONE  deleted  event 20")
    assert (nobody, generation) == ("NOBODY  never scored or expired", "generation 7")
    assert adgauge("scores", "get", "GONE", "NOBODY").code == 1


@pytest.mark.parametrize(
    ("product", "state", "records"),
    [
        ("DARK", "scored", ["scored"]),
        ("GONE", "deleted", ["superseded", "deleted"]),
        ("LARGE", "rejected", ["rejected"]),
        ("NOBODY", "not seen", []),
    ],
)
def test_a_products_state_is_explained_by_its_records(
    adgauge: Adgauge, published: Ran, product: str, state: str, records: list[str]
) -> None:
    explained = adgauge("explain", product, "--json").json

    assert explained["state"] == state
    assert [record["state"] for record in explained["records"]] == records
    assert all(topic["complete"] for topic in explained["looked_at"].values())
    assert len(explained["looked_at"]) == 2


def test_a_rejection_is_explained_with_reason_and_position(adgauge: Adgauge, published: Ran) -> None:
    ran = adgauge("explain", "LARGE")

    assert ran.out.startswith(
        "LARGE: rejected\nstored   nothing: never scored or expired\nrecord   adgauge-test-"
    )
    assert "rejected: too_large at parse: " in ran.out
    assert "looked at Redis (generation 7), 8 records of adgauge-test-" in ran.out


def test_an_older_export_is_superseded_by_what_is_stored(
    adgauge: Adgauge, published: Ran, tmp_path: Path
) -> None:
    path = tmp_path / "old.jsonl"
    path.write_bytes(product_bytes("LIGHT", 0))
    os.utime(path, (1_500_000_000, 1_500_000_000))
    assert adgauge("publish", str(path), "--event-ms", "file", "--wait", "--timeout", "30").code == 0
    explained = adgauge("explain", "LIGHT", "--json").json

    assert explained["state"] == "superseded"
    assert [record["state"] for record in explained["records"]] == ["scored", "superseded"]
    assert explained["records"][1]["event_ms"] == 1_500_000_000_000
    assert explained["stored"]["score"] == pytest.approx(grey_score(250), abs=1e-4)


def test_a_newer_record_that_is_rejected_leaves_the_score(
    adgauge: Adgauge, published: Ran, environment: dict[str, str], kafka_bootstrap: str
) -> None:
    writer = KafkaWriter(plain_connection(kafka_bootstrap))
    writer.write(environment["ADGAUGE_PRODUCTS_TOPIC"], [(b"DARK", b'{"parent_asin": "OTHER"}', ())])
    writer.close()
    deadline = time.monotonic() + 30
    while (explained := adgauge("explain", "DARK", "--json").json)["state"] != "rejected":
        assert time.monotonic() < deadline, explained
    assert [record["state"] for record in explained["records"]] == ["scored", "rejected"]
    assert explained["records"][1]["why"].startswith("key_mismatch at parse: ")
    assert explained["stored"]["score"] == pytest.approx(grey_score(10), abs=1e-4)


def test_a_score_that_is_gone_from_redis_is_explained(
    adgauge: Adgauge, published: Ran, valkey: Cache
) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert client.delete("ag:7:BARE") == 1

    explained = adgauge("explain", "BARE", "--json").json
    assert (explained["state"], explained["stored"]) == ("expired", None)


def test_a_scan_that_runs_out_of_time_says_so(adgauge: Adgauge, published: Ran) -> None:
    looked_at = adgauge("explain", "DARK", "--timeout", "0.000001", "--json").json["looked_at"]

    assert [topic["complete"] for topic in looked_at.values()] == [False, False]


def test_publishing_keeps_to_its_rate(adgauge: Adgauge, topics: None, tmp_path: Path) -> None:
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"\n".join(product_bytes(f"R{n}", None) for n in range(30)))
    began = time.monotonic()

    assert adgauge("publish", str(path), "--rate", "40").code == 0
    assert 0.7 < time.monotonic() - began < 5


def test_a_missing_topic_is_one_line(adgauge: Adgauge, tmp_path: Path) -> None:
    ran = adgauge("publish", str(catalog_file(tmp_path)), "--topic", "adgauge-test-missing")

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "has no topic adgauge-test-missing: create it with `adgauge topics create`" in ran.err


@pytest.mark.parametrize("arguments", [["publish", "-"], ["topics", "create"], ["explain", "A"]])
def test_a_broker_that_is_not_there_is_one_line(environment: dict[str, str], arguments: list[str]) -> None:
    ran = in_a_process(environment | SILENT_KAFKA, *arguments)

    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert "no answer at 127.0.0.1:1: " in ran.err
    assert "is ADGAUGE_KAFKA_BOOTSTRAP right and the broker up?" in ran.err


def test_a_broker_that_is_not_there_fails_its_line_of_the_check(environment: dict[str, str]) -> None:
    ran = in_a_process(environment | SILENT_KAFKA, "check", "--json")

    assert (ran.code, [each["what"] for each in ran.json if not each["ok"]]) == (1, ["kafka"])


def test_standard_input_has_no_time_of_writing(adgauge: Adgauge) -> None:
    ran = adgauge("publish", "-", "--event-ms", "file")

    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert "--event-ms file needs a file" in ran.err


def test_ctrl_c_is_quiet(environment: dict[str, str], topics: None) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "adgauge.cli", "publish", "-"],
        env={**os.environ, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    time.sleep(2.5)  # it has connected and waits for lines
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)

    assert (process.returncode, out, err) == (130, b"", b"")


def test_everything_in_order_is_checked_line_by_line(
    adgauge: Adgauge, published: Ran, tmp_path: Path
) -> None:
    ran = adgauge("check", ADGAUGE_IMAGE_ROOTS=str(tmp_path))
    marks, whats = zip(
        *(line.split(" — ")[0].split(maxsplit=1) for line in ran.out.splitlines()), strict=True
    )

    assert (ran.code, ran.err, set(marks)) == (0, "", {"ok", "warn"})  # one broker: one replica
    assert [what.split(" ")[0] for what in whats] == [
        "settings", "kafka", "topic", "topic", "topic", "group", "topic", "topic", "topic",
        "redis", "redis", "model", "triton", "image",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "what", "remedy"),
    [
        ({"ADGAUGE_TRITON_REQUESTS": "none"}, "settings", "ADGAUGE_TRITON_REQUESTS: "),
        ({"ADGAUGE_SCORES_TOPIC": "adgauge-test-no"}, "topic adgauge-test-no", "`adgauge topics create`"),
        (
            {"ADGAUGE_REDIS_URL": "redis://127.0.0.1:1"},
            "redis",
            "is ADGAUGE_REDIS_URL right and the server up?",
        ),
        ({"ADGAUGE_REDIS_URL": "http://127.0.0.1"}, "redis", "ADGAUGE_REDIS_URL: "),
        ({"ADGAUGE_MODEL_DIR": "/nowhere"}, "model", "export a model there first"),
        (
            {"ADGAUGE_TRITON_URL": "127.0.0.1:1", "ADGAUGE_TRITON_DEADLINE_S": "0.5"},
            "triton",
            "is ADGAUGE_TRITON_URL right",
        ),
        (
            {"ADGAUGE_IMAGE_ROOTS": "/nowhere"},
            "image root /nowhere",
            "create it, or change ADGAUGE_IMAGE_ROOTS",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_what_is_broken_fails_alone_and_says_what_to_do(
    adgauge: Adgauge, published: Ran, changes: dict[str, str], what: str, remedy: str
) -> None:
    ran = adgauge("check", "--json", **changes)
    (broken,) = [finding for finding in ran.json if not finding["ok"]]

    assert (ran.code, ran.err, broken["what"]) == (1, "", what)
    assert remedy in broken["detail"]


def test_a_redis_user_who_may_only_read_is_found(adgauge: Adgauge, published: Ran, valkey: Cache) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+ping", "+hello")
    ran = adgauge("check", ADGAUGE_REDIS_URL=valkey.url.replace("redis://", "redis://reader:secret@"))

    assert ran.code == 1
    assert "FAIL redis — Redis refuses us: " in ran.out
    assert "docs/contracts/README.md" in ran.out
    assert "secret" not in ran.out


def test_a_file_is_scored_like_the_stream(adgauge: Adgauge, published: Ran, tmp_path: Path) -> None:
    out, rejects = tmp_path / "scores.jsonl", tmp_path / "rejects.jsonl"
    ran = adgauge("score", str(catalog_file(tmp_path)), "-o", str(out), "--rejects", str(rejects), "--json")

    assert (ran.code, ran.err) == (0, "")
    summary = ran.json
    assert summary.pop("seconds") > 0
    assert summary.pop("records_per_s") > 0
    assert summary == {
        "scored": 4,
        "deleted": 1,
        "rejected": {"not_json": 1, "too_large": 1},
        "blank": 1,
        "without_image": {"no_reference": 1},
    }
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["line"], row["parent_asin"]) for row in rows] == [
        (1, "DARK"), (2, "LIGHT"), (5, "BARE"), (6, "GONE"),
    ]  # fmt: skip
    stored = adgauge("scores", "get", "DARK", "LIGHT", "--json").json["products"]
    for row in rows[:2]:
        assert row["score"] == pytest.approx(stored[row["parent_asin"]]["score"], abs=1e-4)
        assert row["digest"].startswith(stored[row["parent_asin"]]["digest"])
    assert [json.loads(line)["line"] for line in rejects.read_text().splitlines()] == [4, 8]


def test_pictures_lie_in_the_files_folder_or_the_one_named(adgauge: Adgauge, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("L", (8, 8), 100).save(tmp_path / "photos/grey.png")
    path = tmp_path / "c.jsonl"
    images = [{"variant": "MAIN", "large": "grey.png"}]
    path.write_text(json.dumps({"parent_asin": "A", "title": "a", "images": images}))

    missing = adgauge("score", str(path))
    found = adgauge("score", str(path), "--image-root", str(tmp_path / "photos"))

    assert missing.out == "1.0000  A  no_image not_found\n"
    assert found.out == f"{grey_score(100):.4f}  A\n"
    assert found.err.startswith("scored 1\nrejected 0\ndeleted 0, blank lines 0\n1 records in ")


def test_without_an_address_a_triton_is_started_and_leaves_nothing(
    adgauge: Adgauge, tmp_path: Path, brightness_dir: Path
) -> None:
    before = set(Path("/dev/shm").glob("adgauge_*"))
    path = tmp_path / "c.jsonl"
    path.write_bytes(product_bytes("A", 100))
    ran = adgauge("score", str(path), "--model", str(brightness_dir), "--json", ADGAUGE_TRITON_URL="")

    assert (ran.code, ran.json["score"]) == (0, pytest.approx(grey_score(100), abs=1e-4))
    assert set(Path("/dev/shm").glob("adgauge_*")) == before


def test_a_model_is_named_within_its_repository(
    adgauge: Adgauge, tmp_path: Path, brightness_dir: Path
) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(product_bytes("A", 100))
    repository = {"ADGAUGE_MODEL_REPOSITORY": str(brightness_dir.parents[1]), "ADGAUGE_MODEL_DIR": ""}

    assert adgauge("score", str(path), "--model", "brightness", **repository).code == 0
    assert adgauge("score", str(path), **repository).code == 0
    wrong = adgauge("score", str(path), "--model", "darkness", **repository)
    assert (wrong.code, wrong.err.count("\n")) == (1, 1)
    assert "there is no model darkness" in wrong.err
    assert "(brightness)" in wrong.err


def test_the_documented_reader_reads(
    published: Ran, valkey: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    document = (Path(__file__).parents[2] / "docs/contracts/README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    example = example.replace("redis://127.0.0.1:6379/0", valkey.url)
    names: dict[str, Any] = {}
    exec(example.replace("B07XJ8C8F5", "LIGHT"), names)  # noqa: S102 - our own document
    names["reader"].close()

    score = f"{grey_score(250):.4f}".rstrip("0")
    assert capsys.readouterr().out.splitlines() == [
        "generation 7",
        f"LIGHT {score} []",
        "B000FH8R9A never scored, expired or deleted",
    ]
