"""Finding in the log what the store does not hold, and deciding it again. One partition at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass

from adgauge.pipeline.redeciding import LOOK_UPS, Held, Logged, Raw, Redecider, batched, product_of
from adgauge.records import Order, Outcome, OutcomeKind


@dataclass
class Counts:
    """What was found and what became of it."""

    read: int = 0
    products: int = 0
    missing: int = 0
    expired: int = 0
    scored: int = 0
    deleted: int = 0
    superseded: int = 0
    rejected: int = 0

    @property
    def held(self) -> int:
        """Products whose newest version is stored, or a newer one."""
        return self.products - self.missing - self.expired

    def as_dict(self) -> dict[str, int]:
        """For programs."""
        return asdict(self) | {"held": self.held}


@dataclass(frozen=True, slots=True)
class _Version:
    """What is kept of a record until it is known whether it is needed."""

    product_id: str
    order: Order
    needless: bool  # when nothing is held: the store would have forgotten it by now


class Reconciler:
    """Decides again what the store lacks.

    Memory: about 70 bytes for each product of one partition and 300 more for each that is missing.
    `*_lives_ms`: how long the store keeps an entry.
    """

    def __init__(
        self,
        held: Held,
        redecider: Redecider,
        *,
        now_ms: int,
        score_lives_ms: int,
        deletion_lives_ms: int,
        max_record_bytes: int,
        progressed: Callable[[Counts], None],
    ) -> None:
        self.counts = Counts()
        self._held = held
        self._redecider = redecider
        self._now_ms = now_ms
        self._score_lives_ms = score_lives_ms
        self._deletion_lives_ms = deletion_lives_ms
        self._max_record_bytes = max_record_bytes
        self._progressed = progressed

    def find(self, log: Iterable[Logged]) -> dict[str, Order]:
        """The newest version of each product of a partition that the store does not hold."""
        missing: dict[str, _Version] = {}
        seen: set[int] = set()  # hashes: ids would need several times the memory
        for versions in batched(self._versions(log), LOOK_UPS):
            held = self._held(list({each.product_id for each in versions}))
            seen.update(hash(each.product_id) for each in versions)
            for version in versions:
                self._compare(version, held[version.product_id], missing)
            self._progressed(self.counts)
        needed = {name: each.order for name, each in missing.items() if not each.needless}
        self.counts.products += len(seen)
        self.counts.missing += len(needed)
        self.counts.expired += len(missing) - len(needed)
        return needed

    def repair(self, read: Callable[[], Iterable[Logged]], missing: Mapping[str, Order]) -> None:
        """Decide the missing versions; of a product whose newest is rejected, the older ones as well."""
        rejected: dict[str, Order] = {}
        self._run(self._newest(read(), missing), rejected)
        self.counts.rejected += len(rejected)
        if rejected:
            self._run(self._older(read(), rejected), {})

    def _versions(self, log: Iterable[Logged]) -> Iterator[_Version]:
        for logged in log:
            self.counts.read += 1
            name = self._product_id(logged.envelope)
            if name is None:
                self.counts.rejected += 1
                continue
            yield _Version(name, logged.envelope.order, self._is_over(logged))

    def _compare(self, version: _Version, held: Order | None, missing: dict[str, _Version]) -> None:
        known = missing.get(version.product_id)
        if held is not None and held >= version.order:
            if known is not None and known.order <= held:  # a scorer was here meanwhile
                del missing[version.product_id]
            return
        if known is not None and known.order > version.order:
            return
        needless = version.needless and held is None
        missing[version.product_id] = _Version(version.product_id, version.order, needless)

    def _newest(self, log: Iterable[Logged], missing: Mapping[str, Order]) -> Iterator[Raw]:
        for logged in log:
            name = self._product_id(logged.envelope)
            if name is not None and missing.get(name) == logged.envelope.order:
                yield logged.envelope

    def _older(self, log: Iterable[Logged], rejected: Mapping[str, Order]) -> Iterator[Raw]:
        """Versions before a rejected one that are newer than what is held; the store keeps the newest."""
        for logged in log:
            name, order = self._product_id(logged.envelope), logged.envelope.order
            if name is None or name not in rejected or order >= rejected[name]:
                continue
            held = self._held([name])[name]
            # A deletion counts however old it is: an older score must not come back in its place.
            over = held is None and logged.envelope.value is not None and self._is_over(logged)
            if not over and (held is None or held < order):
                yield logged.envelope

    def _run(self, envelopes: Iterator[Raw], rejected: dict[str, Order]) -> None:
        for envelope, outcome in self._redecider.decided(envelopes):
            self._count(envelope, outcome, rejected)
            self._progressed(self.counts)

    def _count(self, envelope: Raw, outcome: Outcome, rejected: dict[str, Order]) -> None:
        if outcome.kind is OutcomeKind.REJECTED:
            name = self._product_id(envelope)
            if name is not None:
                rejected[name] = envelope.order
        else:
            setattr(self.counts, outcome.kind, getattr(self.counts, outcome.kind) + 1)

    def _is_over(self, logged: Logged) -> bool:
        lives_ms = self._deletion_lives_ms if logged.envelope.value is None else self._score_lives_ms
        return logged.written_ms + lives_ms < self._now_ms

    def _product_id(self, envelope: Raw) -> str | None:
        return product_of(envelope, self._max_record_bytes)
