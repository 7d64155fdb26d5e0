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


def record_ends(
    skipper: avro.Reader, value: bytes, start: int, end: int, count: int
) -> list[int]:
    """Ends of the `count` records from `start` on; the first that cannot be passed ends at `end`.

    `skipper` is a Reader of the records' schema that wants nothing. There are fewer ends than
    `count` if a record before the last cannot be passed.
    """
    scratch = np.zeros(2, np.uint8)  # the one row that the skipper has, and its default
    tables = np.zeros((2, 5), np.int64)
    tables[0] = scratch.ctypes.data, 1, scratch.ctypes.data + 1, 1, 0
    ends = np.zeros(count, np.int64)
    address = id(value) + avro.PAYLOAD
    passed = _ends(skipper._code, address + start, address + end, tables, ends)
    found: list[int] = (ends[:passed] - address).tolist()
    return found if passed == count else [*found, end]
