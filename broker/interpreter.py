"""The one kernel that reads Avro of any schema: a loop over the words of a compiled program.

A program (broker.avro compiles it) is an int64 array of instructions: skip, branch, loop, read a
value into the current row of a table. Rows are written by byte offset into NumPy structured arrays,
and no byte is read that lies outside the datum. Source of the encoding: Avro 1.12 specification,
"Binary encoding".
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.memory import (
    clear,
    copy,
    load_f4,
    load_f8,
    load_i4,
    load_i8,
    load_u1,
    store_f4,
    store_f8,
    store_i2,
    store_i4,
    store_i8,
    store_u1,
    word,
)

I8 = NDArray[np.int64]

# Instructions with their operands. A jump's target is an index into the program.
END = 0
SKIP = 1  # bytes
SKIP_VARINT = 2
SKIP_LENGTH = 3  # a length, then as many bytes
SKIP_OPTION = 4  # null's tag byte, bytes, repeats: so many [null, fixed size] in a row
SKIP_OPTION_VARINT = 5  # null's tag byte
SKIP_OPTION_LENGTH = 6  # null's tag byte
SKIP_ARRAY = 7  # bytes per item
UNION = 8  # branches, then a target for each
JUMP = 9  # target
LOOP = 10  # table or -1, target behind the loop; then the item's instructions, then NEXT
NEXT = 11
MARK = 12  # the value that comes is read more than once:
BACK = 13  # here again
# Reads have 7 words: instruction, table, offset in its row, null's tag byte or -1, and three more.
COPY4 = 14
COPY8 = 15
INT = 16  # bytes of the column, least, greatest
BOOL = 17  # bytes of the column
REAL = 18  # source: one of FLOAT ... below, bytes of the column
TEXT = 19  # bytes of the column, fixed length or -1, 1 if it must be UTF-8
SPAN = 20  # unused, fixed length or -1, 1 if it must be UTF-8
READ_WORDS = 7
FLOAT, DOUBLE, VARINT, BOOLEAN = range(4)

# What a read returns instead of an address. Below FULL: table FULL - code has no room.
TRUNCATED, OVERLONG, BRANCH, TOO_LONG, LEFT_OVER = -1, -2, -3, -4, -5
NEGATIVE, OUT_OF_RANGE, BLOCK, NOT_BOOLEAN, NOT_UTF8, NUL = -6, -7, -8, -9, -10, -11
FULL = -1000

# Columns of the array `tables` (table, 5); its last row is the heap, whose rows are bytes.
AT, SIZE, DEFAULT, CAPACITY, COUNT = range(5)
MAX_DEPTH = 64  #: of a schema, so of the loops' stack


@njit(cache=True, nogil=True)
def varint(at: int, stop: int) -> tuple[int, int]:
    """The zigzag number at `at`, and the address behind it or an error code."""
    if at >= stop:
        return 0, TRUNCATED
    byte = load_u1(at)
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), at + 1
    bits = byte & 127
    for i in range(1, 10):
        if at + i >= stop:
            return 0, TRUNCATED
        byte = load_u1(at + i)
        bits |= (byte & 127) << (7 * i)
        if byte < 128:
            if i == 9 and byte > 1:
                return 0, OVERLONG
            return ((bits >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(bits & 1), at + i + 1
    return 0, OVERLONG


@njit(cache=True, nogil=True)
def utf8(at: int, stop: int) -> bool:
    """Whether the bytes are well-formed UTF-8 (Unicode 16, table 3-7)."""
    while at < stop:
        byte = load_u1(at)
        at += 1
        if byte < 0x80:
            continue
        low, high = 0x80, 0xBF
        if 0xC2 <= byte <= 0xDF:
            more = 1
        elif 0xE0 <= byte <= 0xEF:
            more = 2
            if byte == 0xE0:
                low = 0xA0
            elif byte == 0xED:
                high = 0x9F
        elif 0xF0 <= byte <= 0xF4:
            more = 3
            if byte == 0xF0:
                low = 0x90
            elif byte == 0xF4:
                high = 0x8F
        else:
            return False
        if stop - at < more:
            return False
        for _ in range(more):
            byte = load_u1(at)
            if byte < low or byte > high:
                return False
            low, high = 0x80, 0xBF
            at += 1
    return True


@njit(cache=True, nogil=True)
def block(at: int, stop: int) -> tuple[int, int, int]:
    """Header of an array's block.

    Returns its items, the address behind its bytes (0: not said), and the address behind the
    header or an error code.
    """
    items, at = varint(at, stop)
    if at < 0:
        return 0, 0, at
    if items >= 0:
        return items, 0, at
    items = -items
    size, at = varint(at, stop)
    if at < 0:
        return 0, 0, at
    if size < 0 or items < 0:  # the least int64 has no negative
        return 0, 0, NEGATIVE
    if size > stop - at:
        return 0, 0, TRUNCATED
    return items, at + size, at


@njit(cache=True, nogil=True)
def put_int(to: int, size: int, value: int) -> None:
    if size == 8:
        store_i8(to, value)
    elif size == 4:
        store_i4(to, np.int32(value))
    elif size == 1:
        store_u1(to, np.uint8(value))
    else:
        store_i2(to, np.int16(value))


@njit(cache=True, nogil=True)
def new_row(tables: I8, table: int) -> int:
    """Address of a table's next row, set to its default; 0 if there is no room."""
    count = tables[table, COUNT]
    if count >= tables[table, CAPACITY]:
        return 0
    size = tables[table, SIZE]
    row: int = tables[table, AT] + count * size
    copy(row, tables[table, DEFAULT], size)
    tables[table, COUNT] = count + 1
    return row


