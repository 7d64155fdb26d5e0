"""Periodic variables folded with their catalogue's periods: stars that another survey may see.

The period is the generator's: no network is given it.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.asinh import POGSON
from broker.grids import MICRODAYS
from broker.records import BANDS
from broker.sky import SWINGS

#: Class number of CRTS-S -> whose swing per band it has (`broker.sky.SWINGS`; others 1).
SWING_OF = {1: "RRab", 2: "RRab", 3: "RRab", 4: "RRab", 7: "rotating", 8: "LPV"}
#: Points next in phase whose median is the star's magnitude.
NEAR = 9


@dataclass(frozen=True, slots=True)
class Stars:
    """Periodic variables in order of phase; points of star i are rows first[i]:first[i + 1].

    ``phase`` (point,) f8 from 0 to 1, ``magnitude`` (point,) f8 about the star's mean, ``first``
    (star + 1,) i8, ``period`` (star,) f8 days, ``mean`` (star,) f8 magnitude, ``kind`` (star,) i8
    class number of CRTS-S, ``ids`` (star,) names, ``split`` (star,) i8 crc32 of these.
    """

    phase: NDArray[np.float64]
    magnitude: NDArray[np.float64]
    first: NDArray[np.int64]
    period: NDArray[np.float64]
    mean: NDArray[np.float64]
    kind: NDArray[np.int64]
    ids: NDArray[np.str_]
    split: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.period)


def read_stars(folder: Path) -> Stars:
    """Read crts_south.npz, folded with its catalogue's periods.

    Raises
    ------
    FileNotFoundError
        The folder does not hold it.
    """
    path = folder / "crts_south.npz"
    if not path.is_file():
        msg = f"{path}: no such file; the CRTS-S light curves are needed to draw stars from"
        raise FileNotFoundError(msg)
    with np.load(path) as file:
        t, m, off, ids, lab, period = (
            file[key] for key in ("t", "m", "off", "ids", "lab", "period")
        )
    owner = np.repeat(np.arange(len(lab)), np.diff(off))
    phase = np.mod(t / period[owner], 1.0)
    mean = np.add.reduceat(m.astype(np.float64), off[:-1]) / np.diff(off)
    order = np.lexsort((phase, owner))
    names = ids.astype(np.str_)
    split = np.array([zlib.crc32(name.encode()) for name in names.tolist()])
    return Stars(
        phase[order],
        (m - mean[owner])[order],
        off.astype(np.int64),
        period,
        mean,
        lab.astype(np.int64),
        names,
        split,
    )


def swings(kind: NDArray[np.int64]) -> NDArray[np.float64]:
    """Amplitude per band (object, 8) f8 in units of CRTS's, of stars of these kinds."""
    result = np.ones((len(kind), len(BANDS)))
    for number, name in SWING_OF.items():
        result[kind == number, :6] = SWINGS[name]
    result[kind == 0, :6] = SWINGS["AGN"]
    return result


@njit(cache=True, nogil=True)
def reference_flux(
    magnitude: NDArray[np.float64], first: NDArray[np.int64], star: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean flux (object,) of the middle three fifths of its star's points, as of references."""
    result = np.empty(len(star))
    for i in range(len(star)):
        m = np.sort(magnitude[first[star[i]] : first[star[i] + 1]])
        cut = len(m) // 5
        result[i] = np.exp(-m[cut : len(m) - cut] / POGSON).mean()
    return result


@njit(cache=True, nogil=True)
def folded(
    time: NDArray[np.int64],
    first: NDArray[np.int64],
    phase: NDArray[np.float64],
    magnitude: NDArray[np.float64],
    star_first: NDArray[np.int64],
    star: NDArray[np.int64],
    period: NDArray[np.float64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Magnitude (point,) of each object's star: the median of its nearest points in phase."""
    result = np.empty(len(time))
    near = np.empty(NEAR)
    for i in range(len(first) - 1):
        begin, n = star_first[star[i]], star_first[star[i] + 1] - star_first[star[i]]
        ordered = phase[begin : begin + n]
        for k in range(first[i], first[i + 1]):
            now = (time[k] / MICRODAYS / period[star[i]] + shift[i]) % 1.0
            middle = np.searchsorted(ordered, now)
            for j in range(NEAR):
                near[j] = magnitude[begin + (middle - NEAR // 2 + j) % n]
            result[k] = np.median(near)
    return result
