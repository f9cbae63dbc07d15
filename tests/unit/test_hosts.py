"""When hosts are asked: bounded, tried again, waited for, and never at the expense of others."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest
from prometheus_client import CollectorRegistry

from adgauge.canonical.image import ImageError, ImageReason
from adgauge.errors import BackendUnavailable
from adgauge.images import health, hosts
from adgauge.images.health import Health, Window
from adgauge.images.hosts import HOST_JUDGED_FROM, HOSTS, Hosts, Manners
from adgauge.telemetry.metrics import Metrics

MakeHosts = Callable[..., Hosts[str]]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same pauses, a twentieth as long."""
    for module, name in (
        (hosts, "FIRST_PAUSE_S"),
        (hosts, "JUDGED_AFTER_S"),
        (hosts, "JUDGED_EVERY_S"),
        (health, "FIRST_ASK_S"),
        (health, "LONGEST_ASK_S"),
        (health, "LOST_ASK_S"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name) / 20)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def make(metrics: Metrics) -> Iterator[MakeHosts]:
    made: list[Hosts[str]] = []

    def make(**manners: float) -> Hosts[str]:
        made.append(Hosts(Manners(**manners), metrics, random=lambda: 0.5))  # type: ignore[arg-type]  # ints too
        return made[-1]

    yield make
    for each in made:
        each.close()


class Site:
    """A host that is up or not, and counts what is asked of it."""

    def __init__(self, reason: ImageReason = ImageReason.SERVER_ERROR) -> None:
        self.up = True
        self.asked = 0
        self.reason = reason

    def __call__(self) -> str:
        self.asked += 1
        if self.up:
            return "picture"
        raise ImageError(self.reason, "HTTP 503")


def failing(reason: ImageReason, retry_after_s: float = 0.0) -> Callable[[], str]:
    def attempt() -> str:
        raise ImageError(reason, "of its own", retry_after_s)

    return attempt


def reason(future: Future[str]) -> ImageReason:
    error = future.exception(timeout=10)
    assert isinstance(error, ImageError)
    return error.reason


def test_an_answer_is_handed_on(make: MakeHosts) -> None:
    assert make().submit("a.example", lambda: "picture").result(5) == "picture"
    assert make().submit(None, lambda: "local").result(5) == "local"


def test_a_lasting_failure_is_not_tried_again(make: MakeHosts) -> None:
    asked: list[int] = []

    def attempt() -> str:
        asked.append(1)
        raise ImageError(ImageReason.NOT_FOUND, "HTTP 404")

    assert reason(make().submit("a.example", attempt)) == ImageReason.NOT_FOUND
    assert asked == [1]


def test_a_bug_reaches_whoever_waits_and_frees_the_place(make: MakeHosts) -> None:
    pool = make(per_host=1)

    def attempt() -> str:
        raise ZeroDivisionError

    broken = [pool.submit("a.example", attempt) for _ in range(3)]
    assert all(isinstance(each.exception(5), ZeroDivisionError) for each in broken)
    assert pool.submit("a.example", lambda: "next").result(5) == "next"


def test_a_passing_failure_is_tried_again_until_it_has_passed(make: MakeHosts, metrics: Metrics) -> None:
    left = [ImageReason.CONNECTION, ImageReason.SERVER_ERROR, ImageReason.UNRESOLVED]

    def attempt() -> str:
        if left:
            raise ImageError(left.pop(), "for a moment")
        return "picture"

    assert make().submit("a.example", attempt).result(5) == "picture"
    assert metrics.registry.get_sample_value("adgauge_image_retries_total") == 3


@pytest.mark.parametrize("passing", [ImageReason.SERVER_ERROR, ImageReason.TIMEOUT, ImageReason.TLS])
def test_a_picture_that_alone_fails_is_missing_in_the_end(passing: ImageReason, make: MakeHosts) -> None:
    pool, site = make(), Site(passing)
    site.up = False

    assert reason(pool.submit("a.example", site)) == passing
    assert site.asked == (4 if passing is ImageReason.SERVER_ERROR else 1)


def test_no_attempt_begins_after_half_of_a_pictures_time(make: MakeHosts) -> None:
    site = Site()
    site.up = False
    assert reason(make(picture_s=0.01).submit("a.example", site)) == ImageReason.SERVER_ERROR
    assert site.asked == 1


