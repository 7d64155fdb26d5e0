"""Curves of one survey as another would have seen them: bands, brightness, noise and depth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from broker.asinh import softening
from broker.records import BANDS
from models.transients.curves import Curves

#: Relative error of one exposure that no brightness beats, and by how many errors a carried point
#: is seen: what is fainter makes no alert.
OWN_ERROR, SEEN = 0.03, 4.0


def shifted(curves: Curves, by: int, bands: str) -> Curves:
    """The same objects with each band taken for the one `by` places bluer; only `bands` stay.

    Light of an object at redshift z comes in at (1 + z) times its wavelength: r of one at 0.35 is
    g of one nearby, i is r.
    """
    number = curves.band.astype(np.int64) - by
    here = np.isin(number, [BANDS.index(band) for band in bands])
    return replace(curves, band=np.where(here, number, 0).astype(np.uint8)).rows(here)


def seen_by(
    curves: Curves, survey: str, peak: NDArray[np.float64], draw: np.random.Generator
) -> Curves:
    """Each object with its peak at a magnitude, as bright as noise of `survey` lets it be seen.

    Parameters
    ----------
    curves : Curves
        In bands that the survey has.
    survey : str
        Of `broker.asinh.DEPTHS`: a fifth of the depth is the sky's error, a lognormal fifth more
        or less.
    peak : (object,) f8
        AB magnitude that the mean of the three brightest points gets.
    draw : numpy.random.Generator

    Returns
    -------
    Curves
        Points above SEEN errors, their noise added to what they had.
    """
    factor = 10 ** (-0.4 * (peak - 31.4)) / np.maximum(brightest(curves), 1e-3)
    factor = np.repeat(factor, curves.n)
    flux, error = curves.flux * factor, curves.error * factor
    sky = softening(survey)[curves.band] * draw.lognormal(0.2, 0.35, len(flux))
    extra = np.sqrt(np.maximum(sky**2 + (OWN_ERROR * flux) ** 2 - error**2, 0.0))
    flux = flux + extra * draw.normal(size=len(flux))
    error = np.hypot(error, extra)
    changed = replace(curves, flux=flux.astype(np.float32), error=error.astype(np.float32))
    return changed.rows(flux >= SEEN * error)


def brightest(curves: Curves) -> NDArray[np.float64]:
    """Mean (object,) f8 of each object's three largest fluxes; 0 where there is no point."""
    result = np.zeros(len(curves))
    for i in range(len(curves)):
        flux = np.sort(curves.flux[curves.first[i] : curves.first[i + 1]])[-3:]
        if len(flux):
            result[i] = max(flux.mean(), 0.0)
    return result


def worth(curves: Curves, points: int, signal: float) -> NDArray[np.int64]:
    """Objects with at least so many points above 5 errors, one of them above `signal`."""
    ratio = curves.flux / curves.error
    owner = np.repeat(np.arange(len(curves)), curves.n)
    many = np.bincount(owner[ratio > 5], minlength=len(curves)) >= points
    clear = np.bincount(owner[ratio >= signal], minlength=len(curves)) > 0
    return np.flatnonzero(many & clear)
