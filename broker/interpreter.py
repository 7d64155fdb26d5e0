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
from broker.layouts import fits, follow, layout_words, walk
from broker.memory import address_of, copy, load_i8, load_word, store_i8, store_word

I8 = NDArray[np.int64]

# Instructions with their operands. A jump's target is an index into the program.
END = 0
STRETCH = 1  # see below
UNION = 2  # branches, then a target for each
JUMP = 3  # target
LOOP = 4  # table or -1, target behind the loop; then the item's instructions, then NEXT
NEXT = 5
SKIP_ARRAY = 6  # bytes per item
# Operands of STRETCH: the table of its row; its first field and the one behind its last, as indices
# into the program; how many fields are wanted; bytes of its longest layout; where in the memory its
# layouts are, and how many at most.
TABLE, FIRST, LAST, WANTED, LONGEST, PLACE, KEPT = range(1, 8)
STRETCH_WORDS = 8

# Columns of the array `tables` (table, COLUMNS); its last row is the heap, whose rows are bytes.
AT, SIZE, DEFAULT, CAPACITY, COUNT = range(5)
COLUMNS = 5
MAX_DEPTH = 64  #: of a schema, so of the loops' stack
# The layouts of a stretch in the memory: how many are there, which came last, which goes next.
THERE, CAME, GOES = range(3)
LAYOUTS = 3


@njit(cache=True, nogil=True)
def stretch(code: int, op: int, memory: int, at: int, stop: int, row: int, heap: int) -> int:
    """Read one stretch of fields into the row; the address behind it, or an error code.

    `code`, `op`, `memory` and `heap` are the addresses of the program, of the instruction, of the
    layouts and of the heap's line in the tables.
    """
    wanted, longest = load_word(op, WANTED), load_word(op, LONGEST)
    known = memory + 8 * load_word(op, PLACE)
    size = 8 * layout_words(wanted, longest)
    mask = size - 2 * longest
    there, which = load_word(known, THERE), load_word(known, CAME)
    layout = known + 8 * LAYOUTS + which * size
    for _ in range(there):
        if fits(layout, layout + mask, longest, at, stop):
            store_word(known, CAME, which)
            error: int = follow(layout, wanted, at, row, heap)
            return error if error < 0 else at + load_i8(layout)
        which += 1
        layout += size
        if which == there:
            which, layout = 0, known + 8 * LAYOUTS
    which = load_word(known, GOES)
    layout = known + 8 * LAYOUTS + which * size
    field, last = code + 8 * load_word(op, FIRST), code + 8 * load_word(op, LAST)
    behind: int = walk(field, last, layout, wanted, longest, at, stop)
    if behind < 0:
        store_i8(layout, 0)
        return behind
    if load_i8(layout) > 0:
        store_word(known, CAME, which)
        store_word(known, THERE, max(there, which + 1))
        store_word(known, GOES, 0 if which + 1 == load_word(op, KEPT) else which + 1)
    error = follow(layout, wanted, at, row, heap)
    return error if error < 0 else behind


@njit(cache=True, nogil=True)
def new_row(tables: int, table: int) -> int:
    """Address of a table's next row, set to its default; 0 if there is no room."""
    line = tables + 8 * COLUMNS * table
    count = load_word(line, COUNT)
    if count >= load_word(line, CAPACITY):
        return 0
    size = load_word(line, SIZE)
    row: int = load_word(line, AT) + count * size
    copy(row, load_word(line, DEFAULT), size)
    store_word(line, COUNT, count + 1)
    return row


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
    rows = np.zeros(n_tables, np.int64)
    stack = np.zeros((MAX_DEPTH, 3), np.int64)
    before = np.zeros(n_tables, np.int64)
    while i < len(start):
        before[:] = tables[:, COUNT]
        rows[0] = new_row(lines, 0)  # there is room for a row of each datum
        at = read(code, memory, start[i], stop[i], lines, heap, address_of(rows), address_of(stack))
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
