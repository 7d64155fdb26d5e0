"""Fold images: a curve's points over two turns of a frequency, as shares of each phase."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import MICRODAYS

PHASES, LEVELS = 32, 20
#: The 2nd and the 98th percentile lie here; what is beyond has two rows on each side.
_TOP, _BOTTOM = 2.0, 17.0


@njit(cache=True, nogil=True)
def fold(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    per_day: float,
    image: NDArray[np.uint8],
) -> None:
    """Fold points at half a frequency, as eclipsing binaries need it.

    Phase 0 is where the wave of that frequency is faintest; of its two such places, that which is
    fainter by the wave of half the frequency. A point is spread over the four nearest cells.

    Parameters
    ----------
    time : (point,) i8
        Microdays.
    magnitude : (point,) i4
        0.1 mmag.
    per_day : float
        The frequency, or 0 for none.
    image : (PHASES, LEVELS) u1
        Filled in place: 255 times the roots of the shares that the levels have in each phase; zeros
        for no frequency.
    """
    image[:] = 0
    n = len(time)
    if per_day <= 0 or n < 2:
        return
    ordered = np.sort(magnitude)
    low, high = ordered[int(0.02 * (n - 1))], ordered[int(np.ceil(0.98 * (n - 1)))]
    if low == high:
        return
    turns = np.empty(n)  # of half the frequency
    mean = 0.0
    for i in range(n):
        turn = (time[i] - time[0]) / MICRODAYS * per_day / 2
        turns[i] = turn - np.floor(turn)
        mean += magnitude[i]
    mean /= n
    c = s = 0.0
    for i in range(n):
        c += (magnitude[i] - mean) * np.cos(4 * np.pi * turns[i])
        s += (magnitude[i] - mean) * np.sin(4 * np.pi * turns[i])
    faintest = np.arctan2(s, c) / (4 * np.pi)
    first = 0.0
    for i in range(n):
        first += (magnitude[i] - mean) * np.cos(2 * np.pi * (turns[i] - faintest))
    if first < 0:
        faintest += 0.5
    sums = np.zeros((PHASES, LEVELS))
    scale = (_BOTTOM - _TOP) / (high - low)
    for i in range(n):
        x = turns[i] - faintest
        x = (x - np.floor(x)) * PHASES
        y = min(max(_TOP + (magnitude[i] - low) * scale, 0.0), LEVELS - 1.001)
        column, row = int(x), int(y)
        dx, dy = x - column, y - row
        column %= PHASES
        after = (column + 1) % PHASES
        sums[column, row] += (1 - dx) * (1 - dy)
        sums[column, row + 1] += (1 - dx) * dy
        sums[after, row] += dx * (1 - dy)
        sums[after, row + 1] += dx * dy
    for phase in range(PHASES):
        total = sums[phase].sum()
        if total > 0:
            for level in range(LEVELS):
                image[phase, level] = np.uint8(np.rint(255 * np.sqrt(sums[phase, level] / total)))
