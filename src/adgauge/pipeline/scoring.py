"""The way of a record, as plain calls. `ScoringPipeline.run` is the README's diagram, top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from prometheus_client.context_managers import Timer

from adgauge.canonical.canonicalizer import Canonicalizer
from adgauge.errors import RecordRejected, RejectReason
from adgauge.pipeline.circuit import FUSE, Circuits
from adgauge.pipeline.creatives import Asked, Candidate, Creatives, Gathered
from adgauge.pipeline.fuse import Fuse
from adgauge.pipeline.ports import DeadLetters, Images, ScoreCache, ScoreLog, Scorer, ScoreStore
from adgauge.product import ProductRecord, parse_id, parse_product
from adgauge.records import (
    CanonicalInput,
    Creative,
    Envelope,
    Outcome,
    OutcomeKind,
    Rejection,
    Score,
    Tombstone,
)
from adgauge.telemetry.metrics import CacheResult, Metrics, Stage

Raw = Envelope[bytes | None]
Work = Raw | Envelope[Asked | Gathered]
"""A record as it came, or one whose pictures were asked for before."""
Ended = Tombstone | RecordRejected
"""What needs no score: a deletion, or a record that can never have one."""
Entry = Score | Tombstone | RecordRejected
"""What there is to write down about a record."""

IMAGES_WAIT_S = 0.02
"""A batch waits so long for its pictures; records whose pictures take longer go on in a later one."""

A = TypeVar("A")
B = TypeVar("B")


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
        self._creatives = Creatives(canonicalizer, images, cache, circuits, metrics)
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

    def run(self, batch: Sequence[Work]) -> list[Outcome | Envelope[Asked | Gathered]]:
        """For each record, in order: its one outcome, when all that follows from it is acknowledged, so that
        the runner commits; or the record again, with the pictures that it waits for, to be run once they are
        there.

        Raises BackendUnavailable when the worker stops while a server is away, and ContractMismatch. Then
        nothing of the batch may be committed, and running it again is harmless.
        """
        return self._run(batch, IMAGES_WAIT_S)

    def decide(self, batch: Sequence[Raw]) -> list[Outcome]:
        """Like `run`, and waits for every picture: for those who have no runner."""
        return [each for each in self._run(batch, None) if isinstance(each, Outcome)]

    def _run(
        self, batch: Sequence[Work], patience_s: float | None
    ) -> list[Outcome | Envelope[Asked | Gathered]]:
        gathered = self._gather(self._parse(batch), patience_s)
        waits = _waits(gathered)
        going = [at for at, wait in enumerate(waits) if not wait]
        outcomes = iter(self._decide([batch[at] for at in going], [gathered[at] for at in going]))
        return [
            each if wait and isinstance(each, Envelope) else next(outcomes)
            for each, wait in zip(gathered, waits, strict=True)
        ]

    def _decide(
        self, batch: Sequence[Work], gathered: Sequence[Envelope[Asked | Gathered] | Ended]
    ) -> list[Outcome]:
        entries = _advance(self._score, _advance(self._canonicalize, gathered))
        self._require_sound(entries)
        kinds = self._put(entries)
        self._append(entries, kinds)
        self._bury(batch, entries)
        return [self._outcome(*each) for each in zip(batch, gathered, entries, kinds, strict=True)]

    def _parse(self, batch: Sequence[Work]) -> list[Envelope[ProductRecord | Asked | Gathered] | Ended]:
        """Bytes → product; a null value deletes the product that the key names."""
        with self._stage(Stage.PARSE):
            return [_parse_record(envelope, self._max_record_bytes) for envelope in batch]

    def _gather(
        self, parsed: Sequence[Envelope[ProductRecord | Asked | Gathered] | Ended], patience_s: float | None
    ) -> list[Envelope[Asked | Gathered] | Ended]:
        """The text in canonical form, what is remembered of the creative, and its pictures."""
        with self._stage(Stage.IMAGES):
            asked = _advance(self._ask, parsed)
            return _advance(partial(self._await, patience_s), asked)

    def _ask(
        self, envelopes: list[Envelope[ProductRecord | Asked | Gathered]]
    ) -> list[Envelope[Asked | Gathered]]:
        new = [each.payload for each in envelopes if isinstance(each.payload, ProductRecord)]
        asked = iter(self._creatives.ask(new))
        return [
            each.carrying(next(asked) if isinstance(each.payload, ProductRecord) else each.payload)
            for each in envelopes
        ]

    def _await(
        self, patience_s: float | None, envelopes: list[Envelope[Asked | Gathered]]
    ) -> list[Envelope[Asked | Gathered]]:
        found = self._creatives.gather([each.payload for each in envelopes], patience_s)
        return [envelope.carrying(each) for envelope, each in zip(envelopes, found, strict=True)]

    def _canonicalize(
        self, envelopes: list[Envelope[Asked | Gathered]]
    ) -> list[Envelope[Candidate] | RecordRejected]:
        """Pixels and token ids, or the rating that is known of them."""
        with self._stage(Stage.CANONICALIZE):
            return [self._candidate(envelope) for envelope in envelopes]

    def _candidate(self, envelope: Envelope[Asked | Gathered]) -> Envelope[Candidate] | RecordRejected:
        if isinstance(envelope.payload, Asked):
            raise AssertionError("late records come again")
        result = self._creatives.canonicalize(envelope.payload)
        return result if isinstance(result, RecordRejected) else envelope.carrying(result)

    def _score(self, envelopes: Sequence[Envelope[Candidate]]) -> list[Score | RecordRejected]:
        """Rate what is not known yet: equal content is looked up once and scored once."""
        candidates = [envelope.payload for envelope in envelopes]
        ratings = self._ratings(candidates)
        self._remember(candidates, ratings)
        return [self._scored(envelope, ratings[envelope.payload.digest]) for envelope in envelopes]

    def _ratings(self, candidates: Sequence[Candidate]) -> dict[str, float | RecordRejected]:
        """Of each content digest."""
        recognized = {each.digest: each.rating for each in candidates if each.rating is not None}
        inputs = {each.digest: each.canonical for each in candidates if each.canonical is not None}
        wanted = [digest for digest in inputs if digest not in recognized]
        known = self._look_up(wanted)
        missing = [inputs[digest] for digest in wanted if digest not in known]
        computed = sum(each.canonical is not None for each in candidates)
        self._count_look_ups(len(known), len(missing), computed - len(wanted))
        return {**recognized, **known, **self._predict(missing)}

    def _look_up(self, digests: Sequence[str]) -> dict[str, float]:
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
        return {each.digest: result for each, result in zip(inputs, results, strict=True)}

    def _remember(
        self, candidates: Sequence[Candidate], ratings: Mapping[str, float | RecordRejected]
    ) -> None:
        if self._cache is None:
            return
        scores, creatives = {}, {}
        for each in candidates:
            rating = ratings[each.digest]
            if isinstance(rating, RecordRejected):
                continue
            if each.canonical is not None:
                scores[each.digest] = rating
            if each.source is not None:
                creatives[each.source] = Creative(each.digest, rating, each.validators)
        if scores or creatives:
            with self._stage(Stage.CACHE):
                self._cache.put(scores, creatives)

    def _scored(
        self, envelope: Envelope[Candidate], rating: float | RecordRejected
    ) -> Score | RecordRejected:
        if isinstance(rating, RecordRejected):
            return rating
        made = envelope.payload
        flags = made.flags | envelope.flags
        return Score(
            made.product_id, rating, envelope.order, self._clock_ms(), flags, made.digest, made.image_reason
        )

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

    def _bury(self, batch: Sequence[Work], entries: Sequence[Entry]) -> None:
        """Write the dead letters: what can never be scored, its bytes as they came, and the reason."""
        rejected = [
            (envelope.carrying(envelope.value), _rejection(entry))
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
        self, envelope: Work, gathered: Envelope[Asked | Gathered] | Ended, entry: Entry, kind: OutcomeKind
    ) -> Outcome:
        score = entry if isinstance(entry, Score) and kind is OutcomeKind.SCORED else None
        rejection = _rejection(entry) if isinstance(entry, RecordRejected) else None
        self._metrics.records.labels(kind, rejection.reason if rejection else "").inc()
        image_reason = entry.image_reason if isinstance(entry, Score) else None
        return Outcome(kind, envelope.position, _product_id(entry, gathered), score, rejection, image_reason)

    def _stage(self, stage: Stage) -> Timer:
        return self._metrics.stage_seconds.labels(stage).time()


def _advance(
    step: Callable[[list[A]], Sequence[B | RecordRejected]], items: Sequence[A | Ended]
) -> list[B | Ended]:
    """Take the step with the records that go on; the others stay as they ended."""
    results = iter(step([item for item in items if not isinstance(item, Ended)]))
    return [item if isinstance(item, Ended) else next(results) for item in items]


def _waits(gathered: Sequence[Envelope[Asked | Gathered] | Ended]) -> list[bool]:
    """Which records are given back: those whose pictures are not there yet. When that is most of them it is
    pictures that take time, and the others go on in a fuller batch.
    """
    late = [isinstance(each, Envelope) and isinstance(each.payload, Asked) for each in gathered]
    return [isinstance(each, Envelope) for each in gathered] if sum(late) > len(late) / 2 else late


def _parse_record(envelope: Work, max_bytes: int) -> Envelope[ProductRecord | Asked | Gathered] | Ended:
    payload = envelope.payload
    if isinstance(payload, Asked | Gathered):
        return envelope.carrying(payload)
    try:
        if payload is None:
            return Tombstone(_id_of_key(envelope.key), envelope.order)
        product = parse_product(payload, max_bytes)
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


def _product_id(entry: Entry, gathered: Envelope[Asked | Gathered] | Ended) -> str | None:
    if not isinstance(entry, RecordRejected):
        return entry.product_id
    payload = gathered.payload if isinstance(gathered, Envelope) else None
    return payload.asked.draft.product_id if isinstance(payload, Gathered) else None


def _rejection(rejected: RecordRejected) -> Rejection:
    return Rejection(rejected.reason, rejected.stage, rejected.detail)
