"""Catalina's stars as another survey's alerts would tell of them: its nights, bands, noise, and
only what differs from the reference.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from broker import cadence, imaging, runs
from broker.asinh import POGSON, ZERO_POINT
from broker.grids import MICRODAYS
from broker.sky import njy
from models import catalogue
from models.catalogue import SEVEN, Catalogue
from models.curve_files import CurveFile
from models.stars import Stars, folded, reference_flux, swings

#: Areas of the sky, each with nights of its own; a stream that has been up for so many nights. Of
#: twenty areas a last layer learned the nights: after 50 points of LSST's others were called worse.
AREAS, NIGHTS = 200, 900
_START_MJD = 59_000.0
#: Points of one star at most.
MOST = 600
#: Stars at a time.
_PIECE = 500


def alike(stars: Stars, which: NDArray[np.int64], survey: str, seed: int) -> CurveFile:
    """Light curves of some stars as alerts of another survey give them, all bands.

    A star is as bright as it was for Catalina (for LSST as much fainter as LSST is deeper) and
    swings in each band as its kind does. What differs from the reference by 5 sigma alerts, and a
    light curve is made of what alerts; LSST's forced photometry adds all else from the first alert
    on. The measurement is reference plus difference, as in the stream.

    Parameters
    ----------
    stars : Stars
    which : (picked,) i8
        Stars to be seen; those of which nothing alerts have no points.
    survey : str
        Of `broker.cadence.SURVEYS`.
    seed : int
        The same seed gives the same curves.
    """
    facts = cadence.SURVEYS[survey]
    draw = np.random.default_rng([seed, list(cadence.SURVEYS).index(survey)])
    exposures = cadence.observe(facts, AREAS, NIGHTS, _START_MJD, 1, draw)
    exposures = exposures[np.argsort(exposures["area"], kind="stable")]
    first = np.searchsorted(exposures["area"], np.arange(AREAS + 1))
    area = draw.integers(0, AREAS, len(which))
    parts = [
        _seen(facts, exposures, first, area[some], stars, which[some], draw)
        for some in np.array_split(np.arange(len(which)), max(len(which) // _PIECE, 1))
    ]
    mjd, band, magnitude, error, n = (np.concatenate(column) for column in zip(*parts, strict=True))
    off = np.concatenate([[0], np.cumsum(n)])
    points = (mjd, magnitude, False, error, band, off)
    nowhere = np.full((len(which), 2), np.nan)
    known = (stars.ids[which], stars.kind[which], nowhere)
    return CurveFile(Path(f"{survey}-like"), *points, *known)


def bands(file: CurveFile, most: int, seed: int) -> Catalogue:
    """Light curves of single bands, of two points and more: at most so many, by chance."""
    label = catalogue.known(file, "crts-south", SEVEN)
    whole = catalogue.together([catalogue.of(file.band(b), label) for b in np.unique(file.b)])
    some = np.random.default_rng(seed).permutation(np.flatnonzero(whole.n >= 2))[:most]
    return whole.cut(some, whole.n[some])


def _seen(
    survey: cadence.Survey,
    exposures: NDArray[np.void],
    first: NDArray[np.int64],
    area: NDArray[np.int64],
    stars: Stars,
    which: NDArray[np.int64],
    draw: np.random.Generator,
) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Dates, bands, magnitudes and errors of the points of some stars; points of each star."""
    row, begin = runs.picked(first, area)
    owner = np.repeat(np.arange(len(which)), np.diff(begin))
    shot = exposures[row]
    band = shot["band"]
    change = folded(
        np.rint(shot["mjd_tai"] * MICRODAYS).astype(np.int64), begin,
        stars.phase, stars.magnitude, stars.first, which, stars.period, draw.random(len(which)),
    )  # fmt: skip
    swing = swings(stars.kind[which])
    mean = njy(stars.mean[which] + survey.fainter)
    total = mean[owner] * np.exp(-swing[owner, band] * change / POGSON)
    # A trimmed mean of nights: in first order it swings with the band as the star does.
    relative = reference_flux(stars.magnitude, stars.first, which)
    reference = mean[:, None] * relative[:, None] ** swing
    error = imaging.noise(survey, total, shot["limit"])
    difference = total - reference[owner, band] + draw.normal(0, error)
    found = np.abs(difference) >= imaging.DETECTION_SIGMA * error
    if survey.name == "lsst":
        before = np.concatenate([[0], np.cumsum(found)])
        found = before[1:] > before[begin[owner]]
    measured = reference[owner, band] + difference
    found &= measured > 0
    order = np.concatenate([[0], np.cumsum(found)])
    found &= order[1:] - order[begin[owner]] <= MOST
    error = POGSON * error[found] / measured[found]
    magnitude = ZERO_POINT - POGSON * np.log(measured[found])
    n = np.bincount(owner[found], minlength=len(which))
    return (
        shot["mjd_tai"][found],
        band[found],
        magnitude.astype(np.float32),
        error.astype(np.float32),
        n,
    )
