"""Least-squares fits of a few harmonics of one frequency to points at scattered times."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

#: Frequencies that are tried side by side, and points that are taken at once: together a loop that
#: is long enough for vectors, without changing the order in which anything is added.
LANES, _POINTS = 8, 16
_WIDE = LANES * _POINTS
MOST_HARMONICS = 6
#: Share of the weight that is added to the diagonal: fits of few points stay finite.
_RIDGE = 1e-3

_SIN = np.array([(-1) ** k * np.pi ** (2 * k + 1) for k in range(7)])
_SIN /= np.array([1.0, 6, 120, 5040, 362880, 39916800, 6227020800])
_COS = np.array([(-1) ** k * np.pi ** (2 * k) for k in range(8)])
_COS /= np.array([1.0, 2, 24, 720, 40320, 3628800, 479001600, 87178291200])
_S0, _S1, _S2, _S3, _S4, _S5, _S6 = _SIN.astype(np.float32)
_C0, _C1, _C2, _C3, _C4, _C5, _C6, _C7 = _COS.astype(np.float32)
_ONE, _TWO = np.float32(1), np.float32(2)


class Weighted(NamedTuple):
    """A curve's points in order of time; the weighted mean of the values is 0."""

    days: NDArray[np.float64]  # (point,) from the first
    weight: NDArray[np.float64]
    value: NDArray[np.float64]
    signal: NDArray[np.float64]  # weight times value
    total: float  # of the weights
    square: float  # sum of weight times value squared


@njit(cache=True, nogil=True)
def weighted(
    days: NDArray[np.float64], weight: NDArray[np.float64], value: NDArray[np.float64]
) -> Weighted:
    """Points with their mean taken off the values, in place."""
    n = len(days)
    total = mean = square = 0.0
    for i in range(n):
        total += weight[i]
        mean += weight[i] * value[i]
    mean /= total
    signal = np.empty(n)
    for i in range(n):
        value[i] -= mean
        signal[i] = weight[i] * value[i]
        square += signal[i] * value[i]
    return Weighted(days, weight, value, signal, total, square)


@njit(cache=True, nogil=True)
def sums(
    curve: Weighted,
    per_day: NDArray[np.float64],
    harmonics: int,
    out: NDArray[np.float32],
) -> None:
    """What fits of `harmonics` harmonics at LANES frequencies need of the points.

    Parameters
    ----------
    curve : Weighted
    per_day : (LANES,) f8
    out : (6 * MOST_HARMONICS * LANES,) f4
        Filled in place, as a matrix of LANES columns. Row 2k - 2 and 2k - 1: sums of weight cos and
        sin of the k-th harmonic, up to twice `harmonics`; behind 4 * MOST_HARMONICS likewise of the
        signal.
    """
    days, weight, signal = curve.days, curve.weight, curve.signal
    rows = np.zeros(2 * 3 * MOST_HARMONICS * _WIDE, np.float32)  # as out's, but LANES times _POINTS
    begin = 4 * MOST_HARMONICS
    frequency, time = np.empty(_WIDE), np.zeros(_WIDE)
    w, y = np.empty(2 * _WIDE, np.float32), np.empty(2 * _WIDE, np.float32)
    first, turn = np.empty(2 * _WIDE, np.float32), np.empty(2 * _WIDE, np.float32)  # cos, then sin
    for i in range(_WIDE):
        frequency[i] = per_day[i % LANES]
    for j in range(0, len(days), _POINTS):
        _spread(days, weight, signal, j, time, w, y)
        _turn(frequency, time, first)
        for i in range(2 * _WIDE):
            turn[i] = first[i]
        for k in range(2 * harmonics):
            two = rows[2 * k * _WIDE : 2 * (k + 1) * _WIDE]
            for i in range(2 * _WIDE):
                two[i] += w[i] * turn[i]
            if k < harmonics:
                two = rows[(begin + 2 * k) * _WIDE : (begin + 2 * (k + 1)) * _WIDE]
                for i in range(2 * _WIDE):
                    two[i] += y[i] * turn[i]
            for i in range(_WIDE):
                c1, s1, c, s = first[i], first[_WIDE + i], turn[i], turn[_WIDE + i]
                turn[i] = c * c1 - s * s1
                turn[_WIDE + i] = s * c1 + c * s1
    out[:] = 0
    for row in range(6 * MOST_HARMONICS):
        if row < 4 * harmonics or begin <= row < begin + 2 * harmonics:
            for i in range(_WIDE):
                out[row * LANES + i % LANES] += rows[row * _WIDE + i]


