"""When light that we see would have reached the barycentre of the solar system."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import MICRODAYS
from broker.positions import on_sky, rounded

#: One astronomical unit in days of light (499.004784 s, IAU 2012).
_AU = 499.004784 / 86_400
_J2000 = 51_544.5
#: Of Jupiter and Saturn, whose pull moves the Sun by up to its own width: distance (au) times mass
#: (Suns), mean longitude at J2000 and its motion a day (degrees; Standish, JPL's approximate
#: elements for 1800 to 2050). Circles in the ecliptic, which is good to half a second.
_PULLS = (
    (5.20289 / 1047.35, 34.39644, 3034.74613 / 36_525),
    (9.53668 / 3497.9, 49.95424, 1222.49362 / 36_525),
)


@njit(cache=True, nogil=True)
def delay(mjd: float, ra: float, dec: float) -> float:
    """Days from a wave front's arrival here to its arrival at the barycentre; up to 0.0058.

    The Sun's place is that of the Astronomical Almanac's low-precision formulae (section C), turned
    back to the equinox of J2000; with the two planets' pull it is good to 2 s until 2050.

    Parameters
    ----------
    mjd : float
        Days (any of TAI, TT, UTC: a minute more moves the Earth by 6 ms of light).
    ra, dec : float
        Degrees, of J2000.
    """
    n = mjd - _J2000
    g = np.radians(357.528 + 0.9856003 * n)
    equinox = 3.82394e-5 * n  # by how far it has moved since
    longitude = 280.460 + 0.9856474 * n + 1.915 * np.sin(g) + 0.020 * np.sin(2 * g) - equinox
    distance = 1.00014 - 0.01671 * np.cos(g) - 0.00014 * np.cos(2 * g)
    # Earth as seen from the barycentre, in the ecliptic.
    x = -distance * np.cos(np.radians(longitude))
    y = -distance * np.sin(np.radians(longitude))
    for pull, at, motion in _PULLS:
        x -= pull * np.cos(np.radians(at + motion * n))
        y -= pull * np.sin(np.radians(at + motion * n))
    tilt = np.radians(23.4393)
    a, d = np.radians(ra), np.radians(dec)
    towards = x * np.cos(d) * np.cos(a)
    towards += y * (np.cos(tilt) * np.cos(d) * np.sin(a) + np.sin(tilt) * np.sin(d))
    days: float = towards * _AU
    return days


@njit(cache=True, nogil=True)
def delays(mjd: NDArray[np.float64], ra: float, dec: float) -> NDArray[np.float64]:
    """`delay` (n,) f8 in days of many times (n,)."""
    result = np.empty(len(mjd))
    for i in range(len(mjd)):
        result[i] = delay(mjd[i], ra, dec)
    return result


@njit(cache=True, nogil=True)
def correct(
    searches: NDArray[np.void],
    wanted: NDArray[np.void],
    ra: NDArray[np.float64],
    dec: NDArray[np.float64],
) -> None:
    """Turn the times of `wanted` (`cut.WANTED`) into barycentric ones, each search's (`cut.SEARCH`)
    for the place (alert,) of its alert; where that has none on the sky nothing is changed. Places
    are rounded, which costs at most 0.4 s.
    """
    for s in range(len(searches)):
        a, d = ra[searches[s].alert], dec[searches[s].alert]
        if not on_sky(a, d):
            continue
        a, d = rounded(a), rounded(d)
        for k in range(searches[s].first, searches[s].first + searches[s].points):
            time = wanted[k].time
            wanted[k].time = time + np.int64(np.round(delay(time / MICRODAYS, a, d) * MICRODAYS))
