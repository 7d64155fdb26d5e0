"""What is left to do where a layout is known: moves from a datum's bytes to a row's columns."""

from __future__ import annotations

import numpy as np
from numba import njit

from broker.bytewise import FULL, NOT_BOOLEAN, NUL, OUT_OF_RANGE, varint
from broker.memory import (
    clear,
    copy,
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

# What moves there are.
NOTHING, COPY, INT, BOOL, REAL_FLOAT, REAL_DOUBLE, REAL_INT, REAL_BOOL, TEXT, SPAN = range(10)

# A layout, in words: bytes that it takes, its copies of 8 and of 4 bytes, its other moves. There
# follow those in turn, with room for as many each as fields are wanted. A copy is where from and
# where to, in 32 bits each; a move: what, where from, bytes, where to, width of the column, least,
# greatest. All places are relative, to the datum's and to the row's.
LENGTH, EIGHTS, FOURS, MOVES = range(4)
HEAD = 4
MOVE_WORDS = 7
SEVENS = 0x7F7F7F7F7F7F7F7F


@njit(cache=True, nogil=True, forceinline=True)
def number(at: int, source: int, length: int, behind: int) -> int:
    """The zigzag number of `length` bytes at `at + source`; [at, behind) may be read."""
    if length == 1:
        bits = load_u1(at + source)
        return (bits >> 1) ^ -(bits & 1)
    if length > 8:
        bits = load_i8(at + source) & SEVENS
    elif source + length >= 8:
        shift = 64 - 8 * length
        bits = (load_i8(at + source + length - 8) >> shift) & (SEVENS >> shift)
    elif behind - at >= source + 8:
        bits = load_i8(at + source) & (SEVENS >> (64 - 8 * length))
    else:
        value: int = varint(at + source, behind)[0]
        return value
    bits = (bits & 0x7F007F007F007F) | (bits & 0x7F007F007F007F00) >> 1
    bits = (bits & 0x3FFF00003FFF) | (bits & 0x3FFF00003FFF0000) >> 2
    bits = (bits & 0xFFFFFFF) | (bits & 0xFFFFFFF00000000) >> 4
    if length > 8:
        bits |= (load_u1(at + source + 8) & 127) << 56
        if length > 9:
            bits |= load_u1(at + source + 9) << 63
    return ((bits >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(bits & 1)


@njit(cache=True, nogil=True, forceinline=True)
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
def put_real(to: int, width: int, value: float) -> None:
    if width == 8:
        store_f8(to, value)
    else:
        store_f4(to, np.float32(value))


@njit(cache=True, nogil=True, forceinline=True)
def follow(layout: int, wanted: int, at: int, behind: int, row: int, heap: int) -> int:
    """Move the values of the stretch at [at, behind) to the columns of a row; 0, or an error code.

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
            value = number(at, source, length, behind)
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
            put_real(to, width, np.float64(number(at, source, length, behind)))
        move += 8 * MOVE_WORDS
    return 0