@njit(cache=True, nogil=True)
def _spread(
    days: NDArray[np.float64],
    weight: NDArray[np.float64],
    signal: NDArray[np.float64],
    begin: int,
    time: NDArray[np.float64],
    w: NDArray[np.float32],
    y: NDArray[np.float32],
) -> None:
    """_POINTS points, each once for every lane; those behind the last weigh nothing."""
    for p in range(_POINTS):
        j = begin + p
        there = j < len(days)
        t = days[j] if there else 0.0
        wj = np.float32(weight[j] if there else 0.0)
        yj = np.float32(signal[j] if there else 0.0)
        for lane in range(LANES):
            i = p * LANES + lane
            time[i] = t
            w[i] = w[_WIDE + i] = wj
            y[i] = y[_WIDE + i] = yj


@njit(cache=True, nogil=True)
def _turn(
    frequency: NDArray[np.float64], time: NDArray[np.float64], out: NDArray[np.float32]
) -> None:
    """Cos and, behind them, sin of frequency times time in turns.

    Taylor's series of the half angle, within 2e-7 and without a branch: the library's functions
    keep LLVM from using vectors, and differ from machine to machine.
    """
    for i in range(_WIDE):
        phase = frequency[i] * time[i]
        x = np.float32(phase - np.floor(phase + 0.5))
        z = x * x
        s = _S3 + z * (_S4 + z * (_S5 + z * _S6))
        s = x * (_S0 + z * (_S1 + z * (_S2 + z * s)))
        c = _C4 + z * (_C5 + z * (_C6 + z * _C7))
        c = _C0 + z * (_C1 + z * (_C2 + z * (_C3 + z * c)))
        out[i] = _ONE - _TWO * s * s
        out[_WIDE + i] = _TWO * s * c


@njit(cache=True, nogil=True)
def fit(
    sums: NDArray[np.float32],
    lane: int,
    harmonics: int,
    weight: float,
    solution: NDArray[np.float64],
) -> float:
    """Solve for one lane of `sums`.

    Parameters
    ----------
    sums : as `sums` filled it, with at least so many harmonics.
    weight : float
        Sum of all weights; the signal's sum is 0.
    solution : (2 * MOST_HARMONICS + 1,) f8
        Filled in place: the constant, then cos and sin of each harmonic.

    Returns
    -------
    float
        How much the fit lowers the sum of weighted squares.
    """
    table = sums.reshape(-1, LANES)
    size = 2 * harmonics + 1
    begin = 4 * MOST_HARMONICS
    a = np.empty((size, size))
    y = np.zeros(size)
    a[0, 0] = weight
    for k in range(harmonics):
        y[2 * k + 1], y[2 * k + 2] = table[begin + 2 * k, lane], table[begin + 2 * k + 1, lane]
        a[2 * k + 1, 0], a[2 * k + 2, 0] = table[2 * k, lane], table[2 * k + 1, lane]
        for m in range(k + 1):
            # Products of harmonics are half the sums of those of sum and difference.
            ps, pd = 2 * (k + m + 1), 2 * (k - m - 1)
            cs, ss = table[ps, lane], table[ps + 1, lane]
            cd, sd = weight, 0.0
            if k > m:
                cd, sd = table[pd, lane], table[pd + 1, lane]
            a[2 * k + 1, 2 * m + 1] = 0.5 * (cd + cs)
            a[2 * k + 2, 2 * m + 2] = 0.5 * (cd - cs)
            a[2 * k + 2, 2 * m + 1] = 0.5 * (ss + sd)
            a[2 * k + 1, 2 * m + 2] = 0.5 * (ss - sd)
        a[2 * k + 1, 2 * k + 1] += _RIDGE * weight
        a[2 * k + 2, 2 * k + 2] += _RIDGE * weight
    # Cholesky: a becomes its own root below the diagonal; then forwards, then backwards.
    gain = 0.0
    for i in range(size):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= a[i, k] * a[j, k]
            a[i, j] = total / a[j, j] if i > j else np.sqrt(max(total, 1e-12 * weight))
        total = y[i]
        for k in range(i):
            total -= a[i, k] * solution[k]
        solution[i] = total / a[i, i]
        gain += solution[i] * solution[i]
    for back in range(size):
        i = size - 1 - back
        total = solution[i]
        for k in range(i + 1, size):
            total -= a[k, i] * solution[k]
        solution[i] = total / a[i, i]
    return gain
