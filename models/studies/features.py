"""The 18 features of light curves that the paper's random forest is given."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from broker.grids import MICRODAYS, TENTH_MMAG
from models.catalogue import Catalogue

#: Mahabal et al. 2017 (arXiv:1709.06257), table VI, without mean, least and greatest magnitude,
#: which it does not use either.
FEATURES = (
    "amplitude",
    "beyond1std",
    "flux_percentile_ratio_mid20",
    "flux_percentile_ratio_mid35",
    "flux_percentile_ratio_mid50",
    "flux_percentile_ratio_mid65",
    "flux_percentile_ratio_mid80",
    "linear_trend",
    "max_slope",
    "median_absolute_deviation",
    "median_buffer_range_percentage",
    "pair_slope_trend",
    "percent_difference_flux_percentile",
    "skew",
    "small_kurtosis",
    "std",
    "stetson_j",
    "stetson_k",
)
_MIDS = np.array([20, 35, 50, 65, 80, 90])  # the last is what the others are shares of
_LOW, _HIGH = 50 - _MIDS / 2, 50 + _MIDS / 2

Floats = NDArray[np.float64]


def measure(curves: Catalogue) -> NDArray[np.float64]:
    """All FEATURES of all curves: (object, 18) f8, finite; half a millisecond each."""
    result = np.zeros((len(curves), len(FEATURES)))
    for i, (a, z) in enumerate(itertools.pairwise(curves.first.tolist())):
        if z - a > 1:
            t = (curves.time[a:z] - curves.time[a]) / MICRODAYS
            result[i] = one(t, curves.magnitude[a:z] / TENTH_MMAG, curves.error[a:z])
    return result


def one(t: Floats, m: Floats, e: Floats) -> list[float]:
    """FEATURES of one curve of at least two points.

    Parameters
    ----------
    t, m, e : (point,) f8
        Days in order, magnitudes, errors (one that is not above 0 counts as 0.1 mag).
    """
    n = len(m)
    sd = float(m.std())
    z = (m - m.mean()) / (sd or 1.0)
    # Flux over the median flux: the paper's are absolute, which tells how bright a star is.
    flux = 10 ** (-0.4 * (m - np.median(m)))
    middle = float(np.median(flux))
    low, high = np.percentile(flux, _LOW), np.percentile(flux, _HIGH)
    widths = high - low
    wide = float(widths[-1])
    dt, step = t - t.mean(), np.diff(t)
    later = step > 0
    slopes = np.abs(np.diff(m)[later] / step[later])
    sigma = np.where(e > 0, e, 0.1)
    residual = np.sqrt(n / (n - 1)) * (m - np.average(m, weights=sigma**-2)) / sigma
    products = residual[:-1] * residual[1:]  # neighbours in time are the pairs (Stetson 1996)
    square = float((residual**2).mean())
    spread = float(dt @ dt)
    return [
        float(m.max() - m.min()) / 2,
        float((np.abs(z) > 1).mean()),
        *(widths[:-1] / (wide or 1.0)).tolist(),
        float(dt @ m) / spread if spread > 0 else 0.0,
        float(slopes.max(initial=0.0)),
        float(np.median(np.abs(flux - middle))),
        float((np.abs(flux - middle) < 0.1 * middle).mean()),
        float((np.diff(flux[-30:]) > 0).mean()),
        wide / middle,
        float((z**3).mean()),
        float((z**4).mean()),
        sd,
        float((np.sign(products) * np.sqrt(np.abs(products))).mean()),
        float(np.abs(residual).mean()) / square**0.5 if square > 0 else 0.0,
    ]
