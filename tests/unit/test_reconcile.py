"""What is found missing and what becomes of it, on a log and a store in memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from adgauge.errors import RejectReason
from adgauge.pipeline.reconcile import Counts, Reconciler
from adgauge.pipeline.redeciding import Logged, Raw, Redecider
from adgauge.records import Envelope, Order, Outcome, OutcomeKind, Partition, Position, Rejection

DAY_MS = 24 * 3600 * 1000
NOW_MS = 1000 * DAY_MS
BROKEN = b"broken"


class Store:
    """Newer wins; BROKEN is rejected, as a scorer does."""

    def __init__(self) -> None:
        self.held: dict[str, tuple[Order, bytes | None]] = {}

    def orders(self, ids: Sequence[str]) -> dict[str, Order | None]:
        return {name: self.held[name][0] if name in self.held else None for name in ids}

    def decide(self, batch: Sequence[Raw]) -> list[Outcome]:
        return [self._decide(each) for each in batch]

    def _decide(self, each: Raw) -> Outcome:
        name, kind, rejection = (each.key or b"").decode(), OutcomeKind.SCORED, None
        if each.value == BROKEN:
            kind, rejection = OutcomeKind.REJECTED, Rejection(RejectReason.INVALID, "parse", "")
        elif name in self.held and self.held[name][0] > each.order:
            kind = OutcomeKind.SUPERSEDED
        else:
            kind = OutcomeKind.DELETED if each.value is None else OutcomeKind.SCORED
            self.held[name] = each.order, each.value
        return Outcome(kind, each.position, name, None, rejection, None)


def log_of(*records: tuple[bytes | None, bytes | None, int]) -> list[Logged]:
    """Records of one partition: key, value, and how many days ago each was written."""
    return [
        Logged(
            Envelope(
                value,
                Position(Partition("p", 0), offset),
                Order(NOW_MS - days * DAY_MS, offset),
                key,
                value,
                (),
                frozenset(),
            ),
            NOW_MS - days * DAY_MS,
        )
        for offset, (key, value, days) in enumerate(records)
    ]


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def reconciler(store: Store) -> Iterator[Reconciler]:
    with ThreadPoolExecutor(1) as pool:
        yield Reconciler(
            store.orders,
            Redecider(store.decide, pool, batch_records=2, pace=lambda _: None),
            now_ms=NOW_MS,
            score_lives_ms=180 * DAY_MS,
            deletion_lives_ms=7 * DAY_MS,
            max_record_bytes=1000,
            progressed=lambda _: None,
        )


def reconcile(reconciler: Reconciler, log: list[Logged]) -> Counts:
    reconciler.repair(lambda: log, reconciler.find(log))
    return reconciler.counts


def test_only_what_is_missing_or_older_is_decided(reconciler: Reconciler, store: Store) -> None:
    log = log_of((b"A", b"1", 3), (b"B", b"1", 3), (b"A", b"2", 2), (b"C", b"1", 1), (b"D", None, 1))
    store.decide([log[1].envelope, log[0].envelope])
    counts = reconcile(reconciler, log)

    assert (counts.read, counts.products, counts.held, counts.missing) == (5, 4, 1, 3)
    assert (counts.scored, counts.deleted, counts.rejected) == (2, 1, 0)
    assert {name: value for name, (_, value) in store.held.items()} == {
        "A": b"2", "B": b"1", "C": b"1", "D": None,
    }  # fmt: skip


def test_of_a_product_whose_newest_version_is_rejected_the_newest_acceptable_one_is_stored(
    reconciler: Reconciler, store: Store
) -> None:
    counts = reconcile(
        reconciler, log_of((b"A", b"1", 4), (b"A", b"2", 3), (b"A", BROKEN, 2), (b"A", BROKEN, 1))
    )

    assert store.held["A"][1] == b"2"
    assert counts.rejected == 1


def test_a_deletion_before_a_rejected_version_keeps_older_scores_away(
    reconciler: Reconciler, store: Store
) -> None:
    reconcile(reconciler, log_of((b"A", b"1", 30), (b"A", None, 20), (b"A", BROKEN, 1)))

    assert store.held["A"][1] is None


def test_what_would_have_expired_is_left_alone_unless_something_older_is_held(
    reconciler: Reconciler, store: Store
) -> None:
    log = log_of((b"OLD", b"1", 200), (b"GONE", None, 8), (b"STALE", b"1", 9), (b"STALE", None, 8))
    store.decide([log[2].envelope])
    counts = reconcile(reconciler, log)

    assert set(store.held) == {"STALE"}
    assert store.held["STALE"][1] is None
    assert (counts.expired, counts.missing, counts.deleted) == (2, 1, 1)


def test_a_record_that_names_no_product_was_rejected_and_stays_so(reconciler: Reconciler) -> None:
    counts = reconcile(reconciler, log_of((b"\xff", b"1", 1), (None, b"no product", 1), (b"", None, 1)))

    assert (counts.rejected, counts.missing) == (3, 0)


def test_reconciling_again_finds_nothing(reconciler: Reconciler, store: Store) -> None:
    log = log_of(*((b"%d" % number, b"1", 1) for number in range(1200)))
    reconcile(reconciler, log)

    assert reconciler.counts.scored == 1200
    assert reconciler.find(log) == {}
