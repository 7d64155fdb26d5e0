"""Counts as they travel and are kept: only the cells that hold some, in few bytes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Bytes that one cell may take: a gap below 2**21 and a count below 2**35.
MOST_BYTES_A_CELL = 3 + 5


@njit(cache=True, nogil=True)
def _put(number: int, heap: NDArray[np.uint8], at: int) -> int:
    while number >= 0x80:
        heap[at] = (number & 0x7F) | 0x80
        number >>= 7
        at += 1
    heap[at] = number
    return at + 1


@njit(cache=True, nogil=True)
def _take(heap: NDArray[np.uint8], at: int) -> tuple[int, int]:
    number = np.int64(heap[at]) & 0x7F
    shift = 7
    while heap[at] >= 0x80:
        at += 1
        number |= (np.int64(heap[at]) & 0x7F) << shift
        shift += 7
    return int(number), at + 1


@njit(cache=True, nogil=True)
def pack(counts: NDArray[np.int32], heap: NDArray[np.uint8], at: int) -> int:
    """Write counts as records.BLOCK says: varints (gap, count), (gap, count) ...

    Parameters
    ----------
    counts : (cell,) i4
        None of them negative.
    heap : (byte,) u1
        With room for MOST_BYTES_A_CELL * len(counts) from `at`.

    Returns
    -------
    int
        The end of what was written.
    """
    last = 0
    for cell in range(len(counts)):
        if counts[cell] != 0:
            at = _put(cell - last, heap, at)
            at = _put(counts[cell], heap, at)
            last = cell
    return at


@njit(cache=True, nogil=True)
def unpack(heap: NDArray[np.uint8], at: int, end: int, counts: NDArray[np.int32]) -> None:
    """Fill `counts`, which are zero, with what `pack` wrote to heap[at:end].

    It trusts its input (our own store); models.feed reads what came over the wire.
    """
    cell = 0
    while at < end:
        gap, at = _take(heap, at)
        number, at = _take(heap, at)
        cell += gap
        counts[cell] = number
