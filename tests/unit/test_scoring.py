"""Every way a record can end, on in-memory adapters and the model `brightness`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from adgauge.adapters.memory import (
    BrightnessScorer,
    MemoryDeadLetters,
    MemoryImages,
    MemoryScoreCache,
    MemoryScoreLog,
    MemoryScoreStore,
)
from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.contract import load_contract
from adgauge.errors import BackendUnavailable, RecordRejected, RejectReason
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.scoring import ScoringPipeline
from adgauge.records import (
    Envelope,
    Flag,
    ImageResult,
    Order,
    Outcome,
    OutcomeKind,
    Partition,
    Position,
    Score,
    Tombstone,
)
from adgauge.telemetry.metrics import Metrics
from tests.brightness import SIDE, grey_score

Raw = Envelope[bytes | None]
NOW_MS = 1_800_000_000_000
EVENT_MS = NOW_MS - 2_500
MAX_BYTES = 10_000


def picture(level: int) -> ImageResult:
    return np.full((3, SIDE, SIDE), level, dtype=np.uint8)


PICTURES = {f"https://x/{level}.png": picture(level) for level in (10, 100, 200)}


def value(product_id: str, level: int | None = 100, **fields: object) -> bytes:
    images = [] if level is None else [{"variant": "MAIN", "large": f"https://x/{level}.png"}]
    return json.dumps({"parent_asin": product_id, "title": "a thing", "images": images} | fields).encode()


def record(payload: bytes | None, key: bytes | None = None, offset: int = 0, event_ms: int = EVENT_MS) -> Raw:
    position = Position(Partition("products", 0), offset)
    order = Order(event_ms, offset)
    return Envelope(payload, position, order, key, payload, (("h", b"1"),), frozenset())


def stopped(metrics: Metrics) -> Circuits:
    """Of a worker that stops: nothing is tried again."""
    return Circuits(lambda _: True, lambda: 0.0, lambda: 0.0, metrics, probes={}, patience=Patience())


class Stage:
    """A pipeline with its surroundings in reach."""

    def __init__(
        self,
        model_dir: Path,
        cache: MemoryScoreCache | None = None,
        refused: Mapping[str, RecordRejected] | None = None,
    ) -> None:
        self.scorer = BrightnessScorer("image", refused)
        self.cache = cache
        self.store = MemoryScoreStore()
        self.log = MemoryScoreLog()
        self.letters = MemoryDeadLetters()
        self.metrics = Metrics(CollectorRegistry())
        self.pipeline = ScoringPipeline(
            canonicalizer=Canonicalizer(load_contract(model_dir), model_dir),
            images=MemoryImages(PICTURES),
            cache=cache,
            scorer=self.scorer,
            store=self.store,
            score_log=self.log,
            dead_letters=self.letters,
            circuits=stopped(self.metrics),
            fuse=Fuse(window=8, judged_from=8, limit=0.9),
            metrics=self.metrics,
            clock_ms=lambda: NOW_MS,
            max_record_bytes=MAX_BYTES,
        )

    def run(self, *batch: Raw) -> list[Outcome]:
        return self.pipeline.decide(batch)

    def store_digest(self, product_id: str) -> str:
        entry = self.store.entries[product_id]
        assert isinstance(entry, Score)
        return entry.digest

    def count(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def stage(brightness_dir: Path) -> Stage:
    return Stage(brightness_dir)


def kinds(outcomes: Sequence[Outcome]) -> list[OutcomeKind]:
    return [outcome.kind for outcome in outcomes]


def test_a_product_is_scored_stored_and_logged(stage: Stage) -> None:
    (outcome,) = stage.run(record(value("P1"), b"P1", offset=7))
    expected = Score("P1", grey_score(100), Order(EVENT_MS, 7), NOW_MS, frozenset(), stage.store_digest("P1"))

    assert outcome.kind is OutcomeKind.SCORED
    assert outcome.score == expected
    assert stage.store.entries == {"P1": expected}
    assert stage.log.entries == [expected]
    assert stage.letters.letters == []


def test_a_tombstone_deletes(stage: Stage) -> None:
    stage.run(record(value("P1"), b"P1"))
    (outcome,) = stage.run(record(None, b"P1", offset=1))
    tombstone = Tombstone("P1", Order(EVENT_MS, 1))

    assert (outcome.kind, outcome.product_id, outcome.score) == (OutcomeKind.DELETED, "P1", None)
    assert stage.store.entries == {"P1": tombstone}
    assert stage.log.entries[-1] == tombstone


def test_an_older_record_is_superseded_and_not_logged(stage: Stage) -> None:
    stage.run(record(value("P1"), event_ms=EVENT_MS))
    (outcome,) = stage.run(record(value("P1", 200), event_ms=EVENT_MS - 1))

    assert (outcome.kind, outcome.product_id, outcome.score) == (OutcomeKind.SUPERSEDED, "P1", None)
    assert len(stage.log.entries) == 1


def test_a_late_record_does_not_bring_a_deleted_product_back(stage: Stage) -> None:
    stage.run(record(None, b"P1", event_ms=EVENT_MS))
    assert kinds(stage.run(record(value("P1"), event_ms=EVENT_MS - 1))) == [OutcomeKind.SUPERSEDED]


REJECTED: list[tuple[Raw, RejectReason]] = [
    (record(b"{broken"), RejectReason.NOT_JSON),
    (record(b"\xff\xfe\x00"), RejectReason.NOT_UTF8),
    (record(b"[1]"), RejectReason.NOT_OBJECT),
    (record(b'{"title": "no id"}'), RejectReason.NO_ID),
    (record(b"x" * (MAX_BYTES + 1)), RejectReason.TOO_LARGE),
    (record(value("P1"), b"P2"), RejectReason.KEY_MISMATCH),
    (record(value("P1"), b""), RejectReason.KEY_MISMATCH),
    (record(value("P1"), b"\xff"), RejectReason.KEY_MISMATCH),
    (record(None, None), RejectReason.NO_ID),
    (record(None, b""), RejectReason.NO_ID),
    (record(None, b"a\x00b"), RejectReason.NO_ID),
    (record(None, b"x" * 300), RejectReason.NO_ID),
    (record(None, b"\xff"), RejectReason.NOT_UTF8),
]


@pytest.mark.parametrize(("bad", "reason"), REJECTED)
def test_what_is_no_product_goes_to_the_dead_letters(stage: Stage, bad: Raw, reason: RejectReason) -> None:
    (outcome,) = stage.run(bad)
    ((envelope, rejection),) = stage.letters.letters

    assert outcome.kind is OutcomeKind.REJECTED
    assert outcome.rejection == rejection
    assert (rejection.reason, rejection.stage) == (reason, "parse")
    assert envelope == bad
    assert (stage.store.entries, stage.log.entries) == ({}, [])


def test_a_record_without_a_key_is_scored_under_its_own_id(stage: Stage) -> None:
    (outcome,) = stage.run(record(value("P1"), key=None))
    assert (outcome.kind, outcome.product_id) == (OutcomeKind.SCORED, "P1")


def test_one_bad_record_among_good_ones_costs_only_itself(stage: Stage) -> None:
    batch = [record(value(f"P{number}"), offset=number) for number in range(9)]
    batch.insert(4, record(b"\x00\x01", b"k", offset=99))
    outcomes = stage.run(*batch)

    assert kinds(outcomes) == [OutcomeKind.SCORED] * 4 + [OutcomeKind.REJECTED] + [OutcomeKind.SCORED] * 5
    assert [outcome.position for outcome in outcomes] == [each.position for each in batch]
    assert stage.letters.letters[0][0].value == b"\x00\x01"
    assert len(stage.store.entries) == 9


def test_a_row_the_model_refuses_is_rejected_alone(brightness_dir: Path) -> None:
    probe = Stage(brightness_dir)
    probe.run(record(value("P1", 10)))
    refusal = RecordRejected(RejectReason.MODEL_ERROR, "score", "no")
    stage = Stage(brightness_dir, refused={probe.store_digest("P1"): refusal})
    outcomes = stage.run(record(value("P1", 10)), record(value("P2", 200)))

    assert kinds(outcomes) == [OutcomeKind.REJECTED, OutcomeKind.SCORED]
    assert outcomes[0].rejection is not None
    assert (outcomes[0].rejection.reason, outcomes[0].product_id) == (RejectReason.MODEL_ERROR, "P1")
    assert stage.letters.letters[0][0].value == value("P1", 10)


def test_a_dead_image_is_scored_and_flagged(stage: Stage) -> None:
    (outcome,) = stage.run(record(value("P1", 99)))

    assert outcome.score is not None
    assert outcome.score.flags == {Flag.NO_IMAGE}
    assert outcome.image_reason == "not_found"
    assert stage.count("adgauge_images_total", result="not_found") == 1


def test_a_clamped_event_time_is_flagged_on_the_score(stage: Stage) -> None:
    envelope = record(value("P1"))
    clamped = Envelope(
        envelope.payload,
        envelope.position,
        envelope.order,
        None,
        envelope.value,
        (),
        frozenset({Flag.EVENT_CLAMPED}),
    )
    (outcome,) = stage.run(clamped)

    assert outcome.score is not None
    assert outcome.score.flags == {Flag.EVENT_CLAMPED}


def test_equal_content_in_a_batch_is_scored_once(stage: Stage) -> None:
    outcomes = stage.run(record(value("P1", 100)), record(value("P2", 100)), record(value("P3", 200)))

    assert stage.scorer.rows == 2
    assert [outcome.score.value for outcome in outcomes if outcome.score] == [
        grey_score(100),
        grey_score(100),
        grey_score(200),
    ]
    assert stage.count("adgauge_cache_lookups_total", result="duplicate") == 1


def test_known_content_is_not_scored_again(brightness_dir: Path) -> None:
    stage = Stage(brightness_dir, cache=MemoryScoreCache())
    stage.run(record(value("P1", 100)))
    (outcome,) = stage.run(record(value("P2", 100)))

    assert stage.scorer.rows == 1
    assert outcome.score is not None
    assert outcome.score.value == grey_score(100)
    assert stage.count("adgauge_source_lookups_total", result="unchanged") == 1


def test_several_versions_of_a_product_in_a_batch_leave_the_newest(stage: Stage) -> None:
    outcomes = stage.run(
        record(value("P1", 10), offset=0, event_ms=EVENT_MS),
        record(None, b"P1", offset=1, event_ms=EVENT_MS + 2),
        record(value("P1", 200), offset=2, event_ms=EVENT_MS + 1),
    )

    assert kinds(outcomes) == [OutcomeKind.SCORED, OutcomeKind.DELETED, OutcomeKind.SUPERSEDED]
    assert stage.store.entries == {"P1": Tombstone("P1", Order(EVENT_MS + 2, 1))}


def test_an_empty_batch_has_no_outcomes(stage: Stage) -> None:
    assert stage.run() == []


def test_running_a_batch_again_ends_the_same(stage: Stage) -> None:
    batch = [record(value("P1")), record(b"{"), record(None, b"P2")]
    assert kinds(stage.run(*batch)) == kinds(stage.run(*batch))


def test_outcomes_and_freshness_are_counted(stage: Stage) -> None:
    stage.run(record(value("P1")), record(b"{"), record(None, b"P2"), record(value("P1"), event_ms=1))

    assert stage.count("adgauge_records_total", outcome="scored", reason="") == 1
    assert stage.count("adgauge_records_total", outcome="deleted", reason="") == 1
    assert stage.count("adgauge_records_total", outcome="superseded", reason="") == 1
    assert stage.count("adgauge_records_total", outcome="rejected", reason="not_json") == 1
    assert stage.count("adgauge_freshness_seconds_sum") == pytest.approx(2.5)
    assert stage.count("adgauge_stage_seconds_count", stage="score") == 1


class Breaking:
    """Fails from a given call on; what is written before stays written."""

    def __init__(self, calls: list[str], name: str, breaks: bool) -> None:
        self._calls = calls
        self._name = name
        self._breaks = breaks

    def _called(self) -> None:
        self._calls.append(self._name)
        if self._breaks:
            raise BackendUnavailable(self._name, "away")

    def append(self, entries: Sequence[Score | Tombstone]) -> None:
        self._called()

    def put(self, entries: Sequence[object]) -> Sequence[bool]:
        self._called()
        return [True] * len(entries)

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("broken", "reached"),
    [
        ("store", ["store"]),
        ("log", ["store", "log"]),
        ("letters", ["store", "log", "letters"]),
        ("", ["store", "log", "letters"]),
    ],
)
def test_outcomes_come_after_store_log_and_dead_letters_in_this_order(
    brightness_dir: Path, broken: str, reached: list[str]
) -> None:
    calls: list[str] = []
    metrics = Metrics(CollectorRegistry())
    pipeline = ScoringPipeline(
        canonicalizer=Canonicalizer(load_contract(brightness_dir), brightness_dir),
        images=MemoryImages(PICTURES),
        cache=None,
        scorer=BrightnessScorer("image"),
        store=Breaking(calls, "store", broken == "store"),
        score_log=Breaking(calls, "log", broken == "log"),
        dead_letters=Breaking(calls, "letters", broken == "letters"),  # type: ignore[arg-type]  # put returns
        circuits=stopped(metrics),
        fuse=Fuse(window=8, judged_from=8, limit=0.9),
        metrics=metrics,
        clock_ms=lambda: NOW_MS,
        max_record_bytes=MAX_BYTES,
    )
    batch = [record(value("P1")), record(b"{")]
    if broken:
        with pytest.raises(BackendUnavailable, match=broken):
            pipeline.run(batch)
    else:
        assert len(pipeline.run(batch)) == 2

    assert calls == reached


def test_too_many_rejects_stop_the_worker_before_anything_is_written(stage: Stage) -> None:
    with pytest.raises(BackendUnavailable, match="100% of the last 8 records were rejected"):
        stage.run(*(record(b"{", offset=number) for number in range(8)))

    assert (stage.letters.letters, stage.log.entries, stage.store.entries) == ([], [], {})
