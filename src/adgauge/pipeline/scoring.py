"""The way of a record, as plain calls. `ScoringPipeline.run` is the README's diagram, top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client.context_managers import Timer

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.errors import RecordRejected, RejectReason
from adgauge.pipeline.circuit import FUSE, Circuits
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.ports import DeadLetters, Images, ScoreCache, ScoreLog, Scorer, ScoreStore
from adgauge.product import ProductRecord, parse_id, parse_product
from adgauge.records import (
    CanonicalInput,
    Envelope,
    ImageMissing,
    ImageResult,
    Outcome,
    OutcomeKind,
    Rejection,
    Score,
    Tombstone,
)
from adgauge.telemetry.metrics import CacheResult, Metrics, Stage

Raw = Envelope[bytes | None]
Ended = Tombstone | RecordRejected
"""What needs no score: a deletion, or a record that can never have one."""
Entry = Score | Tombstone | RecordRejected
"""What there is to write down about a record."""

NO_REFERENCE = "no_reference"
"""Why a product has no picture that names none."""

A = TypeVar("A")
B = TypeVar("B")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product in canonical form, ready to be scored."""

    product_id: str
    canonical: CanonicalInput
    image_reason: str | None


class ScoringPipeline:
    """Records → outcomes. Holds no state between batches; `run` is called from several threads at once.

    `cache` None: no content look-up. `clock_ms` is the time of day in milliseconds.
    """

    def __init__(
        self,
        *,
        canonicalizer: Canonicalizer,
        images: Images,
        cache: ScoreCache | None,
        scorer: Scorer,
        store: ScoreStore,
        score_log: ScoreLog,
        dead_letters: DeadLetters,
        circuits: Circuits,
        fuse: Fuse,
        metrics: Metrics,
        clock_ms: Callable[[], int],
        max_record_bytes: int,
    ) -> None:
        self._canonicalizer = canonicalizer
        self._images = images
        self._cache = cache
        self._scorer = scorer
        self._store = store
        self._score_log = score_log
        self._dead_letters = dead_letters
        self._call = circuits.call
        self._fuse = fuse
        self._metrics = metrics
        self._clock_ms = clock_ms
        self._max_record_bytes = max_record_bytes

    def run(self, batch: Sequence[Raw]) -> list[Outcome]:
        """Exactly one outcome per record, in order, when all that follows from it is acknowledged: after that
        the runner commits.

        Raises BackendUnavailable when the worker stops while a server is away, and ContractMismatch. Then
        nothing of the batch may be committed, and running it again is harmless.
        """
        parsed = self._parse(batch)
        canonical = _advance(self._canonicalize, parsed)
        entries = _advance(self._score, canonical)
        self._require_sound(entries)
        kinds = self._put(entries)
        self._append(entries, kinds)
        self._bury(batch, entries)
        steps = zip(batch, parsed, canonical, entries, kinds, strict=True)
        return [self._outcome(*each) for each in steps]

    def _parse(self, batch: Sequence[Raw]) -> list[Envelope[ProductRecord] | Ended]:
        """Bytes → product; a null value deletes the product that the key names."""
        with self._stage(Stage.PARSE):
            return [_parse_record(envelope, self._max_record_bytes) for envelope in batch]

    def _canonicalize(
        self, envelopes: Sequence[Envelope[ProductRecord]]
    ) -> list[Envelope[Candidate] | RecordRejected]:
        """Choose the pictures, get and decode them, then the contract's arrays: pixels and token ids."""
        products = [envelope.payload for envelope in envelopes]
        references = [self._canonicalizer.image_references(product) for product in products]
        with self._stage(Stage.IMAGES):
            images = self._call("images", lambda: self._images.load(references))
        for image in (image for of_product in images for image in of_product):
            result = image.reason if isinstance(image, ImageMissing) else "ok"
            self._metrics.images.labels(result).inc()
        with self._stage(Stage.CANONICALIZE):
            results = self._canonicalizer.canonicalize(products, images)
        return [
            result
            if isinstance(result, RecordRejected)
            else envelope.carrying(Candidate(envelope.payload.parent_asin, result, _why_no_image(found)))
            for envelope, result, found in zip(envelopes, results, images, strict=True)
        ]

    def _score(self, envelopes: Sequence[Envelope[Candidate]]) -> list[Score | RecordRejected]:
        """Rate what is not known yet: equal content is looked up once and scored once."""
        inputs = {envelope.payload.canonical.digest: envelope.payload.canonical for envelope in envelopes}
        known = self._look_up(list(inputs))
        missing = [canonical for digest, canonical in inputs.items() if digest not in known]
        self._count_look_ups(len(known), len(missing), len(envelopes) - len(inputs))
        ratings = known | self._predict(missing)
        return [self._scored(envelope, ratings[envelope.payload.canonical.digest]) for envelope in envelopes]

    def _look_up(self, digests: Sequence[str]) -> dict[str, float | RecordRejected]:
        """Ratings of content that was scored before; none without a content cache."""
        if self._cache is None or not digests:
            return {}
        with self._stage(Stage.CACHE):
            found = zip(digests, self._cache.get(digests), strict=True)
        return {digest: rating for digest, rating in found if rating is not None}

    def _predict(self, inputs: Sequence[CanonicalInput]) -> dict[str, float | RecordRejected]:
        """Have the model rate each input, by digest."""
        if not inputs:
            return {}
        with self._stage(Stage.SCORE):
            results = self._call("triton", lambda: self._scorer.score(inputs))
        ratings = {each.digest: result for each, result in zip(inputs, results, strict=True)}
        if self._cache is not None:
            self._cache.put({key: value for key, value in ratings.items() if isinstance(value, float)})
        return ratings

    def _scored(
        self, envelope: Envelope[Candidate], rating: float | RecordRejected
    ) -> Score | RecordRejected:
        if isinstance(rating, RecordRejected):
            return rating
        product_id, canonical = envelope.payload.product_id, envelope.payload.canonical
        flags = canonical.flags | envelope.flags
        return Score(product_id, rating, envelope.order, self._clock_ms(), flags, canonical.digest)

    def _require_sound(self, entries: Sequence[Entry]) -> None:
        """Stop here when too many records are rejected: then nothing of the batch is written or committed."""
        reasons = [entry.reason if isinstance(entry, RecordRejected) else None for entry in entries]
        self._call(FUSE, lambda: self._fuse.admit(reasons))

    def _put(self, entries: Sequence[Entry]) -> list[OutcomeKind]:
        """Store scores and tombstones; the store keeps the newer of two versions, atomically."""
        kept = [entry for entry in entries if not isinstance(entry, RecordRejected)]
        if not kept:
            return [OutcomeKind.REJECTED] * len(entries)
        with self._stage(Stage.STORE):
            stored = iter(self._call("redis", lambda: self._store.put(kept)))
        kinds = [_kind(entry, stored) for entry in entries]
        self._observe_freshness(entries, kinds)
        return kinds

    def _append(self, entries: Sequence[Entry], kinds: Sequence[OutcomeKind]) -> None:
        """Write the score log: the history of what became readable or was deleted."""
        stored = [
            entry
            for entry, kind in zip(entries, kinds, strict=True)
            if not isinstance(entry, RecordRejected) and kind is not OutcomeKind.SUPERSEDED
        ]
        if stored:
            with self._stage(Stage.LOG):
                self._call("kafka", lambda: self._score_log.append(stored))

    def _bury(self, batch: Sequence[Raw], entries: Sequence[Entry]) -> None:
        """Write the dead letters: what can never be scored, its bytes as they came, and the reason."""
        rejected = [
            (envelope, _rejection(entry))
            for envelope, entry in zip(batch, entries, strict=True)
            if isinstance(entry, RecordRejected)
        ]
        if rejected:
            with self._stage(Stage.DEAD_LETTERS):
                self._call("kafka", lambda: self._dead_letters.put(rejected))

    def _observe_freshness(self, entries: Sequence[Entry], kinds: Sequence[OutcomeKind]) -> None:
        now_ms = self._clock_ms()
        for entry, kind in zip(entries, kinds, strict=True):
            if kind is OutcomeKind.SCORED and isinstance(entry, Score):
                self._metrics.freshness_seconds.observe(max(now_ms - entry.order.event_ms, 0) / 1000)

    def _count_look_ups(self, hits: int, misses: int, duplicates: int) -> None:
        counts = {CacheResult.HIT: hits, CacheResult.MISS: misses, CacheResult.DUPLICATE: duplicates}
        for result, count in counts.items():
            self._metrics.cache_lookups.labels(result).inc(count)

    def _outcome(
        self,
        envelope: Raw,
        parsed: Envelope[ProductRecord] | Ended,
        canonical: Envelope[Candidate] | Ended,
        entry: Entry,
        kind: OutcomeKind,
    ) -> Outcome:
        score = entry if isinstance(entry, Score) and kind is OutcomeKind.SCORED else None
        rejection = _rejection(entry) if isinstance(entry, RecordRejected) else None
        self._metrics.records.labels(kind, rejection.reason if rejection else "").inc()
        image_reason = canonical.payload.image_reason if isinstance(canonical, Envelope) else None
        return Outcome(kind, envelope.position, _product_id(parsed), score, rejection, image_reason)

    def _stage(self, stage: Stage) -> Timer:
        return self._metrics.stage_seconds.labels(stage).time()


