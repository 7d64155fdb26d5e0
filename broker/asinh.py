"""Asinh magnitudes of difference flux (Lupton, Gunn & Szalay 1999, AJ 118, 1406): defined for
negative flux and for none, linear below the softening flux, ordinary magnitudes far above it.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import TENTH_MMAG
from broker.records import BANDS

#: Magnitudes of an e-fold.
POGSON = 2.5 / np.log(10)
ZERO_POINT = 31.4  #: AB magnitude of 1 nJy

#: Softening flux b in nJy per survey and band, about the 1-sigma error of one exposure: a fifth of
#: the 5-sigma depth (ZTF 20.8, 20.6, 20.2 in g r i, Bellm et al. 2019; LSST LSE-30).
DEPTHS: Mapping[str, Mapping[str, float]] = {
    "ztf": {"g": 20.8, "r": 20.6, "i": 20.2},
    "lsst": {"u": 23.8, "g": 24.5, "r": 24.0, "i": 23.4, "z": 22.7, "y": 22.0},
}


def softening(survey: str) -> NDArray[np.float64]:
    """Softening flux (8,) f8 in nJy by the band's number in BANDS; 0 where it is not observed."""
    result = np.zeros(len(BANDS))
    for band, depth in DEPTHS[survey].items():
        result[BANDS.index(band)] = 10 ** (-0.4 * (depth - ZERO_POINT)) / 5
    return result


@njit(cache=True, nogil=True)
def magnitude(flux: float, soft: float) -> float:
    """AB asinh magnitude: 31.4 - 2.5 / ln 10 (asinh(f / 2b) + ln b); of no flux 31.4 - 2.5 log b.

    A negative flux lies as far beyond that of no flux as a positive one of its size before it.
    """
    return float(ZERO_POINT - POGSON * (np.arcsinh(flux / (2.0 * soft)) + np.log(soft)))


@njit(cache=True, nogil=True)
def tenth_mmag(flux: float, soft: float) -> int:
    """The same in whole 0.1 mmag, as DMDT counts them."""
    return int(np.floor(magnitude(flux, soft) * TENTH_MMAG + 0.5))
