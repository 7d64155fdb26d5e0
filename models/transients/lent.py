"""The literature's supernovae in the places of a survey's: at their times, under their sky.

Many telescopes' points tell of themselves: none is a limit, the brightest are of the nearest, the
cadence is no survey's. A network that had learned from these alone took any bright supernova, or
one without limits, for a superluminous one.
"""

from __future__ import annotations

import numpy as np

from broker.grids import MICRODAYS
from models.transients import carry
from models.transients.again import light
from models.transients.curves import Curves, Points, first_detection, from_objects
from models.transients.variables import own_error, sky_error

#: Days in which it rose from nothing to its first point: what happened in them is not known, and
#: before them it was dark.
RISE = (15.0, 50.0)
#: Days by which its first point is later than the lender's first detection.
LATER = (-5.0, 15.0)
#: Natural logarithm of its peak over the lender's: mean and deviation.
BRIGHTER = (0.0, 0.5)
#: A lender has so many points, a detection among them.
FEWEST = 20


def lenders(curves: Curves) -> Curves:
    """The objects that can lend their places: none if no limit is known of any."""
    limits = len(curves.kind) > 0 and curves.kind.min() < curves.kind.max()
    return curves.take(np.flatnonzero((curves.n >= FEWEST) & curves.detected & limits))


def lent(curves: Curves, places: Curves, survey: str, draw: np.random.Generator) -> Curves:
    """Each object in the place of another: at its times, in its bands, about as bright.

    Parameters
    ----------
    curves : Curves
        Each with a point above 0; in bands in which none has one, nothing is known.
    places : Curves
        As many, of `lenders`.
    survey : str
        Of `broker.cadence.SURVEYS`: whose noise it is.
    draw : numpy.random.Generator

    Returns
    -------
    Curves
        The points at which its light is known, or it was not yet there.
    """
    sky, start = sky_error(places, survey), first_detection(places)
    factor = carry.brightest(places) / carry.brightest(curves)
    factor *= np.exp(draw.normal(*BRIGHTER, len(curves)))
    objects: list[Points] = []
    for i in range(len(curves)):
        here = slice(places.first[i], places.first[i + 1])
        time, band = places.time[here], places.band[here]
        at = (time - start[i]) / MICRODAYS - draw.uniform(*LATER)
        mean, known = light(curves.take(np.array([i])), at, band)
        dark = at < -draw.uniform(*RISE)
        keep = dark | (known & (at >= 0))
        flux = np.where(dark, 0.0, factor[i] * mean)[keep]
        error = np.hypot(sky[here][keep], own_error(survey, flux))
        objects.append((time[keep] / MICRODAYS, band[keep], draw.normal(flux, error), error))
    return from_objects(objects, curves.split, curves.label)
