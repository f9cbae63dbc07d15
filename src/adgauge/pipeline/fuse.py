"""Too many rejects at once: it is us, not the data."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Sequence

from adgauge.errors import BackendUnavailable, RejectReason
from adgauge.pipeline.circuit import FUSE


class Fuse:
    """Blows, for good, when more than `limit` of the last `window` decided records were rejected.

    It judges from `judged_from` records up: the first broken line of a quiet morning is not a share. Asked
    before dead letters are written, so that what we broke does not have to be replayed. Thread-safe.
    """

    def __init__(self, *, window: int, judged_from: int, limit: float) -> None:
        self._recent: deque[RejectReason | None] = deque(maxlen=window)
        self._judged_from = min(judged_from, window)
        self._limit = limit
        self._lock = threading.Lock()
        self._blown: str | None = None

    def admit(self, reasons: Sequence[RejectReason | None]) -> None:
        """Count decided records, with the reason of each that is rejected; raises BackendUnavailable."""
        with self._lock:
            if self._blown is None:
                self._recent.extend(reasons)
                self._blown = self._judge()
            if self._blown is not None:
                raise BackendUnavailable(FUSE, self._blown)

    def _judge(self) -> str | None:
        counts = Counter(reason for reason in self._recent if reason is not None)
        share = counts.total() / max(len(self._recent), 1)
        if len(self._recent) < self._judged_from or share <= self._limit:
            return None
        listed = ", ".join(f"{reason} {number}" for reason, number in counts.most_common())
        return (
            f"{share:.0%} of the last {len(self._recent)} records were rejected ({listed}): look at"
            " `adgauge dlq list`, mend the cause and restart; if the records are to blame, restart with a"
            " higher ADGAUGE_REJECT_SHARE_LIMIT (1 never stops)"
        )
