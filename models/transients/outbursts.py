"""Cataclysmic variables: the outbursts of dwarf novae, one after the other, blue and short.

Sources: types after Warner 1995 (Cataclysmic Variable Stars, ch. 3). Decline in days per magnitude
as 0.53 (period / 1 h)^0.84 (Smak 1984, AcA 34, 161; Bailey 1975). Recurrence after Kukarkin and
Parenago: amplitude = 0.7 + 1.9 log10(days) (Warner 1995, eq. 3.1). Amplitudes of 2 to 8 mag
(Otulakowska et al. 2016, MNRAS 460, 2526). Superoutbursts of 10 to 20 days, of WZ Sge stars 20 to
35, that fade by 0.1 mag/day (Kato et al. 2009, PASJ 61, S395; 2015, PASJ 67, 108). Z Cam stars
stand still 0.7 mag below maximum (Simonsen et al. 2014, JAAVSO 42, 177). A disc in outburst is
nearly white: nu^(1/3) if steady (Lynden-Bell 1969), redder as it fades (Bailey 1980, MNRAS 190,
119); those that BTS lists are redder than that (g - r of 0.1 to 0.5), so colours scatter widely.
Novae are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.records import BANDS
from models.transients.curves import Curves
from models.transients.light import (
    Floats,
    Light,
    days,
    log_uniform,
    owners,
    power_law,
    reddened,
)

#: Shares of types: U Gem with short and long outbursts, SU UMa with superoutbursts between normal
#: ones, WZ Sge with nothing else, Z Cam with standstills.
TYPES = {"U Gem": 0.42, "SU UMa": 0.38, "WZ Sge": 0.12, "Z Cam": 0.08}
#: Orbital periods, hours: limits of an even distribution.
PERIODS = {"U Gem": (3.0, 8.0), "SU UMa": (1.3, 2.2), "WZ Sge": (1.2, 1.5), "Z Cam": (3.0, 6.0)}
#: Amplitudes of normal outbursts, mag: mean, deviation, limits; a superoutburst has 0.5 to 1.3
#: more, that of a WZ Sge star 5.5 to 8 in all.
AMPLITUDE, AMPLITUDES, MORE, WZ = (3.3, 0.8), (2.0, 6.0), (0.5, 1.3), (5.5, 8.0)
RISE = (0.45, 0.3)  #: days per magnitude: median and sigma of a lognormal
#: Days at maximum: median and sigma of a lognormal of short and of long outbursts; of super ones
#: limits.
SHORT, LONG, SUPER, WZ_SUPER = (1.5, 0.5), (8.0, 0.35), (10.0, 20.0), (20.0, 35.0)
FADE = (0.06, 0.14)  #: mag per day while a superoutburst lasts; a normal maximum is flat
STANDSTILL, BELOW = (30.0, 300.0), 0.7  #: days, and magnitudes below maximum
SLOPE = (0.1, 0.6)  #: F_nu = nu^slope at maximum: mean and deviation
REDDER = 0.12  #: that slope falls by so much per magnitude of decline
DUST = 0.15  #: mean E(B-V), exponentially distributed
FLICKER = (0.02, 0.12)  #: magnitudes, point by point
#: Outbursts of one star that are followed, and into which its first point falls.
OUTBURSTS, BETWEEN = 45, (20, 35)
#: The reference is quiescence, or a mean over so many exposures within so many days before, but for
#: a fifth of them at either end, as a survey makes it: of a star that is often in outburst it holds
#: some of that light.
EXPOSURES, WINDOW = 15, (60.0, 700.0)


@dataclass(frozen=True, slots=True)
class Stars:
    """Dwarf novae: columns (star,) f8 or (star, outburst) f8; days and magnitudes.

    ``rise`` and ``fall`` days per magnitude; ``begin`` of each outburst, days after the first;
    ``height`` above quiescence, ``top`` days at maximum, ``fade`` mag/day there; ``left``
    magnitudes above quiescence from which the end goes more slowly (WZ Sge's tail).
    """

    rise: Floats
    fall: Floats
    left: Floats
    begin: Floats
    height: Floats
    top: Floats
    fade: Floats


def draw_stars(count: int, draw: np.random.Generator) -> Stars:
    """Stars of the types in their shares, each with its outbursts."""
    names = list(TYPES)
    kind = draw.choice(len(names), count, p=list(TYPES.values()))
    low, high = np.array([PERIODS[name] for name in names])[kind].T
    period = draw.uniform(low, high)
    fall = 0.53 * period**0.84 * draw.lognormal(0, 0.2, count)
    rise = draw.lognormal(np.log(RISE[0]), RISE[1], count)
    gem, uma, wz, cam = (kind == k for k in range(4))

    usual = np.clip(draw.normal(*AMPLITUDE, count), *AMPLITUDES)
    shape = count, OUTBURSTS
    cycle = 10 ** ((usual - 0.7) / 1.9 + draw.normal(0, 0.25, count))
    cycle = np.where(wz, 5000.0, np.clip(cycle, 6, 1000))
    chance = np.where(uma, 0.2, np.where(wz, 1.0, 0.0))
    great = draw.random(shape) < chance[:, None]
    long = (draw.random(shape) < 0.35) & (gem | cam)[:, None]
    still = (draw.random(shape) < 0.3) & cam[:, None]
    short = draw.lognormal(np.log(SHORT[0]), SHORT[1], shape)
    top = np.where(long, draw.lognormal(np.log(LONG[0]), LONG[1], shape), short)
    limits = np.where(wz, np.array(WZ_SUPER)[:, None], np.array(SUPER)[:, None])[:, :, None]
    top = np.where(great, draw.uniform(limits[0], limits[1], shape), top)
    top = np.where(still, draw.uniform(*STANDSTILL, shape), top)
    height = usual[:, None] + draw.normal(0, 0.2, shape)
    height += np.where(great, draw.uniform(*MORE, shape), 0.0) - np.where(still, BELOW, 0.0)
    height = np.where(wz[:, None], draw.uniform(*WZ, shape), height)
    height = np.clip(height, AMPLITUDES[0] - BELOW, WZ[1])
    fade = np.where(great, draw.uniform(*FADE, shape), 0.0)
    lasts = rise[:, None] * height + top + fall[:, None] * height
    gap = np.maximum(cycle[:, None] * draw.lognormal(0, 0.3, shape), lasts)
    begin = np.cumsum(gap, axis=1) - gap
    left = np.where(wz, draw.uniform(1.0, 2.0, count), 0.0)
    return Stars(rise, fall, left, begin, height, top, fade)


def generate(times: Curves, draw: np.random.Generator, quiet: NDArray[np.bool_]) -> Light:
    """Light of one star for each object, whose first point falls into an outburst.

    In units of its flux in r at the height of the greatest one. `quiet` (object,) says of which the
    reference is quiescence.
    """
    count, owner = len(times), owners(times)
    stars = draw_stars(count, draw)
    which = draw.integers(*BETWEEN, count)
    one = np.arange(count), which
    lasts = stars.rise * 2 + stars.top[one] + stars.fall * np.minimum(stars.height[one], 3)
    start = stars.begin[one] + draw.uniform(0, 1, count) * lasts
    slope = draw.normal(*SLOPE, count)
    dust = reddened(draw.exponential(DUST, count))
    highest = stars.height.max(axis=1)

    def flux(day: Floats, first: NDArray[np.int64], flicker: Floats | float) -> Floats:
        """Of each band (point, band), days (point,) of each star."""
        of = np.repeat(np.arange(count), np.diff(first))
        columns = stars.rise, stars.fall, stars.left, stars.begin, stars.height, stars.top
        below = highest[of] - heights(day, first, *columns, stars.fade)
        colour = power_law(slope[of] - REDDER * below) * dust[of]
        result: Floats = colour * 10 ** (-0.4 * (below + flicker))[:, None]
        return result

    flicker = draw.uniform(*FLICKER, count)[owner] * draw.normal(size=len(owner))
    now = flux(days(times) + start[owner], times.first, flicker)
    window = log_uniform(draw, WINDOW, count)
    before = start[:, None] - 3 - window[:, None] * draw.random((count, EXPOSURES))
    then = flux(before.ravel(), np.arange(count + 1) * EXPOSURES, 0.0)
    then = np.sort(then.reshape(count, EXPOSURES, len(BANDS)), axis=1)
    fifth = EXPOSURES // 5
    mean = then[:, fifth:-fifth].mean(axis=1)  # (object, band)
    reference = np.where(quiet[:, None], 10 ** (-0.4 * highest[:, None]) * dust, mean)
    behind = reference[owner, times.band]
    return Light(now[np.arange(len(owner)), times.band] - behind, behind)


@njit(cache=True, nogil=True)
def heights(
    day: NDArray[np.float64],
    first: NDArray[np.int64],
    rise: NDArray[np.float64],
    fall: NDArray[np.float64],
    left: NDArray[np.float64],
    begin: NDArray[np.float64],
    height: NDArray[np.float64],
    top: NDArray[np.float64],
    fade: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Magnitudes (point,) above quiescence; days (point,) and columns as in `Stars`."""
    result = np.zeros(len(day))
    for i in range(len(first) - 1):
        for k in range(first[i], first[i + 1]):
            for j in range(begin.shape[1]):
                t = day[k] - begin[i, j]
                if t < 0:
                    break
                up = rise[i] * height[i, j]
                if t < up:
                    now = t / rise[i]
                elif t < up + top[i, j]:
                    now = height[i, j] - fade[i, j] * (t - up)
                else:
                    over = t - up - top[i, j]
                    low = height[i, j] - fade[i, j] * top[i, j]
                    now = low - over / fall[i]
                    if now < left[i]:  # a WZ Sge star cools by 0.03 mag a day
                        now = left[i] - 0.03 * (over - (low - left[i]) * fall[i])
                result[k] = max(result[k], now)
    return result
