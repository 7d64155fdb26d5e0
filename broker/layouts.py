"""Fields without arrays or wide unions: walked once, then known by where their values lie.

The rows of an alert's history repeat a few layouts hundreds of times: the same nulls, the same
lengths of numbers and strings (real LSST packets: 21 layouts in 11,300 sources). A stretch of
fields is walked byte by byte with every check, and the walk leaves its layout: which bits of its
bytes made it so, and moves from its bytes to columns. Where a later stretch has these bits too,
32 bytes compared at a time, only the moves are left to do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from broker.bytewise import (
    BRANCH,
    NEGATIVE,
    NOT_UTF8,
    TOO_LONG,
    TRUNCATED,
    seven_bits,
    utf8,
    varint,
)
from broker.memory import clear, differ16, differ32, load_u1, load_word, store_u1, store_word
from broker.moves import (
    COPY,
    EIGHTS,
    FOURS,
    HEAD,
    LENGTH,
    MOVE_WORDS,
    MOVES,
    NOTHING,
    TEXT,
    follow,
)

# A field, in words: how it lies in the datum, and where to its value goes.
LIES, NULL, BYTES, TIMES, MOVE, TO, WIDTH, LOW, HIGH = range(9)
FIELD_WORDS = 9
# LIES. AGAIN: the value before, into another column.
FIXED, VARINT, SIZED, AGAIN = range(4)
# MOVE: one of broker.moves. LOW and HIGH: range of an INT; LOW is 1 for a TEXT or SPAN that must be
# UTF-8.

# Operands of an instruction that reads a stretch: the table of its row; its first field and the one
# behind its last, as indices into the program; how many fields are wanted; bytes of its longest
# layout; where in the memory its layouts are, and how many at most.
TABLE, FIRST, LAST, WANTED, LONGEST, PLACE, KEPT = range(1, 8)
STRETCH_WORDS = 8
# In the memory: how many layouts are there, which came last, which goes next; then the layouts, and
# in each behind its moves the mask, and the bits that must stand under it.
THERE, CAME, GOES = range(3)
KNOWN = 3
LEAST = 16  #: bytes of a layout that can be compared


@njit(cache=True, nogil=True, forceinline=True)
def layout_words(wanted: int, longest: int) -> int:
    """Size of a layout of at most `longest` bytes, a multiple of 8."""
    return HEAD + (2 + MOVE_WORDS) * wanted + longest // 4


@njit(cache=True, nogil=True, forceinline=True)
def fits(layout: int, mask: int, longest: int, at: int, stop: int) -> bool:
    """Whether the bytes at `at` have this layout."""
    length = load_word(layout, LENGTH)
    if length == 0 or length > stop - at:
        return False
    bits = mask + longest
    i: int = 0
    while i + 32 < length:
        if differ32(at + i, mask + i, bits + i):
            return False
        i += 32
    if i + 16 < length and differ16(at + i, mask + i, bits + i):
        return False
    i = length - 16
    return not differ16(at + i, mask + i, bits + i)


@njit(cache=True, nogil=True)
def demand(mask: int, longest: int, i: int, bits: int, value: int) -> None:
    """Byte `i` of a layout must have this value under these bits."""
    if i < longest:
        store_u1(mask + i, np.uint8(bits))
        store_u1(mask + longest + i, np.uint8(value))


@njit(cache=True, nogil=True)
def walk(field: int, last: int, layout: int, wanted: int, longest: int, at: int, stop: int) -> int:
    """Find the layout of the fields at `at`; the address behind them, or an error code."""
    begin = at
    eights, fours, moves = 0, 0, 0
    eights_at = layout + 8 * HEAD
    fours_at = eights_at + 8 * wanted
    moves_at = fours_at + 8 * wanted
    mask = moves_at + 8 * MOVE_WORDS * wanted
    clear(mask, longest)
    keep = True
    here: int = at
    length, present = 0, False
    while field < last:
        lies, move = load_word(field, LIES), load_word(field, MOVE)
        if lies != AGAIN:
            null = load_word(field, NULL)
            for _ in range(load_word(field, TIMES)):
                present = True
                if null >= 0:
                    if at >= stop:
                        return TRUNCATED
                    tag = load_u1(at)
                    if tag & ~2:
                        return BRANCH
                    demand(mask, longest, at - begin, 255, tag)
                    at += 1
                    present = tag != null
                if present:
                    here, length = at, load_word(field, BYTES)
                    if lies != FIXED:
                        value, here = varint(at, stop)
                        if here < 0:
                            return here
                        if lies == SIZED:
                            if value < 0:
                                return NEGATIVE
                            for i in range(at, here):
                                demand(mask, longest, i - begin, 255, load_u1(i))
                            length = value
                        else:
                            for i in range(at, here):
                                bits = 254 if i - at == 9 else 128
                                demand(mask, longest, i - begin, bits, load_u1(i) & bits)
                            here, length = at, here - at
                    if length > stop - here:
                        return TRUNCATED
                    at = here + length
        if move != NOTHING and present:
            source = here - begin
            to = load_word(field, TO)
            low = load_word(field, LOW)
            if move == COPY and length == 8:
                store_word(eights_at, eights, source | to << 32)
                eights += 1
            elif move == COPY:
                pair = source | to << 32
                before = load_word(fours_at, fours - 1)
                if fours > 0 and pair - before == 4 | 4 << 32:
                    fours -= 1
                    store_word(eights_at, eights, before)
                    eights += 1
                else:
                    store_word(fours_at, fours, pair)
                    fours += 1
            else:
                width = load_word(field, WIDTH)
                if move >= TEXT:
                    if low == 1:
                        if seven_bits(here, at):
                            for i in range(here, at):
                                demand(mask, longest, i - begin, 128, 0)
                        elif utf8(here, at):
                            keep = False
                        else:
                            return NOT_UTF8
                    if move == TEXT and length > width:
                        return TOO_LONG
                new = moves_at + 8 * MOVE_WORDS * moves
                store_word(new, 0, move)
                store_word(new, 1, source)
                store_word(new, 2, length)
                store_word(new, 3, to)
                store_word(new, 4, width)
                store_word(new, 5, low)
                store_word(new, 6, load_word(field, HIGH))
                moves += 1
        field += 8 * FIELD_WORDS
    keep = keep and LEAST <= at - begin <= longest
    store_word(layout, LENGTH, at - begin if keep else 0)
    store_word(layout, EIGHTS, eights)
    store_word(layout, FOURS, fours)
    store_word(layout, MOVES, moves)
    return at


@njit(cache=True, nogil=True, forceinline=True)
def known_stretch(
    code: int,
    op: int,
    wanted: int,
    longest: int,
    known: int,
    at: int,
    stop: int,
    row: int,
    heap: int,
) -> int:
    """Read one stretch of fields into the row; the address behind it, or an error code.

    `code`, `op`, `known` and `heap` are the addresses of the program, of the instruction, of its
    layouts and of the heap's line in the tables.
    """
    size = 8 * layout_words(wanted, longest)
    mask = size - 2 * longest
    there, which = load_word(known, THERE), load_word(known, CAME)
    layout = known + 8 * KNOWN + which * size
    left = there
    while left > 0 and not fits(layout, layout + mask, longest, at, stop):
        left -= 1
        which += 1
        layout += size
        if which == there:
            which, layout = 0, known + 8 * KNOWN
    if left > 0:
        store_word(known, CAME, which)
        behind: int = at + load_word(layout, LENGTH)
    else:
        which = load_word(known, GOES)
        layout = known + 8 * KNOWN + which * size
        field, last = code + 8 * load_word(op, FIRST), code + 8 * load_word(op, LAST)
        behind = walk(field, last, layout, wanted, longest, at, stop)
        if behind < 0:
            store_word(layout, LENGTH, 0)
            return behind
        if load_word(layout, LENGTH) > 0:
            store_word(known, CAME, which)
            store_word(known, THERE, max(there, which + 1))
            store_word(known, GOES, 0 if which + 1 == load_word(op, KEPT) else which + 1)
    error: int = follow(layout, wanted, at, behind, row, heap)
    return error if error < 0 else behind


@njit(cache=True, nogil=True)
def stretch(code: int, op: int, memory: int, at: int, stop: int, row: int, heap: int) -> int:
    """Read one stretch of fields into the row; the address behind it, or an error code."""
    wanted, longest = load_word(op, WANTED), load_word(op, LONGEST)
    known = memory + 8 * load_word(op, PLACE)
    behind: int = known_stretch(code, op, wanted, longest, known, at, stop, row, heap)
    return behind
