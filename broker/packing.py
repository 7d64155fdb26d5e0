"""Points in few bytes, bit for bit: a page of them, column by column, each as narrow as it is.

A page is: how many points, u1; a model, u1; then each column of COLUMNS:

    how, u1 | base, as wide as the column | codes, `width` bits each, up to a whole byte

A number is base + code. `how` is the width of a code (0 to 56, or 64), plus MISSING if code 0 says
that the number is missing (NaN, or 0 of a whole number) and the others are one greater; or it is
ALL_MISSING and nothing follows. Some columns are written as others:

- a float32 has its sign in the lowest bit, since differences of flux go to both sides;
- an exposure is what there is of it beyond time x RATES[model & 3]: the exposures of ZTF (pid) and
  ELAsTiCC are made of their time;
- an id is what there is of it beyond exposure x ID_STEP if model & OF_EXPOSURE (ZTF's candid).

A ZTF point takes 25 to 30 bytes of its 64 and 13 ns to read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.measurements import ROW
from broker.memory import (
    load_f8,
    load_i4,
    load_i8,
    load_u1,
    load_u4,
    store_i4,
    store_i8,
    store_u1,
)

_U = np.uint64
_MOST, _LEAST = np.iinfo(np.int64).max, np.iinfo(np.int64).min
_fields: Any = ROW.fields

#: In the order of writing: an exposure needs the time, an id the exposure.
COLUMNS = (
    "mjd_tai",
    "exposure",
    "id",
    *(name for name in ROW.names or () if name not in ("mjd_tai", "exposure", "id")),
)
TIME, EXPOSURE, ID = 0, 1, 2
N_COLUMNS, ROW_BYTES = len(COLUMNS), ROW.itemsize
_AT = np.array([_fields[name][1] for name in COLUMNS])
_SIZE = np.array([ROW[name].itemsize for name in COLUMNS])
_FLOAT32 = np.array([ROW[name] == np.float32 for name in COLUMNS])
#: The bits that say that a number is missing, the sign of a float32 lowest.
_NAN = {"float64": int(np.array(np.nan).view("i8")), "float32": 0x7FC00000 << 1}
_ABSENT = np.array([_NAN.get(ROW[name].name, 0) for name in COLUMNS])
_AT_TIME, _AT_EXPOSURE, _AT_ID = (int(_AT[c]) for c in (TIME, EXPOSURE, ID))

RATES = np.array([0.0, 1e9, 1e6])  #: exposures in a day
ID_STEP = 10**6  #: ids in an exposure
OF_EXPOSURE = 4
MISSING, ALL_MISSING = 128, 255
PAGE = 32  #: points in a page of the changelog
MOST_BYTES = 2 + 9 * N_COLUMNS + 8 * N_COLUMNS * PAGE  #: what a page may take
SLACK = 8  #: bytes behind a page that are read and written with its last word


@njit(cache=True, nogil=True)
def expected(row: int, model: int) -> int:
    """What the time of a point says of its exposure."""
    time = load_f8(row + _AT_TIME)
    return int(np.rint(time * RATES[model & 3])) if 0.0 < time < 1e6 else 0


@njit(cache=True, nogil=True)
def _model(points: int, n: int) -> int:
    """The model that leaves least of exposures and ids, as three of the points tell."""
    a, b, c = points, points + n // 2 * ROW_BYTES, points + (n - 1) * ROW_BYTES
    x, y, z = load_i8(a + _AT_EXPOSURE), load_i8(b + _AT_EXPOSURE), load_i8(c + _AT_EXPOSURE)
    best, least = 0, _spread(x, y, z)
    for model in range(1, len(RATES)):
        rest = _spread(x - expected(a, model), y - expected(b, model), z - expected(c, model))
        if rest < least:
            best, least = model, rest
    i, j, k = load_i8(a + _AT_ID), load_i8(b + _AT_ID), load_i8(c + _AT_ID)
    if j == 0:
        j, y = i, x
    if k == 0:
        k, z = i, x
    if _spread(i - ID_STEP * x, j - ID_STEP * y, k - ID_STEP * z) < _spread(i, j, k):
        return best | OF_EXPOSURE
    return best


@njit(cache=True, nogil=True)
def _spread(a: int, b: int, c: int) -> Any:
    """Greatest less smallest."""
    return _U(max(a, b, c)) - _U(min(a, b, c))


@njit(cache=True, nogil=True)
def _width(span: Any, above: int) -> int:
    """Bits of the codes 0 to span + above; 64 for such as a shifted word could not hold."""
    if span >> _U(56) != _U(0):
        return 64
    bits, span = 0, span + _U(above)
    while span != _U(0):
        span >>= _U(1)
        bits += 1
    return bits if bits <= 56 else 64


@njit(cache=True, nogil=True)
def _take_8(at: int, n: int, numbers: NDArray[np.int64]) -> None:
    for i in range(n):
        numbers[i] = load_i8(at + i * ROW_BYTES)


@njit(cache=True, nogil=True)
def _take_float32(at: int, n: int, numbers: NDArray[np.int64]) -> None:
    """The sign becomes the lowest bit."""
    for i in range(n):
        bits = np.uint32(load_u4(at + i * ROW_BYTES))
        numbers[i] = bits << np.uint32(1) | bits >> np.uint32(31)


@njit(cache=True, nogil=True)
def _take_4(at: int, n: int, numbers: NDArray[np.int64]) -> None:
    for i in range(n):
        numbers[i] = load_i4(at + i * ROW_BYTES)


@njit(cache=True, nogil=True)
def _take_1(at: int, n: int, numbers: NDArray[np.int64]) -> None:
    for i in range(n):
        numbers[i] = load_u1(at + i * ROW_BYTES)


@njit(cache=True, nogil=True)
def _write_codes(
    at: int, n: int, width: int, low: int, above: int, absent: int, numbers: NDArray[np.int64]
) -> int:
    word: Any = _U(0)
    filled = 0
    for i in range(n):
        code = _U(0) if absent >> i & 1 else _U(numbers[i] - low + above)
        word |= code << _U(filled)
        filled += width
        if filled >= 64:
            store_i8(at, np.int64(word))
            at += 8
            filled -= 64
            word = code >> _U(width - filled) if filled > 0 else _U(0)
    store_i8(at, np.int64(word))
    return at + (filled + 7) // 8


@njit(cache=True, nogil=True)
def pack(points: int, n: int, at: int, numbers: NDArray[np.int64]) -> int:
    """Write a page.

    Parameters
    ----------
    points : int
        Address of its points (ROW).
    n : int
        How many, 1 to PAGE.
    at : int
        Address of where to, with room for MOST_BYTES and SLACK.
    numbers : (PAGE,) i8
        To work in.

    Returns
    -------
    int
        The end of what was written.
    """
    model = _model(points, n)
    store_u1(at, np.uint8(n))
    store_u1(at + 1, np.uint8(model))
    at += 2
    for c in range(N_COLUMNS):
        size = _SIZE[c]
        if size == 8:
            _take_8(points + _AT[c], n, numbers)
        elif size == 1:
            _take_1(points + _AT[c], n, numbers)
        elif _FLOAT32[c]:
            _take_float32(points + _AT[c], n, numbers)
        else:
            _take_4(points + _AT[c], n, numbers)
        absent: Any = 0  # a bit for each point
        for i in range(n):
            absent |= np.int64(numbers[i] == _ABSENT[c]) << i
        if absent == (1 << n) - 1:
            store_u1(at, np.uint8(ALL_MISSING))
            at += 1
            continue
        if c == EXPOSURE and model & 3 != 0:
            for i in range(n):
                numbers[i] -= expected(points + i * ROW_BYTES, model)
        elif c == ID and model & OF_EXPOSURE != 0:
            for i in range(n):
                numbers[i] -= ID_STEP * load_i8(points + i * ROW_BYTES + _AT_EXPOSURE)
        low, high = _MOST, _LEAST
        if absent == 0:
            for i in range(n):
                low, high = min(low, numbers[i]), max(high, numbers[i])
        else:
            for i in range(n):
                if not absent >> i & 1:
                    low, high = min(low, numbers[i]), max(high, numbers[i])
        above = 1 if absent != 0 else 0  # code 0 is taken
        width = _width(_U(high) - _U(low), above)
        if width == 64:  # no base, nothing missing: the numbers themselves
            low = above = absent = 0
        store_u1(at, np.uint8(width + MISSING * above))
        at += 1
        if size == 8:
            store_i8(at, low)
        elif size == 4:
            store_i4(at, np.int32(low))
        else:
            store_u1(at, np.uint8(low))
        at += size
        if width > 0:
            at = _write_codes(at, n, width, low, above, absent, numbers)
    return at


@njit(cache=True, nogil=True)
def _code(at: int, i: int, width: int, mask: Any) -> Any:
    """Code i of a column."""
    bit = i * width
    return (_U(load_i8(at + (bit >> 3))) >> _U(bit & 7)) & mask


@njit(cache=True, nogil=True)
def _read_8(
    at: int, n: int, width: int, mask: Any, above: Any, base: int, absent: int, to: int
) -> None:
    """Column of 8 bytes; `above` is 1 if code 0 stands for `absent`."""
    for i in range(n):
        code = _code(at, i, width, mask)
        store_i8(to + i * ROW_BYTES, absent if code < above else base + np.int64(code))


@njit(cache=True, nogil=True)
def _read_predicted(
    at: int, n: int, width: int, mask: Any, above: Any, base: int, points: int, model: int, c: int
) -> None:
    """The exposures or the ids, of which a model knows the most."""
    for i in range(n):
        row = points + i * ROW_BYTES
        code = _code(at, i, width, mask)
        number: Any = 0
        if code >= above:
            number = base + np.int64(code)
            if c == EXPOSURE:
                number += expected(row, model)
            else:
                number += ID_STEP * load_i8(row + _AT_EXPOSURE)
        store_i8(row + _AT[c], number)


@njit(cache=True, nogil=True)
def _read_float32(
    at: int, n: int, width: int, mask: Any, above: Any, base: int, absent: int, to: int
) -> None:
    for i in range(n):
        code = _code(at, i, width, mask)
        bits = np.uint32(absent if code < above else base + np.int64(code))
        store_i4(to + i * ROW_BYTES, np.int32(bits >> np.uint32(1) | bits << np.uint32(31)))


@njit(cache=True, nogil=True)
def _read_4(
    at: int, n: int, width: int, mask: Any, above: Any, base: int, absent: int, to: int
) -> None:
    for i in range(n):
        code = _code(at, i, width, mask)
        number = absent if code < above else base + np.int64(code)
        store_i4(to + i * ROW_BYTES, np.int32(number))


@njit(cache=True, nogil=True)
def _read_1(
    at: int, n: int, width: int, mask: Any, above: Any, base: int, absent: int, to: int
) -> None:
    for i in range(n):
        code = _code(at, i, width, mask)
        number = absent if code < above else base + np.int64(code)
        store_u1(to + i * ROW_BYTES, np.uint8(number))


@njit(cache=True, nogil=True)
def unpack(at: int, end: int, points: int) -> tuple[int, int]:
    """Read a page.

    Parameters
    ----------
    at, end : int
        Address of a page, and of where it must have ended; SLACK bytes behind may be read.
    points : int
        Address of where to, with room for PAGE points (ROW).

    Returns
    -------
    n, end : int
        How many points it has and where it ends; n is 0 if it is no page.
    """
    if end - at < 2:
        return 0, at
    n, model = load_u1(at), load_u1(at + 1)
    at += 2
    if n == 0 or n > PAGE or model & 3 >= len(RATES) or model >= 2 * OF_EXPOSURE:
        return 0, at
    for c in range(N_COLUMNS):
        if at >= end:
            return 0, at
        how = load_u1(at)
        at += 1
        size, absent = _SIZE[c], _ABSENT[c]
        width, above, base = 0, _U(0), absent
        if how != ALL_MISSING:
            width, above = how & 127, _U(how >> 7)
            if (width > 56 and width != 64) or at + size + (n * width + 7) // 8 > end:
                return 0, at
            if size == 8:
                base = load_i8(at)
            elif size == 1:
                base = load_u1(at)
            elif _FLOAT32[c]:
                base = load_u4(at)
            else:
                base = load_i4(at)
            at += size
        mask = _U(0xFFFFFFFFFFFFFFFF) >> _U(64 - width) if width > 0 else _U(0)
        base -= np.int64(above)
        to = points + _AT[c]
        if how != ALL_MISSING and (
            (c == EXPOSURE and model & 3 != 0) or (c == ID and model & OF_EXPOSURE != 0)
        ):
            _read_predicted(at, n, width, mask, above, base, points, model, c)
        elif size == 8:
            _read_8(at, n, width, mask, above, base, absent, to)
        elif size == 1:
            _read_1(at, n, width, mask, above, base, absent, to)
        elif _FLOAT32[c]:
            _read_float32(at, n, width, mask, above, base, absent, to)
        else:
            _read_4(at, n, width, mask, above, base, absent, to)
        at += (n * width + 7) // 8
    return n, at