def _advance(
    step: Callable[[list[A]], Sequence[B | RecordRejected]], items: Sequence[A | Ended]
) -> list[B | Ended]:
    """Take the step with the records that go on; the others stay as they ended."""
    results = iter(step([item for item in items if not isinstance(item, Ended)]))
    return [item if isinstance(item, Ended) else next(results) for item in items]


def _parse_record(envelope: Raw, max_bytes: int) -> Envelope[ProductRecord] | Ended:
    try:
        if envelope.payload is None:
            return Tombstone(_id_of_key(envelope.key), envelope.order)
        product = parse_product(envelope.payload, max_bytes)
        _require_key_of(product, envelope.key)
    except RecordRejected as rejected:
        return rejected
    return envelope.carrying(product)


def _id_of_key(key: bytes | None) -> str:
    """The product that a tombstone deletes."""
    if key is None:
        raise RecordRejected(RejectReason.NO_ID, Stage.PARSE, "a deletion needs the product's id as its key")
    try:
        return parse_id(key.decode())
    except UnicodeDecodeError as exc:
        raise RecordRejected(RejectReason.NOT_UTF8, Stage.PARSE, f"key: {exc.reason}") from exc


def _require_key_of(product: ProductRecord, key: bytes | None) -> None:
    # A record under another product's key would be ordered and compacted with that product.
    if key is not None and key != product.parent_asin.encode():
        detail = f"key {key[:64]!r} is not parent_asin {product.parent_asin[:64]!r}"
        raise RecordRejected(RejectReason.KEY_MISMATCH, Stage.PARSE, detail)


def _kind(entry: Entry, stored: Iterator[bool]) -> OutcomeKind:
    if isinstance(entry, RecordRejected):
        return OutcomeKind.REJECTED
    if not next(stored):
        return OutcomeKind.SUPERSEDED
    return OutcomeKind.SCORED if isinstance(entry, Score) else OutcomeKind.DELETED


def _product_id(parsed: Envelope[ProductRecord] | Ended) -> str | None:
    if isinstance(parsed, Envelope):
        return parsed.payload.parent_asin
    return parsed.product_id if isinstance(parsed, Tombstone) else None


def _why_no_image(images: Sequence[ImageResult]) -> str | None:
    """Why none of a product's pictures is there; None where one is."""
    reasons = [image.reason for image in images if isinstance(image, ImageMissing)]
    if len(reasons) < len(images):
        return None
    return reasons[0] if reasons else NO_REFERENCE


def _rejection(rejected: RecordRejected) -> Rejection:
    return Rejection(rejected.reason, rejected.stage, rejected.detail)
