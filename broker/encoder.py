"""The one kernel that writes Avro of any schema: the inverse of broker.interpreter.

There is room for what it writes: `Writer` has added up the most bytes that each row can take.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.interpreter import AT, DEFAULT, NOT_UTF8, OUT_OF_RANGE, SIZE, utf8
from broker.memory import (
    copy,
    load_f4,
    load_f8,
    load_i1,
    load_i2,
    load_i4,
    load_i8,
    load_u1,
    load_u2,
    load_u4,
    store_f4,
    store_f8,
    store_u1,
    word,
)

I8 = NDArray[np.int64]

# Instructions with their operands.
END = 0
CONSTANT = 1  # start, length in the constants
LOOP = 2  # table, target behind the loop; then the item's instructions, then NEXT
NEXT = 3
# Writes have 8 words: instruction, table, offset in its row, null's tag byte or -1, the value's
# tag byte, and three more.
REAL = 4  # bytes of the column, bytes in Avro
INT = 5  # form of the column (below), least, greatest
BOOL = 6  # form of the column
TEXT = 7  # bytes of the column, unused, 1 if it must be UTF-8
SPAN = 8  # unused, unused, 1 if it must be UTF-8
WRITE_WORDS = 8
#: Forms of integer columns; u8 is read as i8: beyond int64 it is negative, so out of range.
FORMS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")


@njit(cache=True, nogil=True)
def put_varint(to: int, value: int) -> int:
    """Write a zigzag number; the address behind it."""
    bits = np.uint64((value << 1) ^ (value >> 63))
    while bits > np.uint64(127):
        store_u1(to, np.uint8((bits & np.uint64(127)) | np.uint64(128)))
        bits >>= np.uint64(7)
        to += 1
    store_u1(to, np.uint8(bits))
    return to + 1


@njit(cache=True, nogil=True)
def load_int(at: int, form: int) -> int:
    value: int
    if form == 3 or form == 7:
        value = load_i8(at)
    elif form == 2:
        value = load_i4(at)
    elif form == 4:
        value = load_u1(at)
    elif form == 1:
        value = load_i2(at)
    elif form == 0:
        value = load_i1(at)
    elif form == 5:
        value = load_u2(at)
    else:
        value = load_u4(at)
    return value


@njit(cache=True, nogil=True)
def text_length(at: int, size: int) -> int:
    """Length of an S column's string: up to its trailing NULs."""
    while size > 0 and load_u1(at + size - 1) == 0:
        size -= 1
    return size


@njit(cache=True, nogil=True)
def same(a: int, b: int, size: int) -> bool:
    for i in range(size):  # noqa: SIM110 (Numba compiles no generators)
        if load_u1(a + i) != load_u1(b + i):
            return False
    return True


@njit(cache=True, nogil=True)
def is_null(op: int, size: int, at: int, default: int) -> bool:
    """Whether a column holds what stands for null: NaN, an empty span, or the default."""
    null: bool
    if op == REAL:
        value = np.float64(load_f4(at)) if size == 4 else load_f8(at)
        null = np.isnan(value)
    elif op == TEXT:
        null = same(at, default, size)
    elif op == SPAN:
        null = load_i8(at + 8) == 0
    else:
        null = load_int(at, size) == load_int(default, size)  # `size` is the form
    return null


@njit(cache=True, nogil=True)
def write(
    code: I8, constants: int, tables: I8, edges: I8, i: int, heap: int, to: int, rows: I8
) -> int:
    """Write value `i` at address `to`; the address behind it or an error code.

    Shapes: rows (table, 2): address of each table's current row, and the end of its rows.
    """
    pc = 0
    loop = 0  # index of the innermost loop; tables do not nest
    rows[0, 0] = tables[0, AT] + i * tables[0, SIZE]
    while True:
        op = word(code, pc)
        if op >= REAL:
            table = word(code, pc + 1)
            at = rows[table, 0] + word(code, pc + 2)
            size = word(code, pc + 5)
            null = word(code, pc + 3)
            if null >= 0:
                if is_null(op, size, at, tables[table, DEFAULT] + word(code, pc + 2)):
                    store_u1(to, np.uint8(null))
                    to += 1
                    pc += WRITE_WORDS
                    continue
                store_u1(to, np.uint8(word(code, pc + 4)))
                to += 1
            if op == REAL:
                real = np.float64(load_f4(at)) if size == 4 else load_f8(at)
                if word(code, pc + 6) == 4:
                    store_f4(to, np.float32(real))
                else:
                    store_f8(to, real)
                to += word(code, pc + 6)
            elif op == INT:
                value = load_int(at, size)
                if value < word(code, pc + 6) or value > word(code, pc + 7):
                    return OUT_OF_RANGE
                to = put_varint(to, value)
            elif op == BOOL:
                store_u1(to, np.uint8(load_int(at, size) != 0))
                to += 1
            else:
                if op == TEXT:
                    length = text_length(at, size)
                else:
                    length = load_i8(at + 8)
                    at = heap + load_i8(at)
                if word(code, pc + 7) == 1 and not utf8(at, at + length):
                    return NOT_UTF8
                to = put_varint(to, length)
                copy(to, at, length)
                to += length
            pc += WRITE_WORDS
        elif op == CONSTANT:
            copy(to, constants + word(code, pc + 1), word(code, pc + 2))
            to += word(code, pc + 2)
            pc += 3
        elif op == LOOP:
            loop = pc
            table = word(code, pc + 1)
            size = tables[table, SIZE]
            count = edges[table, i + 1] - edges[table, i]
            rows[table, 0] = tables[table, AT] + edges[table, i] * size
            rows[table, 1] = rows[table, 0] + count * size
            if count == 0:
                pc = word(code, pc + 2)
            else:
                to = put_varint(to, count)
                pc += 3
        elif op == NEXT:
            table = word(code, loop + 1)
            rows[table, 0] += tables[table, SIZE]
            pc = loop + 3 if rows[table, 0] < rows[table, 1] else pc + 1
        else:  # END
            return to


@njit(cache=True, nogil=True)
def write_batch(
    code: I8,
    constants: int,
    tables: I8,
    edges: I8,
    heap: int,
    prefix: int,
    n_prefix: int,
    out: int,
    ends: I8,
) -> int:
    """Write all values one behind another from address `out` on; value i to ends[i]:ends[i + 1].

    Returns 0, or the error code of the first that cannot be written; its end is then -1.
    Constants, heap and prefix are addresses.
    """
    rows = np.zeros((len(tables), 2), np.int64)
    to: int = out
    for i in range(len(ends) - 1):
        copy(to, prefix, n_prefix)
        to = write(code, constants, tables, edges, i, heap, to + n_prefix, rows)
        if to < 0:
            ends[i + 1] = -1
            return to
        ends[i + 1] = to - out
    return 0
