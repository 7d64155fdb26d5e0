"""Tidal disruption events: a hot black body that keeps its colour, a rise of weeks, a slow fall.

van Velzen et al. 2021 (ApJ 908, 4) and Hammerstein et al. 2023 (ApJ 942, 9), who fit ZTF's: a rise
like half a Gaussian, a decay that is exponential or a power law about t^-5/3 (Rees 1988), log10 of
the temperature 4.1 to 4.6, which changes by -20 to 120 K a day. No gate that ships was trained with
these: see `models.transients.groups.CLASSES`.
"""

from __future__ import annotations

import numpy as np

from models.transients.curves import Curves
from models.transients.light import (
    MICROMETRES,
    Light,
    black_body,
    days,
    owners,
    reddened,
    walk,
)

#: Deviation of the Gaussian rise, days at rest: median and sigma of a lognormal, and limits: from a
#: tenth of the peak it takes 2.1 of them.
RISE, RISES = (9.0, 0.45), (4.0, 22.0)
#: E-folding time of the exponential decay, and t0 of (1 + t / t0)^-p, days at rest.
DECAY, DECAYS, FALLBACK = (55.0, 0.45), (25.0, 150.0), (25.0, 100.0)
POWER = (1.67, 0.3)  #: p: mean and deviation
LOG_KELVIN, LOG_KELVINS = (4.28, 0.12), (4.1, 4.6)  #: of the temperature at the peak
WARMS = (-20.0, 120.0)  #: K a day, to 100 days after the peak
REDSHIFT = {"ztf": (0.02, 0.25), "lsst": (0.05, 0.8)}
DUST = 0.07  #: mean E(B-V), exponentially distributed
ROUGH, MEMORY = 0.06, 15.0  #: magnitudes and days of the walk about the smooth curve
HOST = 8.0  #: the galaxy's light is up to so many times that of the peak
#: Where the first point lies, in units of the rise before the peak: most are found while they rise;
#: of the others anywhere up to some time after the peak, as the season begins.
FIRST, FOUND, ANYWHERE = (1.0, 2.6), 0.75, (-4.0, 2.6)


def generate(times: Curves, draw: np.random.Generator, survey: str = "ztf") -> Light:
    """Light of one event for each object, in units of its flux in r at the peak."""
    count, owner = len(times), owners(times)
    slower = 1 + draw.uniform(*REDSHIFT[survey], count)
    rise = np.clip(draw.lognormal(np.log(RISE[0]), RISE[1], count), *RISES)
    decay = np.clip(draw.lognormal(np.log(DECAY[0]), DECAY[1], count), *DECAYS)
    fallback = draw.uniform(*FALLBACK, count)
    power = np.maximum(draw.normal(*POWER, count), 0.8)
    kelvin = 10 ** np.clip(draw.normal(*LOG_KELVIN, count), *LOG_KELVINS)
    warms = draw.uniform(*WARMS, count)
    exponential = draw.random(count) < 0.5
    rising = draw.random(count) < FOUND
    before = np.where(rising, draw.uniform(*FIRST, count), draw.uniform(*ANYWHERE, count))
    start = -rise * before

    t = days(times) / slower[owner] + start[owner]  # days at rest since the peak
    late = np.maximum(t, 0.0)
    falls = np.where(
        exponential[owner],
        np.exp(-late / decay[owner]),
        (1 + late / fallback[owner]) ** -power[owner],
    )
    luminosity = np.where(t < 0, np.exp(-0.5 * (t / rise[owner]) ** 2), falls)
    hot = np.maximum(kelvin[owner] + warms[owner] * np.clip(t, -30, 100), 9000.0)
    rest = (MICROMETRES[times.band]) / slower[owner]
    shown = black_body(hot, rest) / hot**4
    norm = black_body(kelvin, MICROMETRES[2] / slower) / kelvin**4
    rough = 10 ** (-0.4 * ROUGH * walk(times, np.full(count, MEMORY), draw))
    dust = reddened(draw.exponential(DUST, count))[owner, times.band]
    flux = luminosity * rough * dust * shown / norm[owner]
    return Light(flux, draw.uniform(0, HOST, count)[owner] * np.ones(len(t)))
