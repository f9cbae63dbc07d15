"""Which scores are meant and what becomes of them, on logs and a store in memory."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from adgauge.canonical.image import TRANSIENT, ImageReason
from adgauge.errors import RejectReason
from adgauge.pipeline.redeciding import Logged, Raw, Redecider
from adgauge.pipeline.rescore import Rescorer, Where, parse_where
from adgauge.pipeline.score_log import ScoreLogRecord
from adgauge.records import (
    Envelope,
    Flag,
    Order,
    Outcome,
    OutcomeKind,
    Partition,
    Position,
    Rejection,
)

GENERATION = 7
BROKEN = b"broken"


class Store:
    """Newer wins. A record's value says why its picture is missing; empty: it is there."""

    def __init__(self) -> None:
        self.held: dict[str, Order] = {}
        self.decided: list[tuple[str, Order, frozenset[Flag]]] = []

    def orders(self, ids: Sequence[str]) -> dict[str, Order | None]:
        return {name: self.held.get(name) for name in ids}

    def decide(self, batch: Sequence[Raw]) -> list[Outcome]:
        return [self._decide(each) for each in batch]

    def _decide(self, each: Raw) -> Outcome:
        name = (each.key or b"").decode()
        self.decided.append((name, each.order, each.flags))
        kind, rejection, reason = OutcomeKind.SCORED, None, None
        if each.value == BROKEN:
            kind, rejection = OutcomeKind.REJECTED, Rejection(RejectReason.NO_IMAGE, "canonicalize", "none")
        elif name in self.held and self.held[name] > each.order:
            kind = OutcomeKind.SUPERSEDED
        else:
            self.held[name], reason = each.order, (each.value or b"").decode() or None
        return Outcome(kind, each.position, name, None, rejection, reason)


def line(
    name: str,
    order: tuple[int, int],
    reason: str | None = None,
    *flags: Flag,
    outcome: str = "scored",
    generation: int = GENERATION,
) -> bytes:
    return (
        ScoreLogRecord.model_validate(
            {
                "id": name,
                "outcome": outcome,
                "generation": generation,
                "model": "m/1",
                "contract": "c",
                "event_ms": order[0],
                "offset": order[1],
                "score": 3.0,
                "scored_at_ms": 1,
                "flags": flags,
                "digest": "d",
                "image_reason": reason,
            }
        )
        .model_dump_json()
        .encode()
    )


def logged(name: str, order: tuple[int, int], value: bytes = b"") -> Logged:
    position = Position(Partition("p", 0), order[1])
    return Logged(Envelope(value, position, Order(*order), name.encode(), value, (), frozenset()), order[0])


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


def rescorer_of(store: Store, pool: ThreadPoolExecutor, *conditions: str) -> Rescorer:
    where = Where()
    for condition in conditions:
        where |= parse_where(condition)
    return Rescorer(
        store.orders,
        Redecider(store.decide, pool, batch_records=2, pace=lambda _: None),
        where,
        generation=GENERATION,
        max_record_bytes=1000,
        progressed=lambda _: None,
    )


def rescored(rescorer: Rescorer, scores: list[bytes | None], products: list[Logged]) -> Rescorer:
    rescorer.find(scores)
    rescorer.select()
    rescorer.rescore(products)
    rescorer.finish()
    return rescorer


def entry(reason: str | None, *flags: Flag) -> ScoreLogRecord:
    return ScoreLogRecord.model_validate_json(line("A", (1, 1), reason, *flags))


def test_values_of_one_key_are_alternatives_and_different_keys_must_all_hold() -> None:
    timeouts = parse_where("reason=timeout")
    either = timeouts | parse_where("reason=no_reference")
    both = timeouts | parse_where("flag=text_cut")

    assert entry("timeout") in timeouts
    assert entry("no_reference") in either
    assert entry("timeout") in either
    assert entry("tls") not in either
    assert entry("timeout") not in both
    assert entry("timeout", Flag.TEXT_CUT) in both
    assert entry(None, Flag.TEXT_CUT) not in both
    assert entry(None, Flag.TEXT_CUT) in parse_where("flag=text_cut")