def test_a_pause_that_the_host_asks_for_is_kept(make: MakeHosts) -> None:
    times: list[float] = []

    def attempt() -> str:
        times.append(time.monotonic())
        if len(times) == 1:
            raise ImageError(ImageReason.SERVER_ERROR, "HTTP 503", retry_after_s=0.3)
        return "picture"

    assert make().submit("a.example", attempt).result(5) == "picture"
    assert times[1] - times[0] >= 0.3


def test_a_host_that_is_asked_too_often_is_left_alone_as_long_as_it_says(make: MakeHosts) -> None:
    pool, times, busy = make(), [], [True]

    def attempt() -> str:
        times.append(time.monotonic())
        if busy.pop() if busy else False:
            raise ImageError(ImageReason.RATE_LIMITED, "HTTP 429", retry_after_s=0.5)
        return "picture"

    first = pool.submit("a.example", attempt)
    while not times:
        time.sleep(0.005)
    time.sleep(0.05)
    others = [pool.submit("a.example", attempt) for _ in range(5)]

    assert [each.result(5) for each in (first, *others)] == ["picture"] * 6
    assert min(times[1:]) - times[0] >= 0.5


def test_a_host_that_is_away_is_waited_for_and_nothing_is_missing(make: MakeHosts, metrics: Metrics) -> None:
    pool, site, other = make(), Site(), Site()
    site.up = False
    waiting = [pool.submit("away.example", site) for _ in range(60)]
    time.sleep(0.6)

    assert not any(each.done() for each in waiting)
    assert metrics.registry.get_sample_value("adgauge_image_hosts_away") == 1
    assert pool.submit("b.example", other).result(5) == "picture"
    asked = site.asked
    time.sleep(0.3)
    assert site.asked - asked <= 8  # one at a time, at longer and longer distances
    assert pool.why_away() is None

    site.up = True
    assert {each.result(5) for each in waiting} == {"picture"}
    assert metrics.registry.get_sample_value("adgauge_image_hosts_away") == 0
    assert metrics.registry.get_sample_value("adgauge_images_waiting") == 0


def test_a_picture_that_fails_though_its_host_answers_others_does_not_wait_for_ever(make: MakeHosts) -> None:
    pool, site = make(per_host=4), Site()
    site.up = False
    waiting = [pool.submit("away.example", site) for _ in range(40)]
    broken = [pool.submit("away.example", failing(ImageReason.SERVER_ERROR)) for _ in range(15)]
    time.sleep(0.3)
    site.up = True

    assert {each.result(5) for each in waiting} == {"picture"}
    deadline = time.monotonic() + 10
    while not all(each.done() for each in broken):
        assert time.monotonic() < deadline
        assert pool.submit("away.example", site).result(5) == "picture"
    assert {reason(each) for each in broken} == {ImageReason.SERVER_ERROR}


def test_patience_with_a_host_ends(make: MakeHosts) -> None:
    pool, site = make(patience_s=0.3), Site(ImageReason.TIMEOUT)
    site.up = False
    begun = time.monotonic()
    waiting = [pool.submit("dead.example", site) for _ in range(60)]

    assert {reason(each) for each in waiting} == {ImageReason.TIMEOUT}
    assert 0.3 <= time.monotonic() - begun < 3
    asked, begun = site.asked, time.monotonic()
    later = [pool.submit("dead.example", site) for _ in range(20)]
    assert {reason(each) for each in later} == {ImageReason.TIMEOUT}
    assert time.monotonic() - begun < 0.5
    assert site.asked - asked <= 2


