"""Who trains, who chooses and calibrates, who is tested: by crc32 of an object's name."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def test(split: NDArray[np.int64]) -> Mask:
    """Which objects (object,) no training sees: crc32(id) % 5 == 1."""
    result: Mask = split % 5 == 1
    return result


def validation(split: NDArray[np.int64]) -> Mask:
    """A tenth of the others (object,), which chooses the epoch and calibrates."""
    result: Mask = ~test(split) & (split // 5 % 10 == 0)
    return result


def training(split: NDArray[np.int64]) -> Mask:
    """All that are left (object,)."""
    return ~test(split) & ~validation(split)


def turned(split: NDArray[np.int64], turns: int) -> NDArray[np.int64]:
    """Numbers by which another tenth validates: after ten turns each has once; tests stay tests.

    >>> numbers = np.arange(100)
    >>> int((validation(turned(numbers, 3)) & validation(numbers)).sum())
    0
    >>> bool((test(turned(numbers, 3)) == test(numbers)).all())
    True
    """
    return split + 5 * turns
