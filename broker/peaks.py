"""The peaks of a curve's power spectrum: found, looked at more finely, compared."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.harmonics import LANES, MOST_HARMONICS, Weighted, fit, sums

#: Beyond this the yearly gaps of a survey look like periods, and no star of ours is as slow.
LONGEST_DAYS = 2000
FUNDAMENTAL = 0.03
#: How many peaks are tried: of the spectrum, of P(f) + P(2f), of P(f) + .. + P(4f).
_TRIED = (12, 6, 6)
#: So many of them are looked at more finely, with 3 harmonics.
_REFINED = 9
#: Frequencies that are passed over together if none is high enough.
_AT_ONCE = 64


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _most(heights: NDArray[np.float32]) -> np.float32:
    """The greatest of some that are numbers: told so, LLVM uses vectors."""
    most: np.float32 = heights[0]
    for height in heights:
        most = max(most, height)
    return most


@njit(cache=True, nogil=True, fastmath={"nnan", "nsz"})
def _near(power: NDArray[np.float32], near: NDArray[np.float32]) -> None:
    """The greatest of each three neighbours: a peak's multiple may lie beside its own number."""
    for k in range(1, len(power) - 1):
        near[k] = max(max(power[k - 1], power[k]), power[k + 1])


@njit(cache=True, nogil=True)
def highest(
    heights: NDArray[np.float32], lowest: int, most: int, found: NDArray[np.int64], n_found: int
) -> int:
    """Add numbers of the `most` highest local maxima above number `lowest` to those found; returns
    how many these are.
    """
    tallest = np.zeros(most, np.float32)
    number = np.zeros(most, np.int64)
    for begin in range(lowest + 1, len(heights) - 1, _AT_ONCE):
        end = min(begin + _AT_ONCE, len(heights) - 1)
        if _most(heights[begin:end]) <= tallest[most - 1]:
            continue
        for k in range(begin, end):
            height = heights[k]
            if height > tallest[most - 1] and heights[k - 1] <= height > heights[k + 1]:
                i = most - 1
                while i > 0 and tallest[i - 1] < height:
                    tallest[i], number[i] = tallest[i - 1], number[i - 1]
                    i -= 1
                tallest[i], number[i] = height, k
    for i in range(most):
        new = number[i] > 0
        for j in range(n_found):
            new = new and found[j] != number[i]
        if new:
            found[n_found] = number[i]
            n_found += 1
    return n_found


@njit(cache=True, nogil=True)
def _tried(power: NDArray[np.float32], lowest: int) -> NDArray[np.int64]:
    """Numbers of the frequencies above `lowest` that are worth a closer look."""
    found = np.zeros(_TRIED[0] + _TRIED[1] + _TRIED[2], np.int64)
    n_found = highest(power, lowest, _TRIED[0], found, 0)
    near = np.zeros(len(power), np.float32)
    _near(power, near)
    heights = np.empty(len(power) // 2 - 1, np.float32)
    for k in range(len(heights)):
        heights[k] = power[k] + near[2 * k]
    n_found = highest(heights, lowest, _TRIED[1], found, n_found)
    heights = heights[: len(power) // 4 - 1]
    for k in range(len(heights)):
        heights[k] += near[3 * k] + near[4 * k]
    n_found = highest(heights, lowest, _TRIED[2], found, n_found)
    return found[:n_found]


@njit(cache=True, nogil=True)
def refine(
    curve: Weighted, centre: float, width: float, harmonics: int, table: NDArray[np.float32]
) -> tuple[float, float]:
    """The best of LANES frequencies within `width` of the centre, and its gain.

    A little of the fundamental's own gain is added (FUNDAMENTAL): half the frequency of a wave fits
    as well as the wave, and a little better for its further freedom.
    """
    per_day = np.empty(LANES)
    solution = np.empty(2 * MOST_HARMONICS + 1)
    for lane in range(LANES):
        per_day[lane] = max(centre + (2 * lane + 1 - LANES) / LANES * width, 1e-6)
    sums(curve, per_day, harmonics, table)
    best, best_gain = 0, -1.0
    for lane in range(LANES):
        gain = fit(table, lane, harmonics, curve.total, solution)
        if gain > best_gain:
            best, best_gain = lane, gain
    alone = fit(table, best, 1, curve.total, solution)
    return per_day[best], best_gain + FUNDAMENTAL * alone


@njit(cache=True, nogil=True)
def candidates(
    curve: Weighted, power: NDArray[np.float32], period: int, table: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Frequencies of peaks of a curve's power (frequency,), and what three harmonics gain there.

    Frequencies are multiples of one in `period` days. 0 for those that two harmonics rule out; none
    where power has no peak. `table` is room for `broker.harmonics.sums`.
    """
    step = 1 / period
    found = _tried(power, period // LONGEST_DAYS)
    best, gain = np.zeros(len(found)), np.zeros(len(found))
    for i in range(len(found)):
        best[i], gain[i] = refine(curve, found[i] * step, step, 2, table)
    order = np.argsort(-gain, kind="mergesort")
    gain[order[_REFINED:]] = 0.0
    for i in order[:_REFINED]:
        best[i], gain[i] = refine(curve, best[i], 0.2 * step, 3, table)
    return best, gain
