"""Places on the sky: which numbers are one, and rounded so that they stay what they are."""

from __future__ import annotations

import numpy as np
from numba import njit

#: Positions are rounded to this (degrees), so that what scatters by an arc second from alert to
#: alert is the same.
CELL = 0.1


@njit(cache=True, nogil=True)
def on_sky(ra: float, dec: float) -> bool:
    """Whether right ascension and declination in degrees are a place."""
    return abs(ra) <= 360 and abs(dec) <= 90  # NaN is not; of 1e308 the cosine is none


@njit(cache=True, nogil=True)
def rounded(degrees: float) -> float:
    """A right ascension or declination in degrees, to the next CELL."""
    return np.round(degrees / CELL) * CELL  # type: ignore[no-any-return]
