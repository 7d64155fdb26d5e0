"""Active galactic nuclei: damped random walks of log brightness, the less the redder the band.

Kelly et al. 2009 (ApJ 698, 895) and MacLeod et al. 2010 (ApJ 721, 1014; their eq. 7: amplitude as
wavelength^-0.48): a deviation of 0.1 to 0.4 mag about which flaring ones scatter, memories of some
hundred days, of light black holes some ten (Burke et al. 2021, Science 373, 789). Light of a
quasar goes as nu^-0.44 (Vanden Berk et al. 2001, AJ 122, 549).
"""

from __future__ import annotations

import numpy as np

from models.transients.curves import Curves
from models.transients.light import (
    MICROMETRES,
    Light,
    log_uniform,
    owners,
    power_law,
    reddened,
    walk,
)

#: Deviation of the walk at 0.62 micrometres, mag: lognormal, median and sigma, and limits.
SPREAD, SPREADS = (0.2, 0.5), (0.06, 0.8)
#: Days after which the walk has forgotten, evenly in the logarithm (observer's frame).
MEMORY = (20.0, 900.0)
SLOPE = (-0.44, 0.35)  #: of F_nu = nu^slope: mean and deviation
LESS = -0.48  #: amplitude goes as wavelength to this power
HOST = 3.0  #: the galaxy's light under the nucleus is up to so many times the nucleus's
DUST = 0.05  #: mean E(B-V), exponentially distributed
#: Deviation of the walk's mean over the nights of the reference image, of which it is a mean.
REFERENCE = 0.8


def generate(times: Curves, draw: np.random.Generator) -> Light:
    """Light of one nucleus for each object, in units of its mean flux in r."""
    count, owner = len(times), owners(times)
    spread = np.clip(draw.lognormal(np.log(SPREAD[0]), SPREAD[1], count), *SPREADS)
    memory = log_uniform(draw, MEMORY, count)
    colour = power_law(draw.normal(*SLOPE, count)) * reddened(draw.exponential(DUST, count))
    less = (MICROMETRES / MICROMETRES[2]) ** LESS
    now = walk(times, memory, draw)
    then = draw.normal(0, REFERENCE, count)
    amplitude = (spread[:, None] * less)[owner, times.band]
    level = colour[owner, times.band]
    flux = level * 10 ** (-0.4 * amplitude * now)
    reference = level * 10 ** (-0.4 * amplitude * then[owner])
    host = draw.uniform(0, HOST, count)[owner]
    return Light(flux - reference, reference + host)
