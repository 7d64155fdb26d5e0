"""Where the records end that stand one behind the other in a container's block."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import avro
from broker import interpreter as ops


@njit(cache=True, nogil=True)
def _ends(code: ops.I8, at: int, stop: int, tables: ops.I8, ends: ops.I8) -> int:
    row = np.zeros(len(tables), np.int64)
    stack = np.zeros((ops.MAX_DEPTH, 3), np.int64)
    for i in range(len(ends)):
        tables[0, ops.COUNT] = 0
        at = ops.read(code, at, stop, tables, row, stack)
        if at < 0:
            return i
        ends[i] = at
    return len(ends)


def record_bounds(
    skipper: avro.Reader, value: bytes, start: int, end: int, count: int
) -> NDArray[np.int64]:
    """(n, 2) [start, end) of the `count` records of a block.

    The last one ends where the block does, and one that cannot be passed too: reading it then says
    what is wrong. Behind that one nothing can be found, so n is less than `count`.
    `skipper` is a Reader of the records' schema that wants nothing.
    """
    bounds = np.full((count, 2), end, np.int64)
    bounds[0, 0] = start
    if count > 1:
        scratch = np.zeros(2, np.uint8)  # the one row that the skipper has, and its default
        tables = np.zeros((2, 5), np.int64)
        tables[0] = scratch.ctypes.data, 1, scratch.ctypes.data + 1, 1, 0
        ends = np.zeros(count - 1, np.int64)
        address = id(value) + avro.PAYLOAD
        passed = _ends(skipper._code, address + start, address + end, tables, ends)
        bounds[:-1, 1] = ends - address
        bounds[1:, 0] = ends - address
        if passed < len(ends):
            bounds[passed, 1] = end
            bounds = bounds[: passed + 1]
    return bounds
