"""When which host is asked for a picture.

At most so many attempts at once, in all and at one host; failures that pass are tried again; a host whose
attempts mostly fail is away, and what needs it waits, on no thread and in nobody's way, until it answers or
patience is over. When attempts fail everywhere it is the network, and everything waits.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, TypeVar

from adgauge.canonical.image import TRANSIENT, ImageError, ImageReason
from adgauge.errors import BackendUnavailable
from adgauge.images.health import Health, Window
from adgauge.images.timers import Timers
from adgauge.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

T = TypeVar("T")
CLOSED = BackendUnavailable("images", "pictures are no longer fetched: the worker stops")
Tickets = tuple[int | None, int | None]
"""Of an attempt, in its host's window and in that of all."""

AGAIN_SOON = TRANSIENT - {ImageReason.TLS, ImageReason.TIMEOUT}
"""What another attempt within the second may change."""
ATTEMPTS = 4
FIRST_PAUSE_S = 0.25
JUDGED_AFTER_S, JUDGED_EVERY_S = 2.0, 0.2
"""A picture that failed is missing as soon as its host has answered an attempt that began later; when none
did, so long after, unless the attempts that ended meanwhile have shown that the host is away."""
SLOW_S = 1.0
"""A host whose attempts take longer is slow: what waits for it is not what keeps us busy."""
PACE_SHARE = 0.1
FAILING_SHARE = 0.2
GUILTY_AFTER = 3
"""Times that a picture fails again though its host answered others in between, until it is to blame."""
ASKED_TOO_OFTEN_S = 1.0
"""How long a host is left alone that says so (429) without saying for how long."""
DECIDED_HERE = frozenset(
    {
        ImageReason.BAD_REFERENCE,
        ImageReason.SCHEME_NOT_ALLOWED,
        ImageReason.OUTSIDE_ROOT,
        ImageReason.HOST_NOT_ALLOWED,
        ImageReason.FORBIDDEN_ADDRESS,
    }
)
"""Refused by us: that says nothing about the host."""
LOCAL_THREADS = 8
"""For what needs no host: it must not queue behind slow ones."""
HOST_WINDOW, HOST_JUDGED_FROM = 50, 20
ALL_WINDOW, ALL_JUDGED_FROM = 500, 100
"""In pictures: how often each is tried again must not count."""
HOSTS = 10_000


@dataclass(frozen=True, slots=True)
class Manners:
    """How much is asked at once and how long is waited. `picture_s` bounds the attempts of one picture: none
    begins after half of it. `patience_s`: how long pictures wait for a host that is away.
    """

    connections: int = 256
    per_host: int = 64
    picture_s: float = 10.0
    patience_s: float = 900.0


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    host: _Host[T]
    attempt: Callable[[], T]
    future: Future[T] = field(default_factory=Future)
    begun: float | None = None  # its first attempt, since it last waited for its host
    attempts: int = 0
    failed_at: float | None = None  # when it went to wait for its host
    guilt: int = 0


@dataclass(slots=True, eq=False)
class _Host(Generic[T]):
    name: str
    health: Health
    waiting: deque[_Job[T]] = field(default_factory=deque)
    running: int = 0
    unsettled: int = 0
    is_timed: bool = False  # `_ask` will come
    proved_at: float = -math.inf  # when the latest attempt that it answered began
    pace_s: float = 0.0  # of its attempts, smoothed
    asked_at: float = -math.inf  # when an attempt was last begun
    allowed: float = math.inf  # attempts at once: few after it was away, and more with each answer


