"""The wall clock, as every record of ours tells time."""

from __future__ import annotations

import time


def now_ms() -> int:
    """Unix time in ms."""
    return time.time_ns() // 1_000_000