@njit(cache=True, nogil=True)
def read(code: I8, at: int, stop: int, tables: I8, row: I8, stack: I8) -> int:
    """Read one datum at [at, stop) into the tables; the address behind it or an error code.

    Shapes: row (table,) addresses of the current rows, row[0] set; stack (MAX_DEPTH, 3).
    """
    pc: int = 0
    depth, mark = 0, at
    heap = len(tables) - 1
    while True:
        op = word(code, pc)
        if op >= COPY4:
            null = word(code, pc + 3)
            if null >= 0:
                if at >= stop:
                    return TRUNCATED
                tag = load_u1(at)
                at += 1
                if tag & ~2:
                    return BRANCH
                if tag == null:
                    pc += READ_WORDS
                    continue
            to = word(row, word(code, pc + 1)) + word(code, pc + 2)
            if op == COPY4:
                if stop - at < 4:
                    return TRUNCATED
                store_i4(to, load_i4(at))
                at += 4
            elif op == COPY8:
                if stop - at < 8:
                    return TRUNCATED
                store_i8(to, load_i8(at))
                at += 8
            elif op == INT:
                value, at = varint(at, stop)
                if at < 0:
                    return at
                if value < word(code, pc + 5) or value > word(code, pc + 6):
                    return OUT_OF_RANGE
                put_int(to, word(code, pc + 4), value)
            elif op == BOOL:
                if at >= stop:
                    return TRUNCATED
                value = load_u1(at)
                at += 1
                if value > 1:
                    return NOT_BOOLEAN
                put_int(to, word(code, pc + 4), value)
            elif op == REAL:
                source = word(code, pc + 4)
                if source == VARINT:
                    value, at = varint(at, stop)
                    if at < 0:
                        return at
                    real = np.float64(value)
                else:
                    size = 4 if source == FLOAT else 8 if source == DOUBLE else 1
                    if stop - at < size:
                        return TRUNCATED
                    if source == FLOAT:
                        real = np.float64(load_f4(at))
                    elif source == DOUBLE:
                        real = load_f8(at)
                    else:
                        real = np.float64(load_u1(at))
                        if real > 1:
                            return NOT_BOOLEAN
                    at += size
                if word(code, pc + 5) == 8:
                    store_f8(to, real)
                else:
                    store_f4(to, np.float32(real))
            else:  # TEXT, SPAN
                length = word(code, pc + 5)
                if length < 0:
                    length, at = varint(at, stop)
                    if at < 0:
                        return at
                    if length < 0:
                        return NEGATIVE
                if length > stop - at:
                    return TRUNCATED
                if word(code, pc + 6) == 1 and not utf8(at, at + length):
                    return NOT_UTF8
                if op == TEXT:
                    if length > word(code, pc + 4):
                        return TOO_LONG
                    if length > 0 and load_u1(at + length - 1) == 0:
                        return NUL  # a NumPy S column would drop it
                    copy(to, at, length)
                    clear(to + length, word(code, pc + 4) - length)
                else:
                    used = tables[heap, COUNT]
                    if used + length > tables[heap, CAPACITY]:
                        return FULL - heap
                    copy(tables[heap, AT] + used, at, length)
                    tables[heap, COUNT] = used + length
                    store_i8(to, used)
                    store_i8(to + 8, length)
                at += length
            pc += READ_WORDS
        elif op == SKIP_OPTION:
            null, step = word(code, pc + 1), word(code, pc + 2) + 1
            left = word(code, pc + 3)
            if left * step <= stop - at:  # so no tag lies behind the end
                while left > 0:
                    # Two loops: a predicted exit beats an address that waits for each tag.
                    while left > 0 and load_u1(at) == 2 - null:
                        at += step
                        left -= 1
                    while left > 0 and load_u1(at) == null:
                        at += 1
                        left -= 1
                    if left > 0 and load_u1(at) & ~2:
                        return BRANCH
            while left > 0:
                if at >= stop:
                    return TRUNCATED
                tag = load_u1(at)
                if tag & ~2:
                    return BRANCH
                at += 1 if tag == null else step
                left -= 1
            if at > stop:
                return TRUNCATED
            pc += 4
        elif op == SKIP:
            if word(code, pc + 1) > stop - at:
                return TRUNCATED
            at += word(code, pc + 1)
            pc += 2
        elif op == SKIP_VARINT:
            _, at = varint(at, stop)
            if at < 0:
                return at
            pc += 1
        elif op in (SKIP_LENGTH, SKIP_OPTION_LENGTH, SKIP_OPTION_VARINT):
            present = True
            if op != SKIP_LENGTH:
                if at >= stop:
                    return TRUNCATED
                tag = load_u1(at)
                at += 1
                if tag & ~2:
                    return BRANCH
                present = tag != word(code, pc + 1)
                pc += 1
            if present:
                length, at = varint(at, stop)
                if at < 0:
                    return at
                if op != SKIP_OPTION_VARINT:
                    if length < 0:
                        return NEGATIVE
                    if length > stop - at:
                        return TRUNCATED
                    at += length
            pc += 1
        elif op in (LOOP, NEXT):
            if op == LOOP:
                stack[depth, 0] = 1
                stack[depth, 1] = pc + 3
                stack[depth, 2] = 0
                depth += 1
            top = depth - 1
            body = stack[top, 1]
            table: int = word(code, body - 2)
            left = stack[top, 0] - 1
            while left == 0:
                behind = stack[top, 2]
                if behind != 0 and at != behind:
                    return BLOCK
                left, behind, at = block(at, stop)
                if at < 0:
                    return at
                if left == 0:
                    break
                if left > stop - at:  # an item has at least one byte
                    return TRUNCATED
                stack[top, 2] = behind
                if table < 0 and behind != 0:  # not wanted, and its size is known
                    at = behind
                    left = 0
            stack[top, 0] = left
            if left == 0:
                depth -= 1
                pc = word(code, body - 1)
            else:
                pc = body
                if table >= 0:
                    row[table] = new_row(tables, table)
                    if row[table] == 0:
                        return FULL - table
        elif op == UNION:
            value, at = varint(at, stop)
            if at < 0:
                return at
            if value < 0 or value >= word(code, pc + 1):
                return BRANCH
            pc = word(code, pc + 2 + value)
        elif op == JUMP:
            pc = word(code, pc + 1)
        elif op == SKIP_ARRAY:
            size = word(code, pc + 1)
            while True:
                items, behind, at = block(at, stop)
                if at < 0:
                    return at
                if items == 0:
                    break
                if size > 0:
                    if items > (stop - at) // size:
                        return TRUNCATED
                    at += items * size
                if behind != 0 and at != behind:
                    return BLOCK
            pc += 2
        elif op == MARK:
            mark = at
            pc += 1
        elif op == BACK:
            at = mark
            pc += 1
        else:  # END
            return at


