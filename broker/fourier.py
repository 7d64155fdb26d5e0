"""The power spectrum of a signal at scattered times: spread over a grid, one FFT, even out.

The FFT is our own: NumPy's took 26 ms for twice these cells where this one took 1.1 (AVX2).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Frequencies are multiples of one in so many days: the first of these that is FINE times as long
#: as the curve, else the last. Most curves of a stream are young, and the shortest grid takes a
#: twentieth of the longest one's time. A curve longer than the last is sampled less finely, but
#: rightly: the grid is periodic.
PERIODS_DAYS = (375, 1500, 6000)
_FINE = 3.0
MOST_PER_DAY = 10  #: contact binaries of 0.2 days show two minima
MOST_FREQUENCIES = MOST_PER_DAY * PERIODS_DAYS[-1]

_SIDES = (64, 128, 256)  # of each grid's transform
_SIDE = _SIDES[-1]
_N = _SIDE * _SIDE  # of complex numbers; each holds two neighbouring cells
_CELLS = 2 * _N
_LANES = 32  # columns that stand together in the scratch of the short FFTs
_WIDTH = 8
#: Exponential of a semicircle (Barnett et al. 2019, arXiv:1808.06736, equation 1.8) with the shape
#: for these grids, 1.09 times finer than the highest frequency needs (beside equation 4.5).
_SHAPE = 0.976 * np.pi * _WIDTH * (1 - MOST_FREQUENCIES / _CELLS)


class Tables(NamedTuple):
    """What depends on the size of a grid alone."""

    turn_re: NDArray[np.float32]  # (N,) roots of unity between the two steps of the FFT
    turn_im: NDArray[np.float32]
    split_re: NDArray[np.float32]  # (frequency,) those that part even and odd cells
    split_im: NDArray[np.float32]
    even: NDArray[np.float32]  # (frequency,) 1 / (square of the spreading kernel's transform)


class Desk(NamedTuple):
    """Room for one spectrum, used again and again."""

    re: NDArray[np.float32]  # (N,) the signal's even cells; then real parts of the transform
    im: NDArray[np.float32]  # (N,) odd cells; imaginary parts
    middle_re: NDArray[np.float32]  # (N,)
    middle_im: NDArray[np.float32]
    ar: NDArray[np.float32]  # (SIDE * LANES,)
    ai: NDArray[np.float32]
    br: NDArray[np.float32]
    bi: NDArray[np.float32]
    power: NDArray[np.float32]  # (frequency,)


def _apart(*arrays: NDArray[np.float64] | int) -> list[NDArray[np.float32]]:
    """Each array (or so many zeros) in single precision, at another offset in its page.

    A store and a load whose addresses differ by whole pages wait for each other: arrays that begin
    alike made the turn five times slower.
    """
    result = []
    for number, array in enumerate(arrays):
        size = array if isinstance(array, int) else len(array)
        room = np.zeros(size + 1024, np.float32)
        skip = (80 * number - room.ctypes.data // 4) % 1024
        room[skip : skip + size] = 0 if isinstance(array, int) else array
        result.append(room[skip : skip + size])
    return result


@cache
def tables() -> tuple[Tables, ...]:
    """Those of each grid, computed once a process: a tenth of a second."""
    parts = [part for size in zip(_SIDES, PERIODS_DAYS, strict=True) for part in _parts(*size)]
    each = len(Tables._fields)
    apart = _apart(*parts)
    return tuple(Tables(*apart[i : i + each]) for i in range(0, len(apart), each))


def _parts(side: int, period: int) -> tuple[NDArray[np.float64], ...]:
    turn = np.exp(-2j * np.pi / side**2 * np.outer(np.arange(side), np.arange(side)))
    turn = turn.reshape(side, -1, _LANES).transpose(1, 0, 2).ravel()  # as the blocks want it
    cells, k = 2 * side * side, np.arange(MOST_PER_DAY * period)
    split = np.exp(-2j * np.pi / cells * k)
    # The kernel is smooth and ends at 0: the trapezoidal rule is exact to rounding.
    z = np.linspace(-1, 1, 401)
    kernel = np.exp(_SHAPE * (np.sqrt(1 - z * z) - 1)) * (z[1] - z[0]) * _WIDTH / 2
    some = np.linspace(0, len(k), 601)
    coarse = np.cos(np.pi * _WIDTH / cells * np.outer(some, z)) @ kernel
    even = np.exp(-2 * np.interp(k, some, np.log(coarse)))
    return turn.real, turn.imag, split.real, split.imag, even


def desk() -> Desk:
    """Room for one spectrum: 1.5 MB."""
    zeros = (0,) * 9  # so that none begins as a table that is read beside it
    sizes = *(_N,) * 4, *(_SIDE * _LANES,) * 4, MOST_FREQUENCIES
    return Desk(*_apart(*zeros, *sizes)[len(zeros) :])


_ROOTS = np.exp(-2j * np.pi * np.arange(_SIDE) / _SIDE)
_COS, _SIN = _ROOTS.real.astype(np.float32), _ROOTS.imag.astype(np.float32)


def _four(side: int, length: int) -> Callable[..., None]:
    """One pass of radix 4 of Stockham's FFT, LANES side by side, `length` still to do.

    Sizes are constants of the kernel: only so does LLVM see that the eight streams that it reads
    and the eight that it writes do not overlap, and use vectors.
    """
    inner, quarter, step = side * _LANES // length, side * _LANES // 4, _SIDE // length

    @njit(cache=True, nogil=True)
    def run(
        xr: NDArray[np.float32],
        xi: NDArray[np.float32],
        yr: NDArray[np.float32],
        yi: NDArray[np.float32],
    ) -> None:
        q1, q2, q3 = np.uint64(quarter), np.uint64(2 * quarter), np.uint64(3 * quarter)
        s1, s2, s3 = np.uint64(inner), np.uint64(2 * inner), np.uint64(3 * inner)
        for p in range(length // 4):
            w1r, w1i = _COS[p * step], _SIN[p * step]
            w2r, w2i = _COS[2 * p * step], _SIN[2 * p * step]
            w3r, w3i = _COS[3 * p * step], _SIN[3 * p * step]
            for q in range(inner):
                i, j = np.uint64(p * inner + q), np.uint64(4 * p * inner + q)
                ar, ai, br, bi = xr[i], xi[i], xr[i + q1], xi[i + q1]
                cr, ci, dr, di = xr[i + q2], xi[i + q2], xr[i + q3], xi[i + q3]
                pr, pi, mr, mi = ar + cr, ai + ci, ar - cr, ai - ci
                sr, si, tr, ti = br + dr, bi + di, br - dr, bi - di
                yr[j], yi[j] = pr + sr, pi + si
                er, ei = mr + ti, mi - tr
                yr[j + s1], yi[j + s1] = er * w1r - ei * w1i, er * w1i + ei * w1r
                er, ei = pr - sr, pi - si
                yr[j + s2], yi[j + s2] = er * w2r - ei * w2i, er * w2i + ei * w2r
                er, ei = mr - ti, mi + tr
                yr[j + s3], yi[j + s3] = er * w3r - ei * w3i, er * w3i + ei * w3r

    kernel: Callable[..., None] = run
    return kernel


def _two(side: int) -> Callable[..., None]:
    """The last pass where 2 are still to do."""
    half = side * _LANES // 2

    @njit(cache=True, nogil=True)
    def run(
        xr: NDArray[np.float32],
        xi: NDArray[np.float32],
        yr: NDArray[np.float32],
        yi: NDArray[np.float32],
    ) -> None:
        h = np.uint64(half)
        for q in range(half):
            i = np.uint64(q)
            ar, ai, br, bi = xr[i], xi[i], xr[i + h], xi[i + h]
            yr[i], yi[i], yr[i + h], yi[i + h] = ar + br, ai + bi, ar - br, ai - bi

    kernel: Callable[..., None] = run
    return kernel


_64_64, _64_16, _64_4 = _four(64, 64), _four(64, 16), _four(64, 4)
_128_128, _128_32, _128_8, _128_2 = _four(128, 128), _four(128, 32), _four(128, 8), _two(128)
_256_256, _256_64 = _four(256, 256), _four(256, 64)
_256_16, _256_4 = _four(256, 16), _four(256, 4)


@njit(cache=True, nogil=True)
def _short(side: int, desk: Desk) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """LANES transforms of so many numbers, from the desk's `ar` and `ai` to what is returned."""
    ar, ai, br, bi = desk.ar, desk.ai, desk.br, desk.bi
    if side == 64:
        _64_64(ar, ai, br, bi)
        _64_16(br, bi, ar, ai)
        _64_4(ar, ai, br, bi)
        return br, bi
    if side == 128:
        _128_128(ar, ai, br, bi)
        _128_32(br, bi, ar, ai)
        _128_8(ar, ai, br, bi)
        _128_2(br, bi, ar, ai)
    else:
        _256_256(ar, ai, br, bi)
        _256_64(br, bi, ar, ai)
        _256_16(ar, ai, br, bi)
        _256_4(br, bi, ar, ai)
    return ar, ai