def test_a_host_that_was_given_up_is_found_again(make: MakeHosts) -> None:
    pool, site = make(patience_s=0.1), Site()
    site.up = False
    for each in [pool.submit("dead.example", site) for _ in range(40)]:
        assert reason(each) == ImageReason.SERVER_ERROR
    site.up = True
    deadline = time.monotonic() + 5
    while pool.submit("dead.example", site).exception(5) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_when_everything_fails_it_is_the_network_and_all_wait(make: MakeHosts) -> None:
    pool, site = make(per_host=2), Site(ImageReason.CONNECTION)
    site.up = False
    waiting = [pool.submit(f"h{number}.example", site) for number in range(150)]
    deadline = time.monotonic() + 5
    while (why := pool.why_away()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "HTTP 503" in why
    late = pool.submit("another.example", site)
    time.sleep(0.2)
    assert not late.done()

    site.up = True
    assert late.result(5) == "picture"
    assert [each.result(5) for each in waiting if each.exception(5) is None] != []
    assert pool.why_away() is None


def test_a_slow_host_occupies_its_own_places_only(make: MakeHosts) -> None:
    pool = make(connections=4, per_host=2)
    release, running = threading.Event(), threading.Semaphore(0)

    def slow() -> str:
        running.release()
        release.wait(10)
        return "slow"

    waiting = [pool.submit("slow.example", slow) for _ in range(10)]
    running.acquire(timeout=5)
    running.acquire(timeout=5)

    assert pool.submit("quick.example", lambda: "quick").result(5) == "quick"
    assert not running.acquire(blocking=False)
    release.set()
    assert [each.result(5) for each in waiting] == ["slow"] * 10


def test_slow_hosts_share_half_of_the_connections_and_all_have_their_turn(
    make: MakeHosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "SLOW_S", 0.001)
    pool = make(connections=4, per_host=4)
    running, most = [0], [0]
    lock = threading.Lock()

    def slow() -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.03)
        with lock:
            running[0] -= 1
        return "slow"

    for name in ("a.example", "b.example", "c.example"):
        assert pool.submit(name, slow).result(5) == "slow"
    most[0] = 0
    waiting = [pool.submit(f"{name}.example", slow) for _ in range(10) for name in "abc"]
    assert [each.result(10) for each in waiting] == ["slow"] * 30
    assert most[0] <= 2


def test_closing_ends_what_waits_as_unavailable(make: MakeHosts) -> None:
    pool = make(connections=1, per_host=1)
    started, release = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        release.wait(10)
        return "slow"

    first, second = pool.submit("a.example", slow), pool.submit("a.example", slow)
    paused = pool.submit("b.example", failing(ImageReason.SERVER_ERROR, retry_after_s=1.0))
    started.wait(5)
    closing = threading.Thread(target=pool.close)
    closing.start()
    release.set()
    closing.join(5)

    assert first.result(5) == "slow"
    assert isinstance(second.exception(5), BackendUnavailable)
    assert isinstance(paused.exception(5), BackendUnavailable)
    with pytest.raises(BackendUnavailable, match="the worker stops"):
        pool.submit("a.example", slow)


def test_attempts_that_all_take_their_whole_time_are_judged(make: MakeHosts) -> None:
    """A host that drops packets: everything at once, everything late, while another host is fine."""
    pool = make(connections=128, per_host=64)
    release = threading.Event()

    def dropped() -> str:
        time.sleep(0.3)
        if release.is_set():
            return "picture"
        raise ImageError(ImageReason.TIMEOUT, "not done in time")

    waiting = []
    for _ in range(200):
        waiting.append(pool.submit("dropping.example", dropped))
        pool.submit("fine.example", lambda: "picture")
        time.sleep(0.003)
    time.sleep(0.5)
    assert not any(each.done() for each in waiting)
    release.set()
    assert {each.result(10) for each in waiting} == {"picture"}


def test_what_we_refuse_ourselves_says_nothing_about_a_host(make: MakeHosts) -> None:
    pool, site = make(), Site()
    site.up = False
    waiting = [pool.submit("away.example", site) for _ in range(40)]
    time.sleep(0.5)
    refused = pool.submit("away.example", failing(ImageReason.SCHEME_NOT_ALLOWED))
    time.sleep(0.5)
    assert not any(each.done() for each in waiting)
    site.up = True
    assert {each.result(5) for each in waiting} == {"picture"}
    assert reason(refused) == ImageReason.SCHEME_NOT_ALLOWED


def test_a_host_that_limits_its_rate_gives_all_its_pictures_in_time(make: MakeHosts) -> None:
    lock, tokens = threading.Lock(), [20.0, time.monotonic()]

    def limited() -> str:
        with lock:
            now = time.monotonic()
            tokens[0], tokens[1] = min(20.0, tokens[0] + 100 * (now - tokens[1])), now
            if tokens[0] < 1:
                raise ImageError(ImageReason.RATE_LIMITED, "HTTP 429", retry_after_s=0.1)
            tokens[0] -= 1
        return "picture"

    pool = make(patience_s=60.0)
    waiting = [pool.submit("limited.example", limited) for _ in range(150)]
    assert {each.result(30) for each in waiting} == {"picture"}


