"""Products → canonical inputs: what was seen before is recognized, the rest gets its pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass

from adgauge.canonical.canonicalizer import Canonicalizer, Draft
from adgauge.errors import BackendUnavailable, RecordRejected
from adgauge.pipeline.circuit import Circuits
from adgauge.pipeline.ports import Images, ScoreCache
from adgauge.product import ProductRecord
from adgauge.records import (
    CanonicalInput,
    Creative,
    Flag,
    ImageMissing,
    ImageResult,
    Loaded,
    Picture,
    Unchanged,
    Validators,
    Wanted,
)
from adgauge.telemetry.metrics import Metrics, SourceResult

LOOK_S = 1.0
NO_REFERENCE = "no_reference"
"""Why a product has no picture that names none."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A product whose pictures were asked for. `known`: what came of it when it was last scored."""

    draft: Draft
    source: str | None
    known: Creative | None
    wanted: tuple[Wanted, ...]
    pictures: tuple[Future[Loaded], ...]

    def done(self) -> bool:
        """Whether every picture is there, or why it is not."""
        return all(picture.done() for picture in self.pictures)

    def then(self, call: Callable[[], object]) -> None:
        """See `runner.Waiting`."""

        def ended(_: object) -> None:
            if self.done():
                call()

        if self.done():
            call()
        for picture in self.pictures:
            picture.add_done_callback(ended)


