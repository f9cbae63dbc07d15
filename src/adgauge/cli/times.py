"""Times as people type them: `2h` ago, or `2026-11-24T10:00`."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS_MS = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AGO = re.compile(r"(\d{1,9})([smhd])")


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since 1970: so long before now, or a date and time, UTC unless it says otherwise.

    Raises ValueError.
    """
    if ago := _AGO.fullmatch(text):
        return max(now_ms - int(ago[1]) * _UNITS_MS[ago[2]], 0)
    when = datetime.fromisoformat(text)
    return max(round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1000), 0)