class TestTheNetwork:
    @pytest.fixture(autouse=True)
    def _few(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(hosts, "ALL_WINDOW", 40)
        monkeypatch.setattr(hosts, "ALL_JUDGED_FROM", 10)

    def away(self, pool: Hosts[str]) -> None:
        deadline = time.monotonic() + 5
        while pool.why_away() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_a_host_that_is_gone_for_good_does_not_keep_the_network_away(self, make: MakeHosts) -> None:
        pool, site = make(), Site(ImageReason.TIMEOUT)
        site.up = False
        gone = [pool.submit(f"gone{number}.example", failing(ImageReason.UNRESOLVED)) for number in range(3)]
        waiting = [pool.submit(f"h{number}.example", site) for number in range(15)]
        self.away(pool)
        site.up = True

        assert {each.result(10) for each in waiting} == {"picture"}
        assert {reason(each) for each in gone} == {ImageReason.UNRESOLVED}

    def test_while_it_is_away_nobody_is_busy(self, make: MakeHosts) -> None:
        pool, site = make(), Site(ImageReason.TIMEOUT)
        site.up = False
        waiting = [pool.submit(f"h{number % 3}.example", site) for number in range(90)]
        self.away(pool)
        busy = time.process_time()
        time.sleep(1.0)
        assert time.process_time() - busy < 0.3
        site.up = True
        assert {each.result(10) for each in waiting} == {"picture"}

    def test_patience_with_hosts_begins_anew_when_it_is_back(self, make: MakeHosts) -> None:
        pool, site = make(patience_s=0.4), Site(ImageReason.TIMEOUT)
        site.up = False
        waiting = [pool.submit(f"h{number % 3}.example", site) for number in range(90)]
        self.away(pool)
        time.sleep(1.0)
        site.up = True
        assert {each.result(10) for each in waiting} == {"picture"}


def test_only_so_many_hosts_are_remembered(make: MakeHosts) -> None:
    pool = make(connections=8)
    for each in [pool.submit(f"h{number}.example", lambda: "picture") for number in range(HOSTS + 50)]:
        each.result(20)
    pool.submit("last.example", lambda: "picture").result(5)
    assert len(pool._hosts) <= HOSTS + 50


class TestWindow:
    def test_failures_are_judged_in_the_order_in_which_attempts_began(self) -> None:
        """Slow failures end together, after everything quick: the share is still theirs."""
        window = Window(100, HOST_JUDGED_FROM, 0.2)
        tickets = [window.begin() for _ in range(100)]
        slow = tickets[::20]
        for ticket in tickets:
            if ticket not in slow:
                window.end(ticket, failed=False)
        for ticket in slow:
            window.end(ticket, failed=True)
            assert not window.failing()

    def test_too_few_are_not_judged(self) -> None:
        window = Window(100, 20, 0.2)
        for _ in range(19):
            window.end(window.begin(), failed=True)
        assert not window.failing()
        window.end(window.begin(), failed=True)
        assert window.failing()

    def test_old_attempts_leave_the_window(self) -> None:
        window = Window(10, 5, 0.2)
        for _ in range(10):
            window.end(window.begin(), failed=True)
        late = window.begin()
        for _ in range(10):
            window.end(window.begin(), failed=False)
        window.end(late, failed=True)
        assert (window.ended, window.failures) == (10, 0)

    def test_what_still_runs_takes_no_room(self) -> None:
        window = Window(10, 5, 0.2)
        tickets = [window.begin() for _ in range(64)]
        for ticket in tickets:
            window.end(ticket, failed=True)
        assert window.failing()

    def test_what_says_nothing_is_left_out(self) -> None:
        window = Window(10, 1, 0.2)
        window.drop(window.begin())
        assert (window.ended, window.failing()) == (0, False)


def test_health_asks_at_longer_and_longer_distances_and_believes_a_plea_up_to_a_point() -> None:
    state = Health(Window(10, 1, 0.2), patience_s=10.0)
    error = ImageError(ImageReason.SERVER_ERROR, "HTTP 503")
    distances = []
    state.window.end(state.window.begin(), failed=True)
    for now in range(9):
        state.failed(float(now), error)
        distances.append(state.asks_at - now)
    assert distances == sorted(distances)
    assert distances[-1] == health.LONGEST_ASK_S
    state.failed(9.0, error, asked_later_s=1e9)
    assert state.asks_at == 9.0 + health.ASKED_LATER_AT_MOST_S
    assert state.answered(9.5)
    assert not state.away