@dataclass(frozen=True, slots=True)
class Gathered:
    """A product with what became of each of its pictures: all of them are `Unchanged`, or none is."""

    asked: Asked
    loaded: tuple[Loaded, ...]

    def then(self, call: Callable[[], object]) -> None:
        """See `runner.Waiting`."""
        call()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product to be scored: its canonical input, or the rating of content that did not change.

    `source` is set when it is to be remembered by it, with `validators`.
    """

    product_id: str
    digest: str
    flags: frozenset[Flag]
    canonical: CanonicalInput | None
    rating: float | None
    source: str | None
    validators: tuple[Validators, ...]
    image_reason: str | None


class Creatives:
    """The first half of a record's way, between parsing and scoring. Called from several threads at once.

    `cache` None: nothing is recognized.
    """

    def __init__(
        self,
        canonicalizer: Canonicalizer,
        images: Images,
        cache: ScoreCache | None,
        circuits: Circuits,
        metrics: Metrics,
    ) -> None:
        self._canonicalizer = canonicalizer
        self._images = images
        self._cache = cache
        self._call = circuits.call
        self._metrics = metrics

    def ask(self, products: Sequence[ProductRecord]) -> list[Asked]:
        """The text in canonical form, what is remembered of it, and its pictures asked for."""
        drafts = self._canonicalizer.draft(products)
        sources = [self._source(draft) for draft in drafts]
        known = self._recall(sources)
        wanted = [_wanted(draft, creative) for draft, creative in zip(drafts, known, strict=True)]
        pictures = iter(self._begin([each for of_product in wanted for each in of_product]))
        return [
            Asked(*product, tuple(next(pictures) for _ in product[-1]))
            for product in zip(drafts, sources, known, wanted, strict=True)
        ]

    def gather(self, asked: Sequence[Asked | Gathered], patience_s: float | None) -> list[Gathered | Asked]:
        """Each with its pictures; after `patience_s` as it is, where they are not there yet."""
        deadline = None if patience_s is None else time.monotonic() + patience_s
        found: list[Gathered | Asked] = list(asked)
        while True:
            left_s = LOOK_S if deadline is None else max(deadline - time.monotonic(), 0.0)
            waiting = [each for each in found if isinstance(each, Asked)]
            _, late = wait([picture for each in waiting for picture in each.pictures], left_s)
            if late and deadline is None:  # when pictures cannot be had at all the circuit knows when to stop
                self._begin_none()
            found = [self._gathered(each) if isinstance(each, Asked) else each for each in found]
            over = deadline is not None and time.monotonic() >= deadline
            if over or all(isinstance(each, Gathered) for each in found):
                return found

    def canonicalize(self, gathered: Gathered) -> Candidate | RecordRejected:
        """The contract's arrays, or what is known of a creative that did not change."""
        asked, loaded = gathered.asked, gathered.loaded
        self._count(asked, loaded)
        validators = tuple(each.validators for each in loaded if not isinstance(each, ImageMissing))
        is_whole = len(validators) == len(loaded) > 0
        if asked.known is not None and any(isinstance(each, Unchanged) for each in loaded):
            return Candidate(
                asked.draft.product_id,
                asked.known.digest,
                asked.draft.flags,
                canonical=None,
                rating=asked.known.rating,
                source=asked.source if validators != asked.known.validators else None,
                validators=validators,
                image_reason=None,
            )
        canonical = self._canonicalizer.complete(asked.draft, [_image(each) for each in loaded])
        if isinstance(canonical, RecordRejected):
            return canonical
        return Candidate(
            asked.draft.product_id,
            canonical.digest,
            canonical.flags,
            canonical=canonical,
            rating=None,
            source=asked.source if is_whole else None,
            validators=validators,
            image_reason=_why_no_image(loaded),
        )

    def _source(self, draft: Draft) -> str | None:
        return draft.source_digest() if self._cache is not None and draft.references else None

    def _recall(self, sources: Sequence[str | None]) -> list[Creative | None]:
        asked_for = list({source for source in sources if source is not None})
        found = self._cache.recall(asked_for) if self._cache is not None and asked_for else ()
        remembered = dict(zip(asked_for, found, strict=True))
        return [None if source is None else remembered[source] for source in sources]

    def _begin(self, wanted: Sequence[Wanted]) -> Sequence[Future[Loaded]]:
        return self._call("images", lambda: self._images.begin(wanted)) if wanted else ()

    def _begin_none(self) -> None:
        self._call("images", lambda: self._images.begin(()))

    def _gathered(self, asked: Asked) -> Gathered | Asked:
        if not asked.done():
            return asked
        loaded = self._loaded(asked)
        unchanged = [isinstance(each, Unchanged) for each in loaded]
        if any(unchanged) and not all(unchanged):  # the model needs all pictures where one is another
            wanted = tuple(Wanted(each.reference) for each in asked.wanted)
            return Asked(asked.draft, asked.source, asked.known, wanted, tuple(self._begin(wanted)))
        return Gathered(asked, loaded)

    def _loaded(self, asked: Asked) -> tuple[Loaded, ...]:
        pictures: Sequence[Future[Loaded]] = asked.pictures

        def results() -> tuple[Loaded, ...]:
            nonlocal pictures
            try:
                return tuple(picture.result() for picture in pictures)
            except BackendUnavailable:
                pictures = self._images.begin(asked.wanted)
                raise

        return self._call("images", results)

    def _count(self, asked: Asked, loaded: Sequence[Loaded]) -> None:
        for each in loaded:
            self._metrics.images.labels(_result(each)).inc()
        if asked.source is not None:
            recognized = all(isinstance(each, Unchanged) for each in loaded)
            result = SourceResult.UNCHANGED if recognized else SourceResult.CHANGED
            self._metrics.source_lookups.labels(SourceResult.MISS if asked.known is None else result).inc()


def _wanted(draft: Draft, known: Creative | None) -> tuple[Wanted, ...]:
    if known is None or len(known.validators) != len(draft.references):
        return tuple(Wanted(reference) for reference in draft.references)
    pairs = zip(draft.references, known.validators, strict=True)
    return tuple(Wanted(reference, validators) for reference, validators in pairs)


def _image(loaded: Loaded) -> ImageResult:
    if isinstance(loaded, Picture):
        return loaded.pixels
    if isinstance(loaded, ImageMissing):
        return loaded
    raise AssertionError("unchanged pictures come all together, or not at all")


def _result(loaded: Loaded) -> str:
    if isinstance(loaded, ImageMissing):
        return loaded.reason
    return "unchanged" if isinstance(loaded, Unchanged) else "ok"


def _why_no_image(loaded: Sequence[Loaded]) -> str | None:
    """Why none of a product's pictures is there; None where one is."""
    reasons = [each.reason for each in loaded if isinstance(each, ImageMissing)]
    if len(reasons) < len(loaded):
        return None
    return reasons[0] if reasons else NO_REFERENCE