class Hosts(Generic[T]):
    """Makes attempts at hosts on threads of its own. Called from several threads at once.

    `random()` is uniform in [0, 1), `clock` counts seconds.
    """

    def __init__(
        self,
        manners: Manners,
        metrics: Metrics,
        random: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manners = manners
        self._metrics = metrics
        self._random = random
        self._clock = clock
        self._executor = ThreadPoolExecutor(manners.connections, thread_name_prefix="fetch")
        self._local = ThreadPoolExecutor(LOCAL_THREADS, thread_name_prefix="local")
        self._timers = Timers()
        self._lock = threading.RLock()  # of everything below; nobody's future is settled while it is held
        self._hosts: OrderedDict[str, _Host[T]] = OrderedDict()
        self._jobs: set[_Job[T]] = set()
        self._away: set[_Host[T]] = set()
        self._slow: set[_Host[T]] = set()
        self._all = Health(Window(ALL_WINDOW, ALL_JUDGED_FROM, FAILING_SHARE), patience_s=math.inf)
        self._all_is_timed = False
        self._trying = False  # while all is away: the one attempt that is made
        self._closed = False

    def submit(self, host: str | None, attempt: Callable[[], T]) -> Future[T]:
        """What `attempt` returns, or the ImageError that it ends with; None is no host and is asked at once.

        An attempt that raises a passing ImageError is made again, with pauses, and when its host is away only
        once that answers again. Raises BackendUnavailable when closed.
        """
        with self._lock:
            if self._closed:
                raise CLOSED
            if host is None:
                return self._local.submit(attempt)
            job = _Job(self._host(host), attempt)
            self._jobs.add(job)
            job.host.unsettled += 1
            lost = self._line_up(job)
        if lost is not None:
            self._give_up(job, lost)
        return job.future

    def why_away(self) -> str | None:
        """Why nothing can be had from anywhere; None while pictures arrive, or nobody waits for one."""
        with self._lock:
            if not self._all.away or not (self._trying or self._is_waited_for()):
                return None
            return str(self._all.error)

    def held(self) -> int:
        """Pictures that wait for hosts that are away or slow, and take up nothing else."""
        with self._lock:
            return sum(len(host.waiting) for host in self._away | self._slow)

    def close(self) -> None:
        """Finish the attempts that run; what waits ends as unavailable. Never raises."""
        with self._lock:
            self._closed = True
        self._timers.close()
        for executor in (self._executor, self._local):
            executor.shutdown(wait=True, cancel_futures=True)
        for job in list(self._jobs):
            self._give_up(job, CLOSED)

    def _host(self, name: str) -> _Host[T]:
        if (host := self._hosts.get(name)) is None:
            if len(self._hosts) >= HOSTS:
                self._forget_one()
            window = Window(HOST_WINDOW, HOST_JUDGED_FROM, FAILING_SHARE)
            host = self._hosts[name] = _Host(name, Health(window, self._manners.patience_s))
        self._hosts.move_to_end(name)
        return host

    def _forget_one(self) -> None:
        """The host that nobody has asked for the longest time."""
        for host in self._hosts.values():
            if not host.unsettled:
                del self._hosts[host.name]
                self._mark(host, away=False)
                self._slow.discard(host)
                return

    def _line_up(self, job: _Job[T]) -> ImageError | None:
        """Begin the attempt, or wait for a place or for the host; the error when nobody waits for it."""
        health, now = job.host.health, self._clock()
        if self._is_lost(job.host, now) and (now < health.asks_at or job.host.running):
            return health.error
        job.host.waiting.append(job)
        self._begin(job.host)
        return None

    def _is_lost(self, host: _Host[T], now: float) -> bool:
        return host.health.lost(now) and not self._all.away

    def _begin(self, host: _Host[T]) -> None:
        """Begin as many of the host's attempts as may be made now, and see to it that the next one is."""
        while host.waiting and not self._closed and self._may_begin(host):
            job = host.waiting.popleft()
            host.running += 1
            host.asked_at = self._clock()
            self._trying = self._all.away
            self._executor.submit(self._run, job)
        if self._all.away:
            if not (self._trying or self._all_is_timed) and self._is_waited_for():
                self._all_is_timed = True
                self._timers.after(max(self._all.asks_at - self._clock(), 0.0), self._ask_everywhere)
        elif host.waiting and host.health.away and not host.running and not host.is_timed:
            host.is_timed = True
            self._timers.after(max(host.health.asks_at - self._clock(), 0.0), partial(self._ask, host))
        self._metrics.images_waiting.set(sum(len(each.waiting) for each in self._away))

    def _may_begin(self, host: _Host[T]) -> bool:
        now = self._clock()
        if self._all.away:
            return not self._trying and now >= self._all.asks_at
        if host.health.away:
            return not host.running and now >= host.health.asks_at
        if host in self._slow and sum(each.running for each in self._slow) >= self._manners.connections / 2:
            return False
        return host.running < min(host.allowed, self._manners.per_host)

    def _is_waited_for(self) -> bool:
        return any(host.waiting for host in self._hosts.values())

    def _tickets(self, job: _Job[T]) -> Tickets:
        """Of the first attempt at a picture; what a host that is away says is nothing new about all."""
        if job.attempts:
            return None, None
        away = job.host.health.away
        return job.host.health.window.begin(), None if away else self._all.window.begin()

    def _run(self, job: _Job[T]) -> None:
        began = self._clock()
        with self._lock:
            tickets = self._tickets(job)
            job.begun = began if job.begun is None else job.begun
        try:
            result = job.attempt()
        except ImageError as error:
            if self._ended(job, tickets, began, error):
                self._give_up(job, error)
        except BaseException as error:  # handed to whoever waits for the result
            self._ended(job, tickets, began, None)
            self._give_up(job, error)
        else:
            self._ended(job, tickets, began, None)
            self._settle(job, partial(job.future.set_result, result))

    def _ended(self, job: _Job[T], tickets: Tickets, began: float, error: ImageError | None) -> bool:
        """Learn from an attempt and let the next begin; True when this picture is not tried again."""
        with self._lock:
            host, now, over = job.host, self._clock(), True
            host.pace_s += PACE_SHARE * (now - began - host.pace_s)
            (self._slow.add if host.pace_s > SLOW_S else self._slow.discard)(host)
            passing = error is not None and error.reason in TRANSIENT
            host.running -= 1
            self._trying = False
            says_nothing = error is not None and error.reason in DECIDED_HERE
            for health, ticket in zip((host.health, self._all), tickets, strict=True):
                if ticket is not None and says_nothing:
                    health.window.drop(ticket)
                elif ticket is not None:
                    health.window.end(ticket, passing)
            if error is not None and passing:
                self._learn(host, error, now)
                over = self._tried(job, error, now)
            elif not says_nothing:
                host.proved_at = max(host.proved_at, began)
                self._answered(host, now)
            self._begin(host)
            for each in [slow for slow in self._slow if slow.waiting]:  # they share their part
                self._begin(each)
            return over

    def _answered(self, host: _Host[T], now: float) -> None:
        host.allowed += 1
        if host.health.answered(now):
            log.info("pictures: %s is back", host.name)
            host.allowed = 2  # it may fall over again under all that waited
            self._mark(host, away=False)
        if self._all.answered(now):
            log.info("pictures can be had again")
            for each in self._away:  # it was not they that were away: patience with them begins anew
                each.health.away_since = each.health.asks_at = now
            for each in list(self._hosts.values()):
                self._begin(each)

    def _learn(self, host: _Host[T], error: ImageError, now: float) -> None:
        # A busy URL says little about its host; that we ask too often says it of all its URLs.
        too_often = error.reason is ImageReason.RATE_LIMITED
        asked_later_s = max(error.retry_after_s, ASKED_TOO_OFTEN_S) if too_often else 0.0
        if host.health.failed(now, error, asked_later_s):
            log.warning("pictures: %s is away, what needs it waits: %s", host.name, error)
            self._mark(host, away=True)
        if self._all.failed(now, error):
            window = self._all.window
            log.error("pictures: %d of %d attempts failed: %s", window.failures, window.ended, error)

    def _mark(self, host: _Host[T], *, away: bool) -> None:
        (self._away.add if away else self._away.discard)(host)
        self._metrics.image_hosts_away.set(len(self._away))

    def _tried(self, job: _Job[T], error: ImageError, now: float) -> bool:
        """See to a picture whose attempt failed in a way that passes; True when that was its last."""
        if job.host.health.away or self._all.away:
            return self._waits_in_vain(job, error, now)
        job.attempts += 1
        pause_s = max(FIRST_PAUSE_S * 2.0 ** (job.attempts - 1) * (0.5 + self._random()), error.retry_after_s)
        spent_s = now - (now if job.begun is None else job.begun)
        in_time = spent_s + pause_s <= self._manners.picture_s / 2
        if error.reason in AGAIN_SOON and job.attempts < ATTEMPTS and in_time:
            self._metrics.image_retries.inc()
            self._timers.after(pause_s, partial(self._try_again, job))
        else:
            self._judge_later(job, error, now)
        return False

    def _waits_in_vain(self, job: _Job[T], error: ImageError, now: float) -> bool:
        """Wait for the host, unless nobody does any more, or it answers others and never this picture."""
        before, job.failed_at = job.failed_at, now
        others_came = before is not None and job.host.proved_at > before
        job.guilt += others_came and error.reason is not ImageReason.RATE_LIMITED
        if self._is_lost(job.host, now) or job.guilt >= GUILTY_AFTER:
            return True
        job.begun, job.attempts = None, 0
        job.host.waiting.append(job)
        return False

    def _judge_later(self, job: _Job[T], error: ImageError, failed_at: float) -> None:
        self._timers.after(JUDGED_EVERY_S, partial(self._judge, job, error, failed_at))

    def _judge(self, job: _Job[T], error: ImageError, failed_at: float) -> None:
        """Whether the picture, whose last attempt failed a moment ago, is to blame, or its host away."""
        with self._lock:
            now, host = self._clock(), job.host
            if host.health.away or self._all.away:
                over = self._waits_in_vain(job, error, now)
                self._begin(host)
            else:
                over = host.proved_at >= failed_at or now >= failed_at + JUDGED_AFTER_S
                if not over:
                    self._judge_later(job, error, failed_at)
        if over:
            self._give_up(job, error)

    def _try_again(self, job: _Job[T]) -> None:
        with self._lock:
            lost = self._line_up(job)
        if lost is not None:
            self._give_up(job, lost)

    def _ask(self, host: _Host[T]) -> None:
        """Time for an attempt at a host that is away, or to wait for it no longer."""
        given_up: list[_Job[T]] = []
        with self._lock:
            host.is_timed = False
            while len(host.waiting) > 1 and self._is_lost(host, self._clock()) and not host.running:
                given_up.append(host.waiting.pop())
            self._begin(host)
        for job in given_up:
            self._give_up(job, host.health.error)

    def _ask_everywhere(self) -> None:
        """Time for one attempt anywhere: each host in its turn, as it may be one that is gone for good."""
        with self._lock:
            self._all_is_timed = False
            for host in sorted(self._hosts.values(), key=lambda each: each.asked_at):
                self._begin(host)

    def _give_up(self, job: _Job[T], error: BaseException | None) -> None:
        self._settle(job, partial(job.future.set_exception, error))

    def _settle(self, job: _Job[T], tell: Callable[[], None]) -> None:
        with self._lock:
            job.host.unsettled -= 1
            self._jobs.discard(job)
        with suppress(InvalidStateError):  # settled by `close`
            tell()