@njit(cache=True, nogil=True)
def _take(x: NDArray[np.float32], side: int, left: int, y: NDArray[np.float32]) -> None:
    """Some columns of a matrix."""
    for row in range(side):
        i, j = np.uint64(row * side + left), np.uint64(row * _LANES)
        for q in range(_LANES):
            y[j + np.uint64(q)] = x[i + np.uint64(q)]


@njit(cache=True, nogil=True)
def _put(x: NDArray[np.float32], side: int, left: int, y: NDArray[np.float32]) -> None:
    """The inverse of `_take`."""
    for row in range(side):
        i, j = np.uint64(row * _LANES), np.uint64(row * side + left)
        for q in range(_LANES):
            y[j + np.uint64(q)] = x[i + np.uint64(q)]


@njit(cache=True, nogil=True)
def _turned(
    re: NDArray[np.float32], im: NDArray[np.float32], tables: Tables, begin: int, size: int
) -> None:
    """Times roots of unity, in place."""
    cos, sin = tables.turn_re, tables.turn_im
    for i in range(size):
        j = np.uint64(begin + i)
        x, y = re[i], im[i]
        re[i] = x * cos[j] - y * sin[j]
        im[i] = x * sin[j] + y * cos[j]


@njit(cache=True, nogil=True)
def _flip(x: NDArray[np.float32], side: int, left: int, y: NDArray[np.float32]) -> None:
    """Columns become rows: in tiles, or each row would leave the cache."""
    tile = 8
    for top in range(0, side, tile):
        for q in range(_LANES):
            i, j = np.uint64(top * _LANES + q), np.uint64((left + q) * side + top)
            for k in range(tile):
                y[j + np.uint64(k)] = x[i + np.uint64(k * _LANES)]


