"""Numbers, strings and array blocks in Avro's bytes, each read with every check.

Source of the encoding: Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

from numba import njit

from broker.memory import load_i8, load_u1

# What a read returns instead of an address. At or below FULL: table FULL - code has no room.
TRUNCATED, OVERLONG, BRANCH, TOO_LONG, LEFT_OVER = -1, -2, -3, -4, -5
NEGATIVE, OUT_OF_RANGE, BLOCK, NOT_BOOLEAN, NOT_UTF8, NUL = -6, -7, -8, -9, -10, -11
FULL = -1000

SIGN_BITS = -0x7F7F7F7F7F7F7F80  #: the highest bit of each of 8 bytes


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
def seven_bits(at: int, stop: int) -> bool:
    """Whether all bytes are below 128."""
    while stop - at >= 8:
        if load_i8(at) & SIGN_BITS:
            return False
        at += 8
    while at < stop:
        if load_u1(at) > 127:
            return False
        at += 1
    return True


@njit(cache=True, nogil=True)
def utf8(at: int, stop: int) -> bool:
    """Whether the bytes are well-formed UTF-8 (Unicode 16, table 3-7)."""
    while at < stop:
        if stop - at >= 8 and load_i8(at) & SIGN_BITS == 0:
            at += 8
            continue
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
