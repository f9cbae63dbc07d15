import ast
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.chaos.checker import Verdict, judge
from tests.chaos.facts import Facts, Letter, Logged
from tests.chaos.ledger import Entry, Kind, Picture, record_digest

PARTITION = 0


@dataclass
class Stream:
    """A topic, and what a worker without fault leaves of the records that `work` gives it."""

    entries: list[Entry] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    log: list[Logged] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    lines: dict[str, str] = field(default_factory=dict)
    orders: dict[str, tuple[int, int]] = field(default_factory=dict)
    committed: int = 0

    def publish(
        self,
        kind: Kind = "grey",
        level: int | None = 100,
        *,
        event_ms: int | None = None,
        product: str = "P",
        picture: Picture = "data",
    ) -> Entry:
        offset = len(self.published)
        digest = record_digest(product.encode(), b"%d" % offset, [])
        version = 1 + len(self.entries)
        event_ms = 1000 + offset if event_ms is None else event_ms
        if kind == "deleted":
            level, picture = None, "none"
        entry = Entry(product, version, kind, level, event_ms, PARTITION, offset, picture, digest)
        self.entries.append(entry)
        self.published.append(digest)
        return entry

    def copy(self, entry: Entry) -> Entry:
        """The producer sends it again: the topic holds it twice, the ledger once."""
        self.published.append(entry.digest)
        return replace(entry, offset=len(self.published) - 1)

    def work(self, *entries: Entry) -> None:
        for entry in entries:
            if entry.kind in ("poison", "garbage"):
                self.letters.append(Letter(entry.partition, entry.offset, entry.digest, "model_error"))
            elif (entry.event_ms, entry.offset) >= self.orders.get(entry.id, (0, 0)):
                self._store(entry)

    def _store(self, entry: Entry, score: float | None = None) -> None:
        self.orders[entry.id] = (entry.event_ms, entry.offset)
        order = f"{entry.event_ms} {entry.offset}"
        if entry.kind == "deleted":
            self.log.append(Logged(entry.id, "deleted", entry.event_ms, entry.offset, None))
            self.lines[entry.id] = f"deleted {order}"
            return
        score = 1 + 4 * (entry.level or 0) / 255 if score is None else score
        self.log.append(Logged(entry.id, "scored", entry.event_ms, entry.offset, round(score, 6)))
        self.lines[entry.id] = f"{score:.4f} {order} 1763870401456 - 9f86d081884c"

    def store_wrongly(self, entry: Entry, score: float | None = None) -> None:
        """As `work`, but whatever is there."""
        self._store(entry, score)

    def commit(self) -> None:
        self.committed = len(self.published)

    def facts(self) -> Facts:
        return Facts(
            ledger=self.entries,
            published={(PARTITION, offset): digest for offset, digest in enumerate(self.published)},
            log=self.log,
            letters=self.letters,
            lines=self.lines,
            committed={PARTITION: self.committed},
            ends={PARTITION: len(self.published)},
        )

    def judged(self) -> Verdict:
        self.commit()
        return judge(self.facts())


@pytest.fixture
def stream() -> Stream:
    return Stream()


def test_every_record_ends_as_exactly_one_of_four(stream: Stream) -> None:
    stream.work(stream.publish(product="A"), stream.publish(product="A", level=7))
    stream.work(stream.publish(product="B"), stream.publish("deleted", product="B"))
    stream.work(stream.publish("poison", product="A"), stream.publish("garbage", None, product="B"))
    stream.work(stream.publish(product="A", event_ms=5))
    verdict = stream.judged()

    assert verdict.sound, verdict.examples
    assert (verdict.produced, verdict.scored, verdict.deleted, verdict.rejected, verdict.superseded) == (
        7,
        3,
        1,
        2,
        1,
    )


def test_a_record_that_was_committed_and_never_stored_is_lost(stream: Stream) -> None:
    stream.work(stream.publish(product="A"))
    stream.publish(product="B")
    verdict = stream.judged()

    assert (verdict.lost, verdict.sound) == (1, False)
    assert "B version 2" in verdict.examples[0]


