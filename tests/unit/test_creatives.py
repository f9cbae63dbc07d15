"""What was seen before is recognized, and a record whose pictures take long holds nobody up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
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
from adgauge.contract import ImageSpec
from adgauge.errors import BackendUnavailable
from adgauge.pipeline import creatives
from adgauge.pipeline.circuit import Circuits, Patience
from adgauge.pipeline.creatives import Asked, Gathered
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.scoring import ScoringPipeline, Work
from adgauge.records import (
    Envelope,
    Flag,
    ImageMissing,
    ImageResult,
    Loaded,
    Order,
    Outcome,
    Partition,
    Picture,
    Position,
    Score,
    Tombstone,
    Validators,
    Wanted,
)
from adgauge.telemetry.metrics import Metrics
from tests.contracts import contract, image_spec

SIDE = 8


def grey(level: int) -> ImageResult:
    return np.full((3, SIDE, SIDE), level, np.uint8)


def rating(*levels: int) -> object:
    """Of a product with two pictures."""
    return pytest.approx(1.0 + 4.0 * sum(levels) / 2 / 255.0)


class World:
    """A pipeline of a model of text and two pictures, or others."""

    def __init__(
        self,
        folder: Path,
        late: Mapping[str, Future[Loaded]] | None = None,
        image: ImageSpec | None = None,
    ) -> None:
        made = contract(folder, image=image or image_spec(count=2, side=SIDE))
        self.images = MemoryImages({"a": grey(10), "b": grey(20), "c": grey(30)}, late)
        self.scorer = BrightnessScorer("image")
        self.cache = MemoryScoreCache()
        self.store = MemoryScoreStore()
        self.log = MemoryScoreLog()
        self.metrics = Metrics(CollectorRegistry())
        self.pipeline = ScoringPipeline(
            canonicalizer=Canonicalizer(made, folder),
            images=self.images,
            cache=self.cache,
            scorer=self.scorer,
            store=self.store,
            score_log=self.log,
            dead_letters=MemoryDeadLetters(),
            circuits=Circuits(
                lambda _: True, lambda: 0.0, lambda: 0.0, self.metrics, probes={}, patience=Patience()
            ),
            fuse=Fuse(window=8, judged_from=8, limit=0.9),
            metrics=self.metrics,
            clock_ms=lambda: 1_000,
            max_record_bytes=10_000,
        )
        self._offset = 0

    def record(self, name: str, *urls: str, title: str = "red shoe") -> Envelope[bytes | None]:
        self._offset += 1
        product = {"parent_asin": name, "title": title, "images": [{"large": url} for url in urls]}
        data = json.dumps(product).encode()
        order = Order(1_000, self._offset)
        position = Position(Partition("products", 0), self._offset)
        return Envelope(data, position, order, name.encode(), data, (), frozenset())

    def run(self, *batch: Work) -> list[Outcome | Envelope[Asked | Gathered]]:
        return self.pipeline.run(batch)

    def late(self, record: Work) -> Envelope[Asked | Gathered]:
        (late,) = self.run(record)
        assert isinstance(late, Envelope)
        return late

    def score(self, name: str, *urls: str, title: str = "red shoe") -> Score:
        (outcome,) = self.run(self.record(name, *urls, title=title))
        assert isinstance(outcome, Outcome)
        assert outcome.score is not None
        return outcome.score

    def sources(self, result: str) -> float | None:
        return self.metrics.registry.get_sample_value("adgauge_source_lookups_total", {"result": result})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


class TestRecognizing:
    def test_an_unchanged_creative_is_stored_in_its_new_order_without_the_model(self, world: World) -> None:
        first = world.score("P", "a", "b")
        second = world.score("P", "a", "b")

        assert (second.value, second.digest, second.flags) == (first.value, first.digest, first.flags)
        assert second.order > first.order
        assert world.store.entries["P"] == second
        assert world.scorer.rows == 1
        assert world.sources("unchanged") == 1

    def test_a_text_that_changed_is_scored_again(self, world: World) -> None:
        world.score("P", "a", "b")
        world.score("P", "a", "b", title="blue bag")
        assert (world.scorer.rows, world.sources("miss")) == (2, 2)

    def test_what_the_model_does_not_see_does_not_count(self, world: World) -> None:
        world.score("P", "a", "b", "x")
        world.score("P", "a", "b", "y")
        assert world.scorer.rows == 1

    def test_references_in_another_order_are_another_creative(self, world: World) -> None:
        assert world.score("P", "a", "b").digest != world.score("P", "b", "a").digest

    def test_of_two_pictures_one_that_changed_behind_its_url_is_enough(self, world: World) -> None:
        world.score("P", "a", "b")
        world.images.pictures["b"] = grey(200)
        assert world.score("P", "a", "b").value == rating(10, 200)
        assert world.scorer.rows == 2
        assert world.sources("changed") == 1
        assert world.score("P", "a", "b").value == rating(10, 200)
        assert world.sources("unchanged") == 1

    def test_a_picture_that_is_gone_is_noticed(self, world: World) -> None:
        world.score("P", "a", "b")
        del world.images.pictures["b"]
        assert world.score("P", "a", "b").value == rating(10, 0)

    def test_a_creative_without_all_its_pictures_is_not_remembered(self, world: World) -> None:
        world.score("P", "a", "nothing")
        assert world.cache.creatives == {}
        world.images.pictures["nothing"] = grey(40)
        assert world.score("P", "a", "nothing").value == rating(10, 40)

    def test_another_picture_with_the_same_pixels_is_known_content(self, world: World) -> None:
        world.images.pictures["a2"] = grey(10)
        first, second = world.score("P", "a", "b"), world.score("P", "a2", "b")
        assert first.digest == second.digest
        assert world.scorer.rows == 1

    def test_a_product_without_pictures_needs_no_source(self, world: World) -> None:
        world.score("P")
        world.score("P")
        assert world.scorer.rows == 1
        assert world.cache.creatives == {}

    def test_identical_creatives_in_one_batch_are_scored_once(self, world: World) -> None:
        world.run(*(world.record(f"P{number}", "a", "b") for number in range(5)))
        assert world.scorer.rows == 1
        assert len(world.store.entries) == 5


class TestChoosing:
    """A model that is shown the two most salient of four pictures."""

    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        chosen = {"candidates": 4, "selection": "salient"}
        spec = ImageSpec.model_validate(dict(image_spec(count=2, side=SIDE)) | chosen)
        world = World(tmp_path, image=spec)
        world.images.pictures |= {"half": half(100), "quarter": half(50)}
        return world

    def test_of_four_pictures_two_are_shown(self, world: World) -> None:
        assert world.score("P", "a", "half", "b", "quarter").value == rating(50, 25)
        assert world.images.asked == 4

    def test_an_unchanged_creative_is_recognized_by_all_four(self, world: World) -> None:
        first = world.score("P", "a", "half", "b", "quarter")
        second = world.score("P", "a", "half", "b", "quarter")
        assert (second.value, second.digest) == (first.value, first.digest)
        assert (world.scorer.rows, world.sources("unchanged")) == (1, 1)
        (creative,) = world.cache.creatives.values()
        assert len(creative.validators) == 4

    def test_one_that_was_not_shown_and_changed_may_be_the_better_one_now(self, world: World) -> None:
        world.score("P", "a", "half", "b", "quarter")
        world.images.pictures["b"] = half(200)
        assert world.score("P", "a", "half", "b", "quarter").value == rating(50, 100)
        assert (world.scorer.rows, world.sources("changed")) == (2, 1)

    def test_one_that_was_not_shown_and_is_still_not_is_known_content(self, world: World) -> None:
        first = world.score("P", "a", "half", "b", "quarter")
        world.images.pictures["b"] = grey(201)
        assert world.score("P", "a", "half", "b", "quarter").digest == first.digest
        assert world.scorer.rows == 1
        world.score("P", "a", "half", "b", "quarter")
        assert world.sources("unchanged") == 1

    def test_while_a_candidate_is_missing_nothing_is_remembered_by_its_references(self, world: World) -> None:
        assert world.score("P", "a", "half", "nothing", "quarter").value == rating(50, 25)
        assert world.cache.creatives == {}
        assert world.score("P", "half", "quarter").value == rating(50, 25)
        assert world.scorer.rows == 1


def half(level: int) -> ImageResult:
    """Black above, grey below: more to see than on an even picture."""
    pixels = np.zeros((3, SIDE, SIDE), np.uint8)
    pixels[:, SIDE // 2 :] = level
    return pixels


def test_why_there_is_no_picture_is_said_in_the_score_log(world: World) -> None:
    world.score("P", "nothing")
    world.score("Q")
    world.score("R", "a", "nothing")
    assert [entry.image_reason for entry in world.log.entries if isinstance(entry, Score)] == [
        "not_found",
        "no_reference",
        None,
    ]


class TestLate:
    @pytest.fixture
    def slow(self) -> Future[Loaded]:
        return Future()

    @pytest.fixture
    def world(self, tmp_path: Path, slow: Future[Loaded]) -> World:
        return World(tmp_path, {"slow": slow})

    def test_others_do_not_wait_for_a_slow_picture(self, world: World, slow: Future[Loaded]) -> None:
        batch = [world.record("P", "a"), world.record("Q", "slow"), world.record("R", "b")]
        first, late, third = world.run(*batch)

        assert isinstance(first, Outcome)
        assert isinstance(third, Outcome)
        assert isinstance(late, Envelope)
        assert (late.position, late.key, late.value) == (batch[1].position, batch[1].key, batch[1].value)
        assert set(world.store.entries) == {"P", "R"}

        told: list[int] = []
        late.payload.then(lambda: told.append(1))
        assert told == []
        slow.set_result(Picture(grey(90), Validators(sha256="s")))  # type: ignore[arg-type]  # pixels
        assert told
        (outcome,) = world.pipeline.run([late])
        assert isinstance(outcome, Outcome)
        assert outcome.position == batch[1].position
        assert world.store.entries["Q"].value == rating(90, 0)  # type: ignore[union-attr]  # a score

    def test_a_picture_that_comes_while_the_others_are_decided_is_for_a_later_batch(
        self, world: World, slow: Future[Loaded], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put = world.store.put

        def put_late(entries: Sequence[Score | Tombstone]) -> Sequence[bool]:
            slow.set_result(ImageMissing("timeout", "too slow"))
            return put(entries)

        monkeypatch.setattr(world.store, "put", put_late)
        late, outcome = world.run(world.record("Q", "slow"), world.record("P", "a"))
        assert isinstance(late, Envelope)
        assert isinstance(outcome, Outcome)
        told: list[int] = []
        late.payload.then(lambda: told.append(1))
        assert told

    def test_one_that_is_still_not_there_is_given_back_again(self, world: World) -> None:
        late = world.late(world.record("Q", "slow"))
        (again,) = world.pipeline.run([late])
        assert isinstance(again, Envelope)
        assert world.images.asked == 1

    def test_a_picture_that_failed_in_the_end_is_missing(self, world: World, slow: Future[Loaded]) -> None:
        late = world.late(world.record("Q", "slow"))
        slow.set_result(ImageMissing("timeout", "too slow"))
        (outcome,) = world.pipeline.run([late])
        assert isinstance(outcome, Outcome)
        assert outcome.image_reason == "timeout"
        assert outcome.score is not None
        assert Flag.NO_IMAGE in outcome.score.flags

    def test_those_who_have_no_runner_do_not_wait_for_ever_when_nothing_can_be_had(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        begin = world.images.begin

        def begin_until_away(wanted: Sequence[Wanted]) -> Sequence[Future[Loaded]]:
            if not wanted:
                raise BackendUnavailable("images", "everything fails")
            return begin(wanted)

        monkeypatch.setattr(world.images, "begin", begin_until_away)
        monkeypatch.setattr(creatives, "LOOK_S", 0.05)
        with pytest.raises(BackendUnavailable, match="everything fails"):
            world.pipeline.decide([world.record("Q", "slow")])

    def test_those_who_have_no_runner_wait(self, world: World, slow: Future[Loaded]) -> None:
        slow.set_result(ImageMissing("timeout", "too slow"))
        outcomes = world.pipeline.decide([world.record("P", "a"), world.record("Q", "slow")])
        assert [outcome.image_reason for outcome in outcomes] == [None, "timeout"]
