"""The one kernel that reads Avro of any schema: a loop over the words of a compiled program.

A program (broker.avro_read compiles it) is an int64 array of instructions: read a stretch of fields
into the current row of a table (broker.layouts), branch, loop. Rows are written by byte offset into
NumPy structured arrays, and no byte is read that lies outside the datum.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.bytewise import BLOCK, BRANCH, FULL, LEFT_OVER, TRUNCATED, block, varint
from broker.layouts import (
    LONGEST,
    PLACE,
    STRETCH_WORDS,
    TABLE,
    WANTED,
    known_stretch,
    stretch,
)
from broker.memory import address_of, copy, copy32, load_i8, load_word, store_word

I8 = NDArray[np.int64]

# Instructions with their operands. A jump's target is an index into the program.
END = 0
STRETCH = 1  # fields into the current row of a table: see broker.layouts
ROWS = 2  # an array of which each item is one stretch and a new row: the same operands
UNION = 3  # branches, then a target for each
JUMP = 4  # target
LOOP = 5  # table or -1, target behind the loop; then the item's instructions, then NEXT
NEXT = 6
SKIP_ARRAY = 7  # bytes per item

# Columns of the array `tables` (table, COLUMNS); its last row is the heap, whose rows are bytes.
AT, SIZE, DEFAULT, CAPACITY, COUNT = range(5)
COLUMNS = 5
MAX_DEPTH = 64  #: of a schema, so of the loops' stack


@njit(cache=True, nogil=True, forceinline=True)
def new_row(tables: int, table: int) -> int:
    """Address of a table's next row, set to its default; 0 if there is no room."""
    line = tables + 8 * COLUMNS * table
    count = load_word(line, COUNT)
    if count >= load_word(line, CAPACITY):
        return 0
    size = load_word(line, SIZE)
    row: int = load_word(line, AT) + count * size
    default = load_word(line, DEFAULT)
    if size % 32 == 0:
        for i in range(0, size, 32):
            copy32(row + i, default + i)
    else:
        copy(row, default, size)
    store_word(line, COUNT, count + 1)
    return row


@njit(cache=True, nogil=True)
def rows(code: int, op: int, memory: int, at: int, stop: int, tables: int, heap: int) -> int:
    """Read an array whose items are one stretch each; the address behind it, or an error code."""
    table = load_word(op, TABLE)
    wanted, longest = load_word(op, WANTED), load_word(op, LONGEST)
    known = memory + 8 * load_word(op, PLACE)
    while True:
        items, behind, at = block(at, stop)
        if at < 0 or items == 0:
            return at
        if items > stop - at:  # an item has at least one byte
            return TRUNCATED
        for _ in range(items):
            row = new_row(tables, table)
            if row == 0:
                return FULL - table  # type: ignore[no-any-return]
            at = known_stretch(code, op, wanted, longest, known, at, stop, row, heap)
            if at < 0:
                return at
        if behind != 0 and at != behind:
            return BLOCK


@njit(cache=True, nogil=True)
def read(
    code: int, memory: int, at: int, stop: int, tables: int, heap: int, row: int, stack: int
) -> int:
    """Read one datum at [at, stop) into the tables; the address behind it or an error code.

    All are addresses. Shapes: row (table,) addresses of the current rows, row[0] set; stack
    (MAX_DEPTH, 3): of each loop the items left, its first instruction, where its block ends or 0.
    """
    pc = code
    top = stack - 24
    while True:
        op = load_i8(pc)
        if op == STRETCH:
            to: int = load_word(row, load_word(pc, TABLE))
            at = stretch(code, pc, memory, at, stop, to, heap)
            if at < 0:
                return at - (heap - tables) // (8 * COLUMNS) if at == FULL else at
            pc += 8 * STRETCH_WORDS
        elif op == ROWS:
            at = rows(code, pc, memory, at, stop, tables, heap)
            if at < 0:
                return at - (heap - tables) // (8 * COLUMNS) if at == FULL else at
            pc += 8 * STRETCH_WORDS
        elif op in (LOOP, NEXT):
            if op == LOOP:
                top += 24
                store_word(top, 0, 1)
                store_word(top, 1, pc + 24)
                store_word(top, 2, 0)
            body = load_word(top, 1)
            table = load_word(body, -2)
            left = load_word(top, 0) - 1
            while left == 0:
                behind = load_word(top, 2)
                if behind != 0 and at != behind:
                    return BLOCK
                left, behind, at = block(at, stop)
                if at < 0:
                    return at
                if left == 0:
                    break
                if left > stop - at:  # an item has at least one byte
                    return TRUNCATED
                store_word(top, 2, behind)
                if table < 0 and behind != 0:  # not wanted, and its size is known
                    at = behind
                    left = 0
            store_word(top, 0, left)
            if left == 0:
                top -= 24
                pc = code + 8 * load_word(body, -1)
            else:
                pc = body
                if table >= 0:
                    to = new_row(tables, table)
                    if to == 0:
                        return FULL - table  # type: ignore[no-any-return]
                    store_word(row, table, to)
        elif op == UNION:
            value, at = varint(at, stop)
            if at < 0:
                return at
            if value < 0 or value >= load_word(pc, 1):
                return BRANCH
            pc = code + 8 * load_word(pc, 2 + value)
        elif op == JUMP:
            pc = code + 8 * load_word(pc, 1)
        elif op == SKIP_ARRAY:
            size = load_word(pc, 1)
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
            pc += 16
        else:  # END
            return at


@njit(cache=True, nogil=True)
def read_batch(
    code: int,
    memory: int,
    start: I8,
    stop: I8,
    i: int,
    tables: I8,
    first: I8,
    status: I8,
) -> tuple[int, int]:
    """Read the data at addresses [start, stop) from number `i` on.

    Returns the number of the datum that found a table full, and the table (grow it and go on
    from there); or the number of data. A failed datum leaves no rows. `code` and `memory` are
    addresses; tables (table + 1, COLUMNS), first (table + 1, datum + 1), status (datum,).
    """
    n_tables = len(tables)
    lines = address_of(tables)
    heap = lines + 8 * COLUMNS * (n_tables - 1)
    row = np.zeros(n_tables, np.int64)
    stack = np.zeros((MAX_DEPTH, 3), np.int64)
    before = np.zeros(n_tables, np.int64)
    while i < len(start):
        before[:] = tables[:, COUNT]
        row[0] = new_row(lines, 0)  # there is room for a row of each datum
        at = read(code, memory, start[i], stop[i], lines, heap, address_of(row), address_of(stack))
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
def split(code: int, memory: int, at: int, stop: int, offsets: I8) -> int:
    """Addresses of the data that stand one behind another in [at, stop), and how many they are.

    `code` only skips. The last datum goes to `stop`, come what may.
    """
    row = np.zeros(1, np.int64)
    stack = np.zeros((MAX_DEPTH, 3), np.int64)
    offsets[0] = at
    for i in range(1, len(offsets)):
        at = read(code, memory, at, stop, 0, 0, address_of(row), address_of(stack))
        if at < 0 or i == len(offsets) - 1:
            offsets[i] = stop
            return i
        offsets[i] = at
    return 0