@pytest.mark.parametrize("reason", ImageReason)
def test_every_reason_either_passes_or_lasts(reason: ImageReason) -> None:
    passing, lasting = parse_where("reason=passing"), parse_where("reason=lasting")

    assert (entry(reason) in passing) is (reason in TRANSIENT)
    assert (entry(reason) in lasting) is (reason not in TRANSIENT)
    assert entry(reason) in parse_where(f"reason={reason}")
    assert entry("no_reference") not in passing | lasting


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("reason=bad_mood", "there are passing, lasting, no_reference, bad_reference"),
        ("flag=", "there are no_image, no_text, text_cut, event_clamped"),
        ("colour=red", "write reason=REASON or flag=FLAG"),
        ("passing", "write reason=REASON or flag=FLAG"),
    ],
)
def test_a_wrong_condition_is_told_the_right_ones(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse_where(text)


def test_the_newest_line_of_a_product_counts(store: Store, pool: ThreadPoolExecutor) -> None:
    scores = [
        line("BAD", (1, 1), "timeout"),
        line("GOOD", (1, 2), "timeout"),
        line("GONE", (1, 3), "timeout"),
        line("AGAIN", (1, 4)),
        line("LATE", (9, 5), "timeout"),
        line("OTHER", (1, 6), "timeout", generation=6),
        line("GOOD", (1, 2)),
        line("GONE", (2, 7), outcome="deleted"),
        line("AGAIN", (2, 8), "timeout"),
        line("LATE", (8, 1)),
        b"{",
        None,
        b'{"id": "A"}',
    ]
    products = [
        logged("BAD", (1, 1)),
        logged("GOOD", (1, 2)),
        logged("AGAIN", (2, 8)),
        logged("LATE", (9, 5)),
    ]
    counts = rescored(rescorer_of(store, pool, "reason=timeout"), scores, products).counts

    assert [name for name, _, _ in store.decided] == ["BAD", "AGAIN", "LATE"]
    assert (counts.read, counts.unreadable, counts.found) == (13, 3, {"timeout": 3})
    assert (counts.selected, counts.rescored, counts.gone) == (3, 3, [])


def test_a_newer_stored_version_is_left_alone_and_an_expired_one_is_scored(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    store.held = {"SAME": Order(5, 1), "NEWER": Order(6, 9), "OLDER": Order(4, 1)}
    names = ["SAME", "NEWER", "OLDER", "EXPIRED"]
    scores: list[bytes | None] = [line(name, (5, 1), "tls") for name in names]
    counts = rescored(
        rescorer_of(store, pool, "reason=passing"), scores, [logged(name, (5, 1)) for name in names]
    ).counts

    assert (counts.found.total(), counts.selected, counts.superseded, counts.rescored) == (4, 3, 1, 3)
    assert store.held["NEWER"] == Order(6, 9)


def test_what_becomes_of_each_is_counted(store: Store, pool: ThreadPoolExecutor) -> None:
    names = ["HEALED", "STILL", "REJECTED", "COMPACTED", "OVERTAKEN"]
    scores: list[bytes | None] = [line(name, (1, at), "timeout") for at, name in enumerate(names)]
    rescorer = rescorer_of(store, pool, "reason=timeout")
    rescorer.find(scores)
    rescorer.select()
    store.held["OVERTAKEN"] = Order(2, 9)
    products = [
        logged("HEALED", (1, 0)),
        logged("STILL", (1, 1), b"timeout"),
        logged("REJECTED", (1, 2), BROKEN),
        logged("COMPACTED", (3, 8)),  # newer, and not what was asked for
    ]
    rescorer.rescore(products)
    rescorer.finish()
    counts = rescorer.counts

    assert (counts.rescored, counts.no_image) == (2, {"timeout": 1})
    assert counts.rejected == {"REJECTED": "no_image: none"}
    assert (counts.gone, counts.superseded) == (["COMPACTED"], 1)


def test_a_record_whose_event_time_was_set_to_the_time_of_day_is_found_and_keeps_its_order(
    store: Store, pool: ThreadPoolExecutor
) -> None:
    scores: list[bytes | None] = [
        line("CLAMPED", (5000, 3), "timeout", Flag.EVENT_CLAMPED),
        line("OTHER", (5000, 4), "timeout"),
    ]
    products = [logged("CLAMPED", (9000, 3)), logged("OTHER", (9000, 4))]
    counts = rescored(rescorer_of(store, pool, "flag=event_clamped"), scores, products).counts

    assert store.decided == [("CLAMPED", Order(5000, 3), frozenset({Flag.EVENT_CLAMPED}))]
    assert (counts.selected, counts.gone) == (1, [])


def test_nothing_more_is_read_once_all_is_found(store: Store, pool: ThreadPoolExecutor) -> None:
    def products() -> Iterator[Logged]:
        yield logged("A", (1, 1))
        raise AssertionError("read on")

    rescorer = rescorer_of(store, pool, "reason=timeout")
    rescorer.find([line("A", (1, 1), "timeout")])
    rescorer.select()
    rescorer.rescore(products())

    assert rescorer.counts.rescored == 1
