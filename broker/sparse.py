"""Counts as they travel and are kept: only the cells that hold some, in few bytes."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.memory import load_i4, load_i8, load_u1, store_u1

#: Bytes that one cell may take: a gap below 2**21 and a count below 2**35.
MOST_BYTES_A_CELL = 3 + 5


@njit(cache=True, nogil=True)
def _put(number: int, at: int) -> int:
    while number >= 0x80:
        store_u1(at, np.uint8((number & 0x7F) | 0x80))
        number >>= 7
        at += 1
    store_u1(at, np.uint8(number))
    return at + 1


@njit(cache=True, nogil=True)
def pack(counts: NDArray[np.int32], at: int) -> int:
    """Write counts as records.BLOCK says: varints (gap, count), (gap, count) ...

    Parameters
    ----------
    counts : (cell,) i4
        None of them negative.
    at : int
        Address of where to, with room for MOST_BYTES_A_CELL * len(counts).

    Returns
    -------
    int
        The end of what was written.
    """
    first, n = int(np.int64(counts.ctypes.data)), len(counts)
    last = cell = 0
    while cell < n:
        here = first + 4 * cell
        if cell + 8 <= n:  # most cells hold nothing
            words = load_i8(here) | load_i8(here + 8) | load_i8(here + 16) | load_i8(here + 24)
            if words == 0:
                cell += 8
                continue
            if words & ~0x7F0000007F == 0 and cell - last < 0x78:
                # Eight cells of one byte each: written in any case, and left behind if not 0. A
                # branch that cannot be foreseen costs more than both.
                for k in range(8):
                    count = load_i4(here + 4 * k)
                    store_u1(at, np.uint8(cell + k - last))
                    store_u1(at + 1, np.uint8(count))
                    at += 2 if count != 0 else 0
                    last = cell + k if count != 0 else last
                cell += 8
                continue
        count = load_i4(here)
        if count != 0:
            at = _put(cell - last, at)
            at = _put(count, at)
            last = cell
        cell += 1
    return at


@njit(cache=True, nogil=True)
def _take(at: int) -> tuple[int, int]:
    byte = load_u1(at)
    if byte < 0x80:  # nearly always
        return byte, at + 1
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = load_u1(at)
        number |= (byte & 0x7F) << shift
        shift += 7
    return number, at + 1


@njit(cache=True, nogil=True)
def unpack(at: int, end: int, counts: NDArray[np.int32]) -> None:
    """Fill `counts`, which are zero, with what `pack` wrote, now at addresses `at` to `end`.

    It trusts its input (our own store); models.feed reads what came over the wire.
    """
    cell = 0
    while at < end:
        gap, at = _take(at)
        number, at = _take(at)
        cell += gap
        counts[cell] = number
