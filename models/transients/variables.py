"""Variable stars and galaxies as they would have alerted at the times of real transients.

The times, bands and errors of two surveys tell their objects apart without any physics. So each
variable gets those of one transient, as bright as that was, minus a reference; what then has 5
sigma alerts, and its transient keeps the same times only: but for the flux the two are equal.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.cadence import SURVEYS
from broker.grids import MICRODAYS
from models.stars import Stars, folded, reference_flux, swings
from models.transients.curves import DETECTION_SIGMA, Curves

#: Share of galaxies with an active nucleus: a damped random walk of log brightness (MacLeod et al.
#: 2010, ApJ 721, 1014: about 200 days, 0.1 to 0.4 mag).
AGN_SHARE = 0.15
#: No star is brighter than this in a survey's reference: it would saturate.
SATURATES = {"ztf": 12.5, "lsst": 17.0}
#: What the photometry of bright transients adds to the sky's noise.
OWN_ERROR = 0.03


def pairs(
    transients: Curves,
    stars: Stars,
    among: NDArray[np.int64],
    survey: str,
    draw: np.random.Generator,
) -> tuple[Curves, Curves, NDArray[np.int64]]:
    """Each transient at the times at which some variable in its place would have alerted.

    Parameters
    ----------
    transients : Curves
        Points that alerted, at least one of each object.
    stars : Stars
    among : (star,) i8
        Which of them to draw from.
    survey : str
        Of `broker.cadence.SURVEYS`: whose noise it is.
    draw : numpy.random.Generator

    Returns
    -------
    transients, variables : Curves
        The same times, bands and number of points in both; label 1 and 0. Pairs of fewer than two
        alerts are left out.
    kind : (pair,) i8
        Class number of the star, 0 for a galaxy with an active nucleus.
    """
    count = len(transients)
    owner = np.repeat(np.arange(count), transients.n)
    star = draw.choice(among, count)
    nucleus = draw.random(count) < AGN_SHARE
    kind = np.where(nucleus, 0, stars.kind[star])
    change = folded(
        transients.time, transients.first, stars.phase, stars.magnitude, stars.first,
        star, stars.period, draw.random(count),
    )  # fmt: skip
    memory = np.exp(draw.uniform(np.log(60), np.log(500), count))
    spread = draw.uniform(0.1, 0.4, count)
    walk = _walk(transients.time, transients.first, memory, draw.normal(size=len(owner)))
    change = np.where(nucleus[owner], walk * spread[owner], change)
    change *= swings(kind)[owner, transients.band]
    # The reference is a mean over other nights: for a nucleus another stretch of its walk.
    walked = 10 ** (-0.4 * spread * draw.normal(0, 0.7, count))
    reference = np.where(nucleus, walked, reference_flux(stars.magnitude, stars.first, star))
    relative = 10 ** (-0.4 * change) - reference[owner]
    flux, error, found = observe(transients, relative, reference, survey, draw)

    keep = found & (np.add.reduceat(found, transients.first[:-1]) >= 2)[owner]
    alike = transients.rows(keep)
    some = np.flatnonzero(alike.n > 0)
    variables = Curves(
        alike.time, alike.band, alike.kind, flux[keep], error[keep], alike.first, 0 * alike.label,
        stars.split[star],
    )  # fmt: skip
    alike = Curves(
        alike.time, alike.band, alike.kind, alike.flux, alike.error, alike.first,
        np.ones_like(alike.label), alike.split,
    )  # fmt: skip
    return alike.take(some), variables.take(some), kind[some]


def observe(
    transients: Curves,
    relative: NDArray[np.float64],
    reference: NDArray[np.float64],
    survey: str,
    draw: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Difference flux and error (nJy) of variables under a transient's sky, and what has 5 sigma.

    Parameters
    ----------
    relative : (point,) f8
        Flux minus reference, of a star of mean flux 1.
    reference : (object,) f8
        Likewise.
    """
    first, owner = transients.first[:-1], np.repeat(np.arange(len(transients)), transients.n)
    own = np.maximum.reduceat(transients.flux.astype(np.float64), first)
    most = np.maximum.reduceat(np.abs(relative), first)
    wanted = own * np.exp(draw.normal(0, 0.3, len(own)))
    scale = np.minimum(wanted / np.maximum(most, 1e-3), 10 ** (-0.4 * (SATURATES[survey] - 31.4)))
    flux = relative * scale[owner]
    sky = sky_error(transients)
    total = np.maximum(flux + (scale * reference)[owner], 0.0)
    camera = SURVEYS[survey]
    error = np.sqrt(sky**2 + total / camera.electrons_per_njy + (camera.floor * total) ** 2)
    flux += draw.normal(0, error)
    found: NDArray[np.bool_] = np.abs(flux) >= DETECTION_SIGMA * error
    return flux.astype(np.float32), error.astype(np.float32), found


def sky_error(transients: Curves) -> NDArray[np.float64]:
    """Errors (point,) f8 without the share that grows with the transient's own flux."""
    error = transients.error.astype(np.float64)
    return np.sqrt(np.maximum(error**2 - (OWN_ERROR * transients.flux) ** 2, (0.3 * error) ** 2))


@njit(cache=True, nogil=True)
def _walk(
    time: NDArray[np.int64],
    first: NDArray[np.int64],
    memory: NDArray[np.float64],
    noise: NDArray[np.float64],
) -> NDArray[np.float64]:
    """A damped random walk (point,) of deviation 1 and `memory` (object,) days."""
    result = np.empty(len(time))
    for i in range(len(first) - 1):
        last = 0.0
        for k in range(first[i], first[i + 1]):
            kept = 0.0
            if k > first[i]:
                kept = np.exp(-(time[k] - time[k - 1]) / MICRODAYS / memory[i])
            last = kept * last + np.sqrt(1.0 - kept * kept) * noise[k]
            result[k] = last
    return result