def test_an_older_version_that_was_committed_and_never_stored_is_superseded(stream: Stream) -> None:
    stream.publish()
    stream.work(stream.publish())
    verdict = stream.judged()

    assert (verdict.superseded, verdict.scored, verdict.sound) == (1, 1, True)


def test_an_entry_that_redis_does_not_hold_is_lost_once(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.lines.clear()
    verdict = stream.judged()

    assert (verdict.lost, verdict.stale, verdict.scored) == (1, 0, 0)


def test_a_score_that_the_log_does_not_hold_is_lost(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.log.clear()

    assert stream.judged().lost == 1


def test_a_record_that_the_broker_lost_is_lost(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.published.clear()

    assert stream.judged().lost == 1


def test_what_is_not_committed_is_undecided_and_not_lost(stream: Stream) -> None:
    stream.work(stream.publish(product="A"))
    stream.commit()
    stream.publish(product="B")
    verdict = judge(stream.facts())

    assert (verdict.undecided, verdict.lost, verdict.stale, verdict.sound) == (1, 0, 0, False)


def test_an_older_version_in_redis_is_stale(stream: Stream) -> None:
    first, second = stream.publish(level=10), stream.publish(level=20)
    stream.work(first, second)
    stream.store_wrongly(first)
    verdict = stream.judged()

    assert (verdict.stale, verdict.lost, verdict.sound) == (1, 0, False)


def test_a_late_older_version_that_overwrites_is_stale(stream: Stream) -> None:
    stream.work(stream.publish(level=10, event_ms=2000))
    stream.store_wrongly(stream.publish(level=20, event_ms=1000))

    assert stream.judged().stale == 1


def test_of_equal_event_times_the_later_offset_wins(stream: Stream) -> None:
    first, second = stream.publish(level=10, event_ms=7), stream.publish(level=20, event_ms=7)
    stream.work(first, second)
    assert stream.judged().sound
    stream.store_wrongly(first)

    assert stream.judged().stale == 1


@pytest.mark.parametrize("wrong", [1.0, 2.6, 5.0])
def test_a_wrong_score_is_stale_wherever_it_is(stream: Stream, wrong: float) -> None:
    stream.store_wrongly(stream.publish(level=100), wrong)

    assert stream.judged().stale == 2  # in the score log and in Redis


def test_a_wrong_score_in_redis_alone_is_stale(stream: Stream) -> None:
    stream.work(stream.publish(level=100))
    stream.lines["P"] = stream.lines["P"].replace("2.5686", "2.5786")

    assert stream.judged().stale == 1


@pytest.mark.parametrize("line", ["", "deleted", "2.5686", "2.5686 x 0 1 - 0", "nonsense"])
def test_what_is_no_entry_is_stale(stream: Stream, line: str) -> None:
    stream.work(stream.publish(level=100))
    stream.lines["P"] = line

    assert stream.judged().stale == 1


def test_a_deleted_product_may_be_marked_or_absent(stream: Stream) -> None:
    stream.work(stream.publish(), stream.publish("deleted"))
    assert stream.judged().sound
    stream.lines.clear()

    assert stream.judged().sound


def test_a_deleted_product_that_came_back_is_stale(stream: Stream) -> None:
    stream.work(stream.publish(), stream.publish("deleted", event_ms=3000))
    stream.store_wrongly(stream.publish(event_ms=2000))

    assert stream.judged().stale == 1


def test_a_product_that_was_created_again_has_its_new_score(stream: Stream) -> None:
    stream.work(stream.publish(), stream.publish("deleted"), stream.publish(level=9))
    verdict = stream.judged()

    assert (verdict.scored, verdict.deleted, verdict.sound) == (2, 1, True)


def test_the_marker_of_an_older_deletion_is_stale(stream: Stream) -> None:
    stream.work(stream.publish("deleted", event_ms=2), stream.publish("deleted", event_ms=1))
    assert stream.judged().sound
    stream.lines["P"] = "deleted 1 1"

    assert stream.judged().stale == 1


@pytest.mark.parametrize("kind", ["poison", "garbage"])
def test_the_earlier_score_stays_when_the_newest_version_is_rejected(stream: Stream, kind: Kind) -> None:
    stream.work(stream.publish(), stream.publish(kind))

    assert stream.judged().sound


def test_a_reject_that_is_not_among_the_dead_letters_is_lost(stream: Stream) -> None:
    stream.publish("poison")

    assert stream.judged().lost == 1


def test_a_dead_letter_with_other_bytes_is_lost(stream: Stream) -> None:
    stream.work(stream.publish("garbage"))
    stream.letters[0] = replace(stream.letters[0], digest=record_digest(b"P", b"other", []))

    assert stream.judged().lost == 1


def test_a_dead_letter_without_a_reason_is_lost(stream: Stream) -> None:
    stream.work(stream.publish("garbage"))
    stream.letters[0] = replace(stream.letters[0], reason="")

    assert stream.judged().lost == 1


def test_poison_that_was_scored_is_lost(stream: Stream) -> None:
    stream.store_wrongly(stream.publish("poison"))
    verdict = stream.judged()

    assert (verdict.lost, verdict.rejected) == (1, 0)
    assert verdict.stale > 0


def test_a_good_record_that_was_rejected_is_lost(stream: Stream) -> None:
    entry = stream.publish()
    stream.letters.append(Letter(PARTITION, entry.offset, entry.digest, "model_error"))
    verdict = stream.judged()

    assert (verdict.lost, verdict.stale) == (1, 0)
    assert "was rejected" in verdict.examples[0]


def test_an_older_good_record_that_was_rejected_is_lost_as_well(stream: Stream) -> None:
    entry = stream.publish()
    stream.letters.append(Letter(PARTITION, entry.offset, entry.digest, "model_error"))
    stream.work(stream.publish())

    assert stream.judged().lost == 1


def test_work_done_twice_is_counted_and_allowed(stream: Stream) -> None:
    good, bad = stream.publish(), stream.publish("poison")
    stream.work(good, bad, good, good, bad)
    verdict = stream.judged()

    assert (verdict.twice, verdict.rejected_twice, verdict.sound) == (2, 1, True)
    assert (verdict.scored, verdict.rejected) == (1, 1)


def test_a_record_that_the_producer_sent_twice_may_stand_for_either_copy(stream: Stream) -> None:
    first = stream.publish(level=10, event_ms=7)
    stream.work(first, stream.copy(first))

    assert stream.judged().sound


def test_the_last_copy_of_a_record_is_the_newest(stream: Stream) -> None:
    first = stream.publish(level=10, event_ms=7)
    second = stream.publish(level=20, event_ms=7)
    copy = stream.copy(first)
    stream.work(first, second, copy)
    assert stream.judged().sound
    stream.store_wrongly(second)

    assert stream.judged().stale == 1


def test_every_copy_of_a_poison_record_has_to_be_rejected(stream: Stream) -> None:
    poison = stream.publish("poison")
    stream.copy(poison)
    stream.work(poison)

    assert stream.judged().lost == 1


@pytest.mark.parametrize(
    ("picture", "score", "sound"),
    [
        ("slow", None, True),
        ("slow", 1.0, True),
        ("slow", 2.0, False),
        ("data", None, True),
        ("data", 1.0, False),
    ],
)
def test_only_a_slow_picture_may_be_missing(
    stream: Stream, picture: Picture, score: float | None, sound: bool
) -> None:
    stream.store_wrongly(stream.publish(level=200, picture=picture), score)

    assert stream.judged().sound is sound


@pytest.mark.parametrize("picture", ["never", "none"])
def test_without_a_picture_the_score_is_one(stream: Stream, picture: Picture) -> None:
    stream.store_wrongly(stream.publish(level=None, picture=picture), 1.0)

    assert stream.judged().sound


def test_a_product_that_nobody_published_is_stale(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.lines["other-P"] = "2.0 1 1 1 - 0"

    assert stream.judged().stale == 1


def test_a_product_of_which_nothing_can_be_scored_has_no_entry(stream: Stream) -> None:
    stream.work(stream.publish("garbage"))
    assert stream.judged().sound
    stream.lines["P"] = "2.0 1000 0 1 - 0"

    assert stream.judged().stale == 1


def test_a_version_in_the_score_log_that_nobody_published_is_stale(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.log.append(replace(stream.log[0], event_ms=4))

    assert stream.judged().stale == 1


def test_a_record_that_the_ledger_lacks_proves_nothing(stream: Stream) -> None:
    stream.work(stream.publish())
    stream.published.append("unknown")
    verdict = stream.judged()

    assert (verdict.strangers, verdict.sound) == (1, False)


def test_an_empty_run_proves_nothing(stream: Stream) -> None:
    assert not stream.judged().sound


def test_the_table_names_every_number(stream: Stream) -> None:
    stream.work(stream.publish())
    table = dict(line.split() for line in stream.judged().table().splitlines())

    assert table["scored"] == "1"
    assert set(table) == set(vars(Verdict())) - {"examples"}


kinds = st.sampled_from(["grey", "grey", "grey", "deleted", "poison", "garbage"])
versions = st.lists(
    st.tuples(st.sampled_from("AB"), kinds, st.integers(1, 255), st.integers(1, 5)), min_size=1, max_size=12
)


@given(versions, st.data())
def test_a_worker_without_fault_is_sound_in_every_order_and_however_often_it_repeats(
    made: list[tuple[str, Kind, int, int]], data: st.DataObject
) -> None:
    stream = Stream()
    entries = [stream.publish(kind, level, event_ms=at, product=name) for name, kind, level, at in made]
    again = data.draw(st.lists(st.sampled_from(entries), max_size=8))
    stream.work(*data.draw(st.permutations(entries + again)))
    verdict = stream.judged()

    assert verdict.sound, verdict.examples


@given(versions, st.data())
def test_a_worker_that_skips_the_newest_version_of_a_product_is_never_sound(
    made: list[tuple[str, Kind, int, int]], data: st.DataObject
) -> None:
    stream = Stream()
    entries = [stream.publish(kind, level, event_ms=at, product=name) for name, kind, level, at in made]
    stream.publish("grey", 77, event_ms=9, product=data.draw(st.sampled_from("AB")))
    stream.work(*data.draw(st.permutations(entries)))

    assert not stream.judged().sound


@given(versions, st.data())
def test_a_worker_that_stores_without_comparing_is_sound_only_when_the_newest_came_last(
    made: list[tuple[str, Kind, int, int]], data: st.DataObject
) -> None:
    stream = Stream()
    entries = [stream.publish(kind, level, event_ms=at, product=name) for name, kind, level, at in made]
    last: dict[str, Entry] = {}
    for entry in data.draw(st.permutations(entries)):
        if entry.kind in ("grey", "deleted"):
            last[entry.id] = entry
            stream.store_wrongly(entry)
        else:
            stream.work(entry)
    good = [entry for entry in entries if entry.kind in ("grey", "deleted")]
    newest = {each.id: each for each in sorted(good, key=lambda each: (each.event_ms, each.offset))}

    assert stream.judged().sound is (last == newest)


JUDGES = ("checker", "facts", "ledger", "publisher", "drafts", "slow_images")


@pytest.mark.parametrize("module", JUDGES)
def test_publisher_and_checker_share_no_code_with_the_product(module: str) -> None:
    """All that they import is one another, the standard library, and the clients and Pillow themselves."""
    allowed = {f"tests.chaos.{each}" for each in JUDGES}
    for name in _imports(Path(__file__).with_name(f"{module}.py")):
        package = name.partition(".")[0]
        assert package not in ("adgauge", "services"), f"{module} imports {name}"
        assert package != "tests" or name in allowed, f"{module} imports {name}"


def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide what is imported"
            names.append(node.module or "")
    assert all(find_spec(name.partition(".")[0]) for name in names)
    return names
