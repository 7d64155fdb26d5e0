"""Unix time as people and programs read it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Literal

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc(ms: int, to: Literal["seconds", "milliseconds"] = "milliseconds") -> str:
    """ISO 8601; what is before 1970, or some 4,000 years after, is said as those.

    >>> utc(1795250477123)
    '2026-11-21T08:41:17.123Z'
    >>> utc(1795250477123, "seconds")
    '2026-11-21T08:41:17Z'
    """
    when = EPOCH + timedelta(milliseconds=min(max(ms, 0), 1 << 47))
    return when.isoformat(timespec=to).replace("+00:00", "Z")
