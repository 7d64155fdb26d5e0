"""The same supernovae on other nights: their light between the points, seen by a survey's plan.

Who lends its times lends its survey's habits. SNPCC has four bands together in a night and none of
them twice, LSST's visits come in pairs within the hour, of one band or two: a gate that had learned
from the first alone took supernovae of the second for periodic stars. So some are seen again: the
Gaussian process of `broker.smoothing` tells their flux at the exposures of `broker.cadence` (as
Boone 2019, AJ 158, 257 does), brighter, as if they were nearer, and under the noise of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from broker import cadence
from broker.grids import MICRODAYS
from broker.sky import njy
from broker.smoothing import smooth
from models.transients import carry
from models.transients.curves import Curves, Points, from_objects, join
from models.transients.variables import own_error

#: Areas of the sky with one round of visits in a night, and as many with two; nights of the plan.
AREAS, NIGHTS = 100, 400
_START_MJD = 59_000.0
#: Of an object's nights, and of the exposures of these, it may lose all but this share, as plans
#: differ: evenly from none to these.
NIGHTS_KEPT, EXPOSURES_KEPT = 0.2, 0.3
#: As bright as a peak may become, AB.
BRIGHTEST = {"ztf": 15.5, "lsst": 18.5}
#: An object is seen again if so many of its points have 5 errors, the best one this many.
POINTS, SIGNAL = 8, 12.0
#: Scale of the kernel (days); a flux that is known no better than this share of the greatest is
#: not seen.
SCALE, UNSURE = 20.0, 0.15


@dataclass(frozen=True, slots=True)
class Plan:
    """A survey's exposures: rows first[a]:first[a + 1] are of area a, in order of time."""

    survey: str
    shots: NDArray[np.void]
    first: NDArray[np.int64]

    def draw(
        self, days: float, bands: NDArray[np.uint8], draw: np.random.Generator
    ) -> NDArray[np.void]:
        """Those (exposure,) of one area and these bands within so many days, but for some."""
        area = draw.integers(0, len(self.first) - 1)
        shots = self.shots[self.first[area] : self.first[area + 1]]
        start = _START_MJD + draw.random() * max(NIGHTS - days, 0.0)
        here = shots[slice(*np.searchsorted(shots["mjd_tai"], (start, start + days)))]
        night = np.floor(here["mjd_tai"] - _START_MJD + 0.3).astype(np.int64)
        nights, exposures = draw.uniform(NIGHTS_KEPT, 1), draw.uniform(EXPOSURES_KEPT, 1)
        kept = draw.random(NIGHTS + 2)[night] < nights
        kept &= draw.random(len(here)) < exposures
        return here[kept & np.isin(here["band"], bands)]


@cache
def plan(survey: str) -> Plan:
    """Exposures of a survey of `broker.cadence.SURVEYS`, always the same."""
    facts, draw = cadence.SURVEYS[survey], np.random.default_rng(0)
    several = []
    for visits in (1, 2):
        shots = cadence.observe(facts, AREAS, NIGHTS, _START_MJD, visits, draw)
        shots["area"] += AREAS * (visits - 1)
        several.append(shots)
    every = np.sort(np.concatenate(several), order=["area", "mjd_tai"])
    return Plan(survey, every, np.searchsorted(every["area"], np.arange(2 * AREAS + 1)))


def some_again(curves: Curves, plan: Plan, share: float, draw: np.random.Generator) -> Curves:
    """The same objects in another order, a share of those that are known well on other nights."""
    chosen = carry.worth(curves, POINTS, SIGNAL)
    chosen = chosen[draw.random(len(chosen)) < share]
    others = np.setdiff1d(np.arange(len(curves)), chosen)
    return join([curves.take(others), again(curves.take(chosen), plan, draw)])


def again(curves: Curves, plan: Plan, draw: np.random.Generator) -> Curves:
    """Each object on other nights, in the bands in which it was seen.

    Parameters
    ----------
    curves : Curves
        Each object with points of 3 errors and more.
    plan : Plan
    draw : numpy.random.Generator
    """
    most = carry.brightest(curves)
    top = np.maximum(most, njy(BRIGHTEST[plan.survey]))
    factor = np.exp(draw.uniform(0, np.log(top / most)))
    ones = (curves.take(np.array([i])) for i in range(len(curves)))
    parts = [_of(one, plan, times, draw) for one, times in zip(ones, factor, strict=True)]
    return from_objects(parts, curves.split, curves.label)


def _of(one: Curves, plan: Plan, factor: float, draw: np.random.Generator) -> Points:
    """One object's new points."""
    shots = plan.draw((one.time[-1] - one.time[0]) / MICRODAYS, one.band, draw)
    mean, known = light(one, shots["mjd_tai"] - shots["mjd_tai"][:1], shots["band"])
    shots, flux = shots[known], factor * mean[known]
    error = np.hypot(njy(shots["limit"]) / 5, own_error(plan.survey, flux))
    return shots["mjd_tai"], shots["band"], flux + draw.normal(0, error), error


def light(
    one: Curves, at: NDArray[np.float64], band: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Flux (exposure,) f8 of one object so many days after its first point, and where it is known.

    Parameters
    ----------
    one : Curves
        One object.
    at : (exposure,) f8
        Days, in order.
    band : (exposure,) u1
        Index into `broker.records.BANDS`; of a band without a point nothing is known.
    """
    days = (one.time - one.time[0]) / MICRODAYS
    mean, deviation = np.zeros(len(at)), np.full(len(at), np.inf)
    greatest = float(one.flux.max())
    for b in np.unique(one.band):
        mine, nodes = one.band == b, np.flatnonzero(band == b)
        points = (column[mine].astype(np.float64) for column in (days, one.flux, one.error))
        own = np.empty(len(nodes)), np.empty(len(nodes))
        smooth(*points, at[nodes], SCALE, greatest, *own)
        mean[nodes], deviation[nodes] = own
    return mean, deviation < UNSURE * greatest
