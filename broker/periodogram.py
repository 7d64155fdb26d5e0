"""An object's own periodogram: the best frequencies of its points, and what it does there."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker import fourier
from broker.grids import MICRODAYS, TENTH_MMAG
from broker.harmonics import LANES, MOST_HARMONICS, Weighted, weighted
from broker.peaks import FUNDAMENTAL, LONGEST_DAYS, candidates, highest, refine
from broker.waves import WAVE, describe

#: Fewer points say nothing of a period.
FEWEST = 16
PEAKS = 3
_LEAST_ERROR, _MOST_ERROR = 1.0 / TENTH_MMAG, 100.0  # mag

_REST = ("log_frequency", "ratio", "gain_1", "gain_left", "double_mode", "double_gain")
_EACH = len(WAVE)
#: What is measured at each of the best frequencies and, behind them, in what the best one leaves.
FEATURES = (
    *(f"{name}_{p + 1}" for p in range(PEAKS) for name in WAVE),
    *(f"rest_{name}" for name in _REST),
)
_FEATURES = len(FEATURES)


class Room(NamedTuple):
    """Tables and room for one curve at a time."""

    tables: tuple[fourier.Tables, ...]
    desk: fourier.Desk
    sums: NDArray[np.float32]


class Found(NamedTuple):
    """The periodogram of one curve; zeros of too few points, or of a curve that does not change."""

    features: NDArray[np.float64]  # (len(FEATURES),)
    per_day: NDArray[np.float64]  # (PEAKS,) frequencies, the best first; 0 where there is none


def room() -> Room:
    """Room for one thread; 1.5 MB, and the tables that all share."""
    table = np.zeros(6 * MOST_HARMONICS * LANES, np.float32)
    return Room(fourier.tables(), fourier.desk(), table)


@njit(cache=True, nogil=True)
def rung(n: int) -> int:
    """How many of n points, in order of time, the periodogram is made of.

    The largest of 16, 24, 32, 40, 48, 57, 68, 81, 97, 116 ... (a fifth more, at least 8) not above
    n; 0 below 16. So it is computed seldom, and no later point gets into an earlier label. (With
    steps of a half 50 points had the periodogram of 36, and 3 % more stars were named wrong.)

    >>> [rung(n) for n in (15, 16, 23, 24, 130, 235)]
    [0, 16, 16, 24, 116, 199]
    """
    if n < FEWEST:
        return 0
    result = FEWEST
    while result + max(8, result // 5) <= n:
        result += max(8, result // 5)
    return result


@njit(cache=True, nogil=True)
def rungs(n: NDArray[np.int64]) -> NDArray[np.int64]:
    """`rung` of each number of points (curve,)."""
    result = np.empty(len(n), np.int64)
    for i in range(len(n)):
        result[i] = rung(n[i])
    return result


@njit(cache=True, nogil=True)
def _ordered(
    time: NDArray[np.int64], magnitude: NDArray[np.int32], error: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows by time, then magnitude, then error: sums do not depend on how they came."""
    order = np.argsort(time, kind="mergesort")
    for i in range(1, len(order)):
        k = i
        while k > 0:
            a, b = order[k - 1], order[k]
            if time[a] != time[b] or magnitude[a] < magnitude[b]:
                break
            if magnitude[a] == magnitude[b] and not error[a] > error[b]:
                break
            order[k - 1], order[k] = b, a
            k -= 1
    return order


@njit(cache=True, nogil=True)
def _taken(
    time: NDArray[np.int64], magnitude: NDArray[np.int32], error: NDArray[np.float64]
) -> Weighted:
    """A curve in days and magnitudes, with weights that let no point be the curve."""
    n = len(time)
    order = _ordered(time, magnitude, error)
    with_error, errors = 0, 0.0
    for i in order:
        if 0 < error[i] < _MOST_ERROR:
            with_error += 1
            errors += error[i]
    usual = max(errors / max(with_error, 1), _LEAST_ERROR)
    days, weight, value = np.empty(n), np.empty(n), np.empty(n)
    for k in range(n):
        i = order[k]
        days[k] = (time[i] - time[order[0]]) / MICRODAYS
        value[k] = (magnitude[i] - magnitude[order[0]]) / TENTH_MMAG
        e = error[i] if 0 < error[i] < _MOST_ERROR else usual
        weight[k] = 1.0 / (e * e + usual * usual)
    result: Weighted = weighted(days, weight, value)
    return result


@njit(cache=True, nogil=True)
def search(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    error: NDArray[np.float64],
    room: Room,
) -> Found:
    """Find the best frequencies of one curve and measure it there.

    Parameters
    ----------
    time : (point,) i8
        Microdays, in any order.
    magnitude : (point,) i4
        0.1 mmag.
    error : (point,) f8
        Magnitudes; one that is not above 0, or is absurd, counts as the mean of the others.
    """
    found = Found(np.zeros(_FEATURES), np.zeros(PEAKS))
    n = len(time)
    if n < FEWEST or time.min() == time.max() or magnitude.min() == magnitude.max():
        return found
    curve = _taken(time, magnitude, error)
    power, period = fourier.spectrum(curve.days, curve.signal, room.tables, room.desk)
    best, gain = candidates(curve, power, period, room.sums)
    apart = 0.5 / max(curve.days[-1], 1.0)
    kept = 0
    residual, left = np.empty(n), np.zeros(n)
    while kept < PEAKS and len(gain) > 0 and gain.max() > 0:
        i = gain.argmax()
        gain[i] = 0.0
        new = True
        for p in range(kept):
            new = new and abs(best[i] - found.per_day[p]) > apart
        if new:
            found.per_day[kept] = best[i]
            out = found.features[kept * _EACH : (kept + 1) * _EACH]
            describe(curve, best[i], room.sums, out, residual)
            if kept == 0:
                left[:] = residual
            kept += 1
    if kept > 0:
        out = found.features[PEAKS * _EACH :]
        _rest(curve, left, found.per_day[0], room, out)
    return found


@njit(cache=True, nogil=True)
def _rest(
    curve: Weighted,
    left: NDArray[np.float64],
    first: float,
    room: Room,
    out: NDArray[np.float64],
) -> None:
    """The strongest period of what the best one left, and that of a second radial mode."""
    rest = weighted(curve.days, curve.weight, left)
    power, period = fourier.spectrum(rest.days, rest.signal, room.tables, room.desk)
    lowest = period // LONGEST_DAYS
    top = np.full(1, lowest)
    highest(power, lowest, 1, top, 0)
    f, gain = refine(rest, top[0] / period, 1 / period, 1, room.sums)
    gain /= 1 + FUNDAMENTAL
    square = max(rest.square, 1e-9 * curve.square)
    out[0], out[1] = np.log(f), min(f / first, 4.0)
    out[2], out[3] = gain / curve.square, gain / square
    # Double-mode RR Lyrae: P1 / P0 from 0.742 to 0.749 (Soszynski et al. 2011), a little wider.
    most = 0.0
    for low, high in ((0.738, 0.752), (1 / 0.752, 1 / 0.738)):
        for k in range(int(first * low * period), int(first * high * period) + 2):
            if k < len(power):
                most = max(most, power[k])
    gain = 2 * most / rest.total
    out[4], out[5] = gain / curve.square, gain / square