@njit(cache=True, nogil=True)
def _transform(side: int, tables: Tables, desk: Desk) -> None:
    """Signal [j1][j2] -> its transform in natural order, in place: by columns, then by rows."""
    for left in range(0, side, _LANES):
        _take(desk.re, side, left, desk.ar)
        _take(desk.im, side, left, desk.ai)
        re, im = _short(side, desk)
        _turned(re, im, tables, left * side, side * _LANES)
        _flip(re, side, left, desk.middle_re)
        _flip(im, side, left, desk.middle_im)
    for left in range(0, side, _LANES):
        _take(desk.middle_re, side, left, desk.ar)
        _take(desk.middle_im, side, left, desk.ai)
        re, im = _short(side, desk)
        _put(re, side, left, desk.re)
        _put(im, side, left, desk.im)


@njit(cache=True, nogil=True)
def spectrum(
    days: NDArray[np.float64], signal: NDArray[np.float64], tables: tuple[Tables, ...], desk: Desk
) -> tuple[NDArray[np.float32], int]:
    """|sum of signal exp(2 pi i f days)|^2 at f = k / period per day, up to 10 a day.

    Parameters
    ----------
    days : (point,) f8
        From any origin.
    signal : (point,) f8
    desk : Desk
        Overwritten.

    Returns
    -------
    (frequency,) f4
        Part of the desk; off by 1.5 % at 10 a day, by 0.1 % below 7.
    int
        The period in days, one of PERIODS_DAYS.
    """
    size = 0
    span = days.max() - days.min()
    while size < len(PERIODS_DAYS) - 1 and PERIODS_DAYS[size] < _FINE * span:
        size += 1
    period, side, mine = PERIODS_DAYS[size], _SIDES[size], tables[size]
    cells = 2 * side * side
    re, im = desk.re[: cells // 2], desk.im[: cells // 2]
    power = desk.power[: MOST_PER_DAY * period]
    re[:] = 0
    im[:] = 0
    for j in range(len(days)):
        place = days[j] / period
        place = (place - np.floor(place)) * cells
        first = int(np.ceil(place - _WIDTH / 2))
        for cell in range(first, first + _WIDTH):
            z = (cell - place) / (_WIDTH / 2)
            value = np.exp(_SHAPE * (np.sqrt(max(0.0, 1 - z * z)) - 1)) * signal[j]
            where = cell & (cells - 1)
            if where & 1:
                im[where >> 1] += np.float32(value)
            else:
                re[where >> 1] += np.float32(value)
    _transform(side, mine, desk)
    cos, sin, even = mine.split_re, mine.split_im, mine.even
    power[0] = (re[0] + im[0]) ** 2 * even[0]
    for number in range(1, len(power)):
        k = np.uint64(number)
        back = np.uint64(side * side) - k
        ar, ai, br, bi = re[k], im[k], re[back], -im[back]
        er, ei, dr, di = ar + br, ai + bi, ar - br, ai - bi
        wr, wi = cos[k] * dr - sin[k] * di, cos[k] * di + sin[k] * dr
        fr, fi = er + wi, ei - wr
        power[k] = np.float32(0.25) * (fr * fr + fi * fi) * even[k]
    return power, period
