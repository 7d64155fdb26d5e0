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
    FULL,
    NEGATIVE,
    NOT_BOOLEAN,
    NOT_UTF8,
    NUL,
    OUT_OF_RANGE,
    TOO_LONG,
    TRUNCATED,
    seven_bits,
    utf8,
    varint,
)
from broker.memory import (
    clear,
    copy,
    differ16,
    differ32,
    load_f4,
    load_f8,
    load_i4,
    load_i8,
    load_u1,
    load_word,
    store_f4,
    store_f8,
    store_i2,
    store_i4,
    store_i8,
    store_u1,
    store_word,
)

# A field, in words: how it lies in the datum, and where to its value goes.
LIES, NULL, BYTES, TIMES, MOVE, TO, WIDTH, LOW, HIGH = range(9)
FIELD_WORDS = 9
# LIES. AGAIN: the value before, into another column.
FIXED, VARINT, SIZED, AGAIN = range(4)
# MOVE. LOW and HIGH: range of an INT; LOW is 1 for a TEXT or SPAN that must be UTF-8.
NOTHING, COPY, INT, BOOL, REAL_FLOAT, REAL_DOUBLE, REAL_INT, REAL_BOOL, TEXT, SPAN = range(10)

# A layout, in words: bytes that it takes, its copies of 8 and of 4 bytes, its other moves. There
# follow those in turn, with room for as many each as fields are wanted; then the mask; then the
# bits that must stand under it.
LENGTH, EIGHTS, FOURS, MOVES = range(4)
HEAD = 4
# A move: what, where from, bytes, where to, width of the column, least, greatest; all relative.
MOVE_WORDS = 7
LEAST = 16  #: bytes of a layout that can be compared
SEVENS = 0x7F7F7F7F7F7F7F7F


@njit(cache=True, nogil=True)
def layout_words(wanted: int, longest: int) -> int:
    """Size of a layout of at most `longest` bytes, a multiple of 8."""
    return HEAD + (2 + MOVE_WORDS) * wanted + longest // 4


@njit(cache=True, nogil=True)
def fits(layout: int, mask: int, longest: int, at: int, stop: int) -> bool:
    """Whether the bytes at `at` have this layout."""
    length = load_i8(layout)
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
        lies, move = load_i8(field), load_word(field, MOVE)
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
    store_i8(layout, at - begin if keep else 0)
    store_word(layout, EIGHTS, eights)
    store_word(layout, FOURS, fours)
    store_word(layout, MOVES, moves)
    return at


@njit(cache=True, nogil=True)
def demand(mask: int, longest: int, i: int, bits: int, value: int) -> None:
    """Byte `i` of a layout must have this value under these bits."""
    if i < longest:
        store_u1(mask + i, np.uint8(bits))
        store_u1(mask + longest + i, np.uint8(value))


@njit(cache=True, nogil=True)
def number(at: int, source: int, length: int) -> int:
    """The zigzag number of `length` bytes at `at + source`, nothing before `at` being readable."""
    if length > 8:
        bits = load_i8(at + source) & SEVENS
    elif source + length >= 8:
        shift = 64 - 8 * length
        bits = (load_i8(at + source + length - 8) >> shift) & (SEVENS >> shift)
    else:
        value: int = varint(at + source, at + source + length)[0]
        return value
    bits = (bits & 0x7F007F007F007F) | (bits & 0x7F007F007F007F00) >> 1
    bits = (bits & 0x3FFF00003FFF) | (bits & 0x3FFF00003FFF0000) >> 2
    bits = (bits & 0xFFFFFFF) | (bits & 0xFFFFFFF00000000) >> 4
    if length > 8:
        bits |= (load_u1(at + source + 8) & 127) << 56
        if length > 9:
            bits |= load_u1(at + source + 9) << 63
    return ((bits >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(bits & 1)


@njit(cache=True, nogil=True)
def put_int(to: int, width: int, value: int) -> None:
    if width == 8:
        store_i8(to, value)
    elif width == 4:
        store_i4(to, np.int32(value))
    elif width == 1:
        store_u1(to, np.uint8(value))
    else:
        store_i2(to, np.int16(value))


@njit(cache=True, nogil=True)
def follow(layout: int, wanted: int, at: int, row: int, heap: int) -> int:
    """Move the values of the stretch at `at` to the columns of a row; 0, or an error code.

    `heap` is the address of the heap's line in the tables.
    """
    pair = layout + 8 * HEAD
    for _ in range(load_word(layout, EIGHTS)):
        both = load_i8(pair)
        store_i8(row + (both >> 32), load_i8(at + (both & 0xFFFFFFFF)))
        pair += 8
    pair = layout + 8 * HEAD + 8 * wanted
    for _ in range(load_word(layout, FOURS)):
        both = load_i8(pair)
        store_i4(row + (both >> 32), load_i4(at + (both & 0xFFFFFFFF)))
        pair += 8
    move = layout + 8 * HEAD + 16 * wanted
    for _ in range(load_word(layout, MOVES)):
        what, source, length = load_i8(move), load_word(move, 1), load_word(move, 2)
        to, width = row + load_word(move, 3), load_word(move, 4)
        if what == INT:
            value = number(at, source, length)
            if value < load_word(move, 5) or value > load_word(move, 6):
                return OUT_OF_RANGE
            put_int(to, width, value)
        elif what == TEXT:
            if length > 0 and load_u1(at + source + length - 1) == 0:
                return NUL  # a NumPy S column would drop it
            if width == 8 and 0 < length < 8 <= source + length:
                letters = load_i8(at + source + length - 8) >> (64 - 8 * length)
                store_i8(to, letters & ((1 << 8 * length) - 1))
            else:
                copy(to, at + source, length)
                clear(to + length, width - length)
        elif what in (BOOL, REAL_BOOL):
            value = load_u1(at + source)
            if value > 1:
                return NOT_BOOLEAN
            if what == BOOL:
                put_int(to, width, value)
            else:
                put_real(to, width, np.float64(value))
        elif what == SPAN:
            used = load_word(heap, 4)
            if used + length > load_word(heap, 3):
                return FULL
            copy(load_i8(heap) + used, at + source, length)
            store_word(heap, 4, used + length)
            store_i8(to, used)
            store_i8(to + 8, length)
        elif what == REAL_FLOAT:
            put_real(to, width, np.float64(load_f4(at + source)))
        elif what == REAL_DOUBLE:
            put_real(to, width, load_f8(at + source))
        else:
            put_real(to, width, np.float64(number(at, source, length)))
        move += 8 * MOVE_WORDS
    return 0


@njit(cache=True, nogil=True)
def put_real(to: int, width: int, value: float) -> None:
    if width == 8:
        store_f8(to, value)
    else:
        store_f4(to, np.float32(value))
