"""The one kernel that writes Avro of any schema: the inverse of broker.interpreter.

A value is written to one place that stays in the nearest cache, then copied to a bytes object of
its size. There is room for what it writes: `Writer` has added up the most bytes that each row can
take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from broker.bytewise import NOT_UTF8, OUT_OF_RANGE, utf8
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
    store_i8,
    store_u1,
    word,
)
from broker.objects import put_bytes

I8 = NDArray[np.int64]
Heap = tuple[int, int]  # address, length

# Instructions with their operands. Those that read a column begin with its table and its offset in
# the table's row.
END = 0
CONSTANT = 1  # start, length in the constants
LOOP = 2  # table, target behind the loop; then the item's instructions, then NEXT
NEXT = 3
OPTION = 4  # table, offset, test (REAL, TEXT, SPAN or INT), its size or form, tag of null, the
#             value's tag, target behind the value that follows
COPY = 5  # table, offset, bytes: neighbours of fixed size, in Avro as in the row
LONG = 6  # table, offset: an i8 that is an Avro long
INT4 = 7  # table, offset: an i4 that is an Avro int
WORD = 8  # table, offset, length: an enum's u1
INT = 9  # table, offset, form of the column (below), least, greatest
BOOL = 10  # table, offset, form
REAL = 11  # table, offset, bytes of the column, bytes in Avro
TEXT = 12  # table, offset, bytes of the column, 1 if it must be UTF-8
SPAN = 13  # table, offset, 1 if it must be UTF-8
ENCODED = 14  # table, offset: a span of bytes that are Avro already
#: Forms of integer columns; u8 is read as i8: beyond int64 it is negative, so out of range.
FORMS = ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
#: Columns of the array `tables` (table, 5): address and bytes of a row, address of the default row,
#: rows, and bytes that a row takes at most.
AT, SIZE, DEFAULT, ROWS, MOST = range(5)
SIZE_ROOM = 16  #: bytes before a value in which its length is made
SLACK = 8  #: bytes that a number may write behind its end

_GROUPS = np.uint64(0x8080808080808080)
OUTSIDE, NO_MEMORY = -100, -101  #: errors beside those of broker.interpreter


@intrinsic
def _leading_zeros(typing: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        false = context.get_constant(types.boolean, 0)
        return builder.ctlz(args[0], false)

    return types.int64(types.uint64), build


@njit(cache=True, nogil=True)
def put_varint(to: int, value: int) -> int:
    """Write a zigzag number; the address behind it. Up to SLACK bytes behind are overwritten."""
    bits = np.uint64((value << 1) ^ (value >> 63))
    if bits < np.uint64(128):
        store_u1(to, np.uint8(bits))
        return to + 1
    # Its lowest 8 groups of 7 bits at once, spread over 8 bytes: 28 + 28, then 14s, then 7s.
    x = bits & np.uint64(0x00FFFFFFFFFFFFFF)
    x = (x & np.uint64(0x0FFFFFFF)) | ((x & np.uint64(0x00FFFFFFF0000000)) << np.uint64(4))
    x = (x & np.uint64(0x00003FFF00003FFF)) | ((x & np.uint64(0x0FFFC0000FFFC000)) << np.uint64(2))
    x = (x & np.uint64(0x007F007F007F007F)) | ((x & np.uint64(0x3F803F803F803F80)) << np.uint64(1))
    length: int = ((63 - _leading_zeros(bits)) * 9 + 73) >> 6  # bits / 7, rounded up
    if length <= 8:
        more = _GROUPS & ((np.uint64(1) << np.uint64(8 * (length - 1))) - np.uint64(1))
        store_i8(to, np.int64(x | more))
        return to + length
    store_i8(to, np.int64(x | _GROUPS))
    top = bits >> np.uint64(56)
    if length == 9:
        store_u1(to + 8, np.uint8(top))
    else:
        store_u1(to + 8, np.uint8(top | np.uint64(128)))
        store_u1(to + 9, np.uint8(1))
    return to + length


@njit(cache=True, nogil=True)
def put(to: int, at: int, size: int) -> None:
    """`copy` for few bytes, which costs a call otherwise."""
    if size < 8 or size > 64:
        copy(to, at, size)
    else:
        for k in range(0, size - 8, 8):
            store_i8(to + k, load_i8(at + k))
        store_i8(to + size - 8, load_i8(at + size - 8))


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
    while size >= 8 and load_i8(at + size - 8) == 0:
        size -= 8
    while size > 0 and load_u1(at + size - 1) == 0:
        size -= 1
    return size


@njit(cache=True, nogil=True)
def is_text(at: int, length: int) -> bool:
    """Whether the bytes are UTF-8; ASCII is known eight at a time."""
    stop = at + length
    while stop - at >= 8 and load_i8(at) & 0x7F7F7F7F7F7F7F7F == load_i8(at):
        at += 8
    text: bool = utf8(at, stop)
    return text


@njit(cache=True, nogil=True)
def same(a: int, b: int, size: int) -> bool:
    for i in range(size):  # noqa: SIM110 (Numba compiles no generators)
        if load_u1(a + i) != load_u1(b + i):
            return False
    return True


@njit(cache=True, nogil=True)
def is_null(test: int, size: int, at: int, default: int) -> bool:
    """Whether a column holds what stands for null: NaN, an empty span, or the default."""
    null: bool
    if test == REAL:
        value = np.float64(load_f4(at)) if size == 4 else load_f8(at)
        null = np.isnan(value)
    elif test == TEXT:
        null = same(at, default, size)
    elif test == SPAN:
        null = load_i8(at + 8) == 0
    else:
        null = load_int(at, size) == load_int(default, size)  # `size` is the form
    return null


@njit(cache=True, nogil=True)
def inside(span: int, heap: int) -> bool:
    """Whether the span at an address lies inside a heap of so many bytes."""
    start, length = load_i8(span), load_i8(span + 8)
    found: bool = start >= 0 and length >= 0 and start <= heap - length
    return found


@njit(cache=True, nogil=True)
def write(
    code: I8, constants: int, tables: I8, edges: I8, i: int, heap: Heap, to: int, rows: I8
) -> int:
    """Write value `i` at address `to`; the address behind it or an error code.

    Shapes: rows (table, 2): address of each table's current row, and the end of its rows.
    """
    pc = 0
    loop = 0  # index of the innermost loop; tables do not nest
    while True:
        op = word(code, pc)
        if op >= OPTION:
            table = word(code, pc + 1)
            at = word(rows, 2 * table) + word(code, pc + 2)
            if op == COPY:
                size = word(code, pc + 3)
                put(to, at, size)
                to += size
                pc += 4
            elif op == LONG:
                to = put_varint(to, load_i8(at))
                pc += 3
            elif op == INT4:
                to = put_varint(to, load_i4(at))
                pc += 3
            elif op == WORD:
                value = load_u1(at)
                if value >= word(code, pc + 3):
                    return OUT_OF_RANGE
                to = put_varint(to, value)
                pc += 4
            elif op == INT:
                value = load_int(at, word(code, pc + 3))
                if value < word(code, pc + 4) or value > word(code, pc + 5):
                    return OUT_OF_RANGE
                to = put_varint(to, value)
                pc += 6
            elif op == BOOL:
                store_u1(to, np.uint8(load_int(at, word(code, pc + 3)) != 0))
                to += 1
                pc += 4
            elif op == REAL:
                real = np.float64(load_f4(at)) if word(code, pc + 3) == 4 else load_f8(at)
                if word(code, pc + 4) == 4:
                    store_f4(to, np.float32(real))
                else:
                    store_f8(to, real)
                to += word(code, pc + 4)
                pc += 5
            elif op == TEXT:
                length = text_length(at, word(code, pc + 3))
                if word(code, pc + 4) == 1 and not is_text(at, length):
                    return NOT_UTF8
                to = put_varint(to, length)
                put(to, at, length)
                to += length
                pc += 5
            elif op == SPAN:
                length = load_i8(at + 8)
                if not inside(at, heap[1]):
                    return OUTSIDE
                at = heap[0] + load_i8(at)
                if word(code, pc + 3) == 1 and not is_text(at, length):
                    return NOT_UTF8
                to = put_varint(to, length)
                copy(to, at, length)
                to += length
                pc += 4
            elif op == ENCODED:
                if not inside(at, heap[1]):
                    return OUTSIDE
                copy(to, heap[0] + load_i8(at), load_i8(at + 8))
                to += load_i8(at + 8)
                pc += 3
            else:  # OPTION
                default = tables[table, DEFAULT] + word(code, pc + 2)
                if is_null(word(code, pc + 3), word(code, pc + 4), at, default):
                    store_u1(to, np.uint8(word(code, pc + 5)))
                    pc = word(code, pc + 7)
                else:
                    store_u1(to, np.uint8(word(code, pc + 6)))
                    pc += 8
                to += 1
        elif op == CONSTANT:
            size = word(code, pc + 2)
            if size <= 8:  # constants have as many bytes behind them, and so has the room
                store_i8(to, load_i8(constants + word(code, pc + 1)))
            else:
                put(to, constants + word(code, pc + 1), size)
            to += size
            pc += 3
        elif op == LOOP:
            loop = pc
            table = word(code, pc + 1)
            size = tables[table, SIZE]
            count = edges[table, i + 1] - edges[table, i]
            rows[2 * table] = tables[table, AT] + edges[table, i] * size
            rows[2 * table + 1] = rows[2 * table] + count * size
            if count == 0:
                pc = word(code, pc + 2)
            else:
                to = put_varint(to, count)
                pc += 3
        elif op == NEXT:
            table = word(code, loop + 1)
            rows[2 * table] += tables[table, SIZE]
            pc = loop + 3 if rows[2 * table] < rows[2 * table + 1] else pc + 1
        else:  # END
            return to


@njit(cache=True, nogil=True)
def room_needed(tables: I8, edges: I8, spans: I8, heap: int) -> tuple[int, int]:
    """Bytes that writing a value needs at most, and -1; or 0 and the first table that its edges do
    not divide. Shape: spans (span, 2) table, offset; `heap` is the length of the bytes they name.
    """
    size = SIZE_ROOM + SLACK
    longest = np.zeros(len(tables), np.int64)
    for k in range(len(spans)):
        table, most = spans[k, 0], 0
        for i in range(tables[table, ROWS]):
            at = tables[table, AT] + i * tables[table, SIZE] + spans[k, 1]
            most = max(most, load_i8(at + 8))
        longest[table] += min(most, heap)
    for t in range(len(tables)):
        most = 1
        if t > 1:
            most, before = 0, 0
            for i in range(edges.shape[1]):
                if edges[t, i] < before:
                    return 0, t
                if i > 0:
                    most = max(most, edges[t, i] - before)
                before = edges[t, i]
            if before > tables[t, ROWS]:
                return 0, t
        size += most * (tables[t, MOST] + longest[t])
    return size, -1


@njit(cache=True)
def write_batch(
    code: I8,
    constants: int,
    tables: I8,
    edges: I8,
    heap: NDArray[np.uint8],
    frame: tuple[int, int, int, int, int],
    room: NDArray[np.uint8],
    values: int,
    n: int,
) -> tuple[int, int]:
    """Write n values into the list whose ``id`` is `values`.

    Returns the number of the first that cannot be written and why, or n and 0. `constants` is an
    address, `room` as long as `room_needed` says. `frame` is what stands around each value:
    address and length of what stands before, of what stands behind, and 1 if the value's own
    length stands right before it. Shapes: tables (table, 5), edges (table, n + 1).
    """
    out: int = room.ctypes.data
    body = out + SIZE_ROOM
    its_heap = (heap.ctypes.data, len(heap))
    rows = np.zeros(2 * len(tables), np.int64)
    before, n_before, behind, n_behind, sized = frame
    for i in range(n):
        for t in range(2):
            rows[2 * t] = tables[t, AT] + i * tables[t, SIZE]
        to = write(code, constants, tables, edges, i, its_heap, body, rows)
        if to < 0:
            return i, to
        length = to - body
        n_size = put_varint(out, length) - out if sized else 0
        at = put_bytes(values, i, n_before + n_size + length + n_behind)
        if at == 0:
            return i, NO_MEMORY
        copy(at, before, n_before)
        copy(at + n_before, out, n_size)
        at += n_before + n_size
        copy(at, body, length)
        copy(at + length, behind, n_behind)
    return n, 0
