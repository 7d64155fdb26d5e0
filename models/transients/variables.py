"""Variables of all kinds as they would have alerted at the times of real transients.

The times, bands and errors of two surveys tell their objects apart without any physics. So each
source gets those of one transient, about as bright as that was, minus a reference; what then has 5
sigma alerts.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from broker.cadence import SURVEYS
from broker.grids import MICRODAYS
from broker.records import BANDS
from models.stars import Stars, folded, swings
from models.transients.curves import DETECTION_SIGMA, Curves
from models.transients.light import Floats, Light, log_uniform, owners, reddened

#: No star is brighter than this in a survey's reference: it would saturate.
SATURATES = {"ztf": 12.5, "lsst": 17.0}
#: What the photometry of bright transients adds to the sky's noise, beside their photons: a share
#: of the flux (BTS's; LSST's is that of the camera).
OWN_ERROR = {"ztf": 0.03, "lsst": SURVEYS["lsst"].floor}
#: Kinds of stars (class numbers of CRTS-S), and how many of the stars are of each. By the
#: catalogue's numbers three in a hundred were red giants, which alert more often than any other.
FAMILIES: Mapping[str, tuple[tuple[int, ...], float]] = {
    "pulsating": ((1, 2, 3, 4, 9, 10, 11, 12, 13), 0.27),
    "eclipsing": ((5, 6), 0.27),
    "rotating": ((7,), 0.16),
    "LPV": ((8,), 0.3),
}
LPV = 8
#: g - r of each kind, mean and deviation: RR Lyrae (Sesar et al. 2010), delta Scuti alike; binaries
#: and spotted stars as F to K dwarfs (Covey et al. 2007, AJ 134, 2398); others as these.
COLOUR: Mapping[int, tuple[float, float]] = {
    **dict.fromkeys((1, 2, 3, 4), (0.2, 0.1)),
    5: (0.5, 0.2),
    6: (0.4, 0.3),
    7: (0.8, 0.25),
    8: (1.5, 0.25),
    9: (0.15, 0.1),
}
OTHERS = (0.4, 0.2)
#: r - i of a red giant: V - I of 2 to 5 (Soszynski et al. 2009, AcA 59, 239), by Jordi et al. 2006
#: (A&A 460, 339).
GIANT = (0.7, 2.6)
#: u - g of stars (Ivezic et al. 2007), of giants more; only LSST has u, and no training of ours.
U_G, GIANT_U_G = 1.2, 2.4
DUST = 0.06  #: mean E(B-V), exponentially distributed
#: A star swings by more or less, band from band, than the usual one of its kind: the swing's
#: distance from 1 is multiplied by something between these.
MORE = (0.5, 1.7)
#: The reference is a mean over so many exposures within so many days, any time before.
EXPOSURES, WINDOW = 12, (30.0, 500.0)


def choose(
    stars: Stars,
    among: NDArray[np.int64],
    count: int,
    draw: np.random.Generator,
    candidates: int = 1,
) -> NDArray[np.int64]:
    """Stars (count * candidates,) out of `among`, families in their shares; candidates alike."""
    members = [among[np.isin(stars.kind[among], kinds)] for kinds, _ in FAMILIES.values()]
    share = np.array([s for _, s in FAMILIES.values()]) * [len(these) > 0 for these in members]
    family = np.repeat(draw.choice(len(share), count, p=share / share.sum()), candidates)
    result = np.zeros(len(family), np.int64)
    for k, these in enumerate(members):
        mine = family == k
        if mine.any():
            result[mine] = draw.choice(these, mine.sum())
    return result


def generate(
    times: Curves, draw: np.random.Generator, stars: Stars, star: NDArray[np.int64]
) -> Light:
    """Light of the given star (object,) for each object, in units of its mean flux in r.

    Its reference was taken at other phases; of one that changes slowly, within few cycles.
    """
    owner, count = owners(times), len(times)
    kind, shift = stars.kind[star], draw.random(count)
    swing = 1 + (swings(kind) - 1) * draw.uniform(*MORE, count)[:, None]
    colour = colours(kind, draw)

    def magnitudes(time: NDArray[np.int64], first: NDArray[np.int64]) -> Floats:
        table = stars.phase, stars.magnitude, stars.first
        result: Floats = folded(time, first, *table, star, stars.period, shift)
        return result

    now = magnitudes(times.time, times.first) * swing[owner, times.band]
    window = log_uniform(draw, WINDOW, count)
    begin = draw.uniform(0, 3000, count)
    taken = begin[:, None] + window[:, None] * draw.random((count, EXPOSURES))
    row = np.arange(count + 1) * EXPOSURES
    then = magnitudes(np.rint(taken * MICRODAYS).astype(np.int64).ravel(), row)
    then = then.reshape(count, 1, EXPOSURES) * swing[:, :, None]
    reference = (10 ** (-0.4 * then)).mean(axis=2)  # (object, band)
    level = colour[owner, times.band]
    behind = level * reference[owner, times.band]
    return Light(level * 10 ** (-0.4 * now) - behind, behind)


def colours(kind: NDArray[np.int64], draw: np.random.Generator) -> Floats:
    """Flux (object, band) of stars of these kinds, 1 in r before dust.

    r - i and i - z follow g - r along the stellar locus (Covey et al. 2007), but for giants.
    """
    mean, deviation = np.array([COLOUR.get(k, OTHERS) for k in kind.tolist()]).T
    g_r = draw.normal(mean, deviation)
    giant = kind == LPV
    r_i = np.where(giant, draw.uniform(*GIANT, len(kind)), 0.38 * g_r - 0.03)
    i_z = 0.5 * r_i
    u_g = np.where(giant, GIANT_U_G, U_G)
    magnitude = np.zeros((len(kind), len(BANDS)))
    magnitude[:, :6] = np.stack(
        [g_r + u_g, g_r, 0 * g_r, -r_i, -r_i - i_z, -r_i - i_z - 0.5 * i_z], axis=1
    )
    result: Floats = 10 ** (-0.4 * magnitude) * reddened(draw.exponential(DUST, len(kind)))
    return result


def observe(
    lenders: Curves,
    light: Light,
    survey: str,
    draw: np.random.Generator,
    brighter: tuple[float, float] = (0.0, 0.4),
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Difference flux and error (nJy) of sources under a transient's sky, and what has 5 sigma.

    Parameters
    ----------
    lenders : Curves
        Real transients, each with at least one point.
    light : Light
        At their times.
    survey : str
        Of `broker.cadence.SURVEYS`: whose noise it is.
    draw : numpy.random.Generator
    brighter : (float, float)
        Mean and deviation of the natural logarithm of the source's greatest change over the
        transient's greatest flux.
    """
    first, owner = lenders.first[:-1], owners(lenders)
    own = np.maximum.reduceat(lenders.flux.astype(np.float64), first)
    most = np.maximum.reduceat(np.abs(light.change), first)
    wanted = own * np.exp(draw.normal(*brighter, len(own)))
    saturates = 10 ** (-0.4 * (SATURATES[survey] - 31.4))
    behind = np.maximum.reduceat(light.behind, first)
    scale = np.minimum(wanted / np.maximum(most, 1e-9), saturates / np.maximum(behind, 1e-3))
    flux = light.change * scale[owner]
    sky = sky_error(lenders, survey)
    total = np.maximum(flux + scale[owner] * light.behind, 0.0)
    camera = SURVEYS[survey]
    error = np.sqrt(sky**2 + total / camera.electrons_per_njy + (camera.floor * total) ** 2)
    flux += draw.normal(0, error)
    found: NDArray[np.bool_] = np.abs(flux) >= DETECTION_SIGMA * error
    return flux.astype(np.float32), error.astype(np.float32), found


def sky_error(transients: Curves, survey: str) -> Floats:
    """Errors (point,) f8 without the share that grows with the transient's own flux."""
    error, flux = transients.error.astype(np.float64), transients.flux.astype(np.float64)
    left: Floats = np.sqrt(np.maximum(error**2 - own_error(survey, flux) ** 2, (0.3 * error) ** 2))
    return left


def own_error(survey: str, flux: Floats) -> Floats:
    """Error (point,) f8, nJy, that a transient's own light of so much flux (point,) brings."""
    photons = np.maximum(flux, 0.0) / SURVEYS[survey].electrons_per_njy
    result: Floats = np.sqrt(photons + (OWN_ERROR[survey] * flux) ** 2)
    return result