@njit(cache=True, nogil=True)
def read_batch(
    code: I8, start: I8, stop: I8, i: int, tables: I8, first: I8, status: I8
) -> tuple[int, int]:
    """Read the data at addresses [start, stop) from number `i` on.

    Returns the number of the datum that found a table full, and the table (grow it and go on
    from there); or the number of data. A failed datum leaves no rows.
    """
    n_tables = len(tables)
    row = np.zeros(n_tables, np.int64)
    stack = np.zeros((MAX_DEPTH, 3), np.int64)
    before = np.zeros(n_tables, np.int64)
    while i < len(start):
        before[:] = tables[:, COUNT]
        row[0] = new_row(tables, 0)  # there is room for a row of each datum
        at = read(code, start[i], stop[i], tables, row, stack)
        if at >= 0 and at != stop[i]:
            at = LEFT_OVER
        if at < 0:
            tables[:, COUNT] = before
            if at <= FULL:
                return i, FULL - at
            status[i] = at
        else:
            status[i] = before[0]
            first[:, before[0] + 1] = tables[:, COUNT]
        i += 1
    return i, -1


@njit(cache=True, nogil=True)
def split(code: I8, at: int, stop: int, offsets: I8) -> int:
    """Addresses of the data that stand one behind another in [at, stop), and how many they are.

    `code` only skips. The last datum goes to `stop`, come what may.
    """
    tables = np.zeros((1, 5), np.int64)
    row = np.zeros(1, np.int64)
    stack = np.zeros((MAX_DEPTH, 3), np.int64)
    offsets[0] = at
    for i in range(1, len(offsets)):
        at = read(code, at, stop, tables, row, stack)
        if at < 0 or i == len(offsets) - 1:
            offsets[i] = stop
            return i
        offsets[i] = at
    return 0
