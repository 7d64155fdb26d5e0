"""Numbers that cost nothing once the curve is in hand, beside its image.

With the image they name CRTS variables better than the image alone (81.8 against 80.1 %).
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.grids import MICRODAYS, TENTH_MMAG

#: Magnitudes in mag, times in days, logarithms natural. sd is the population's; the tails are
#: (95th percentile - median) / sd and (median - 5th percentile) / sd, so bright is the lower one;
#: log_signal is that of sd over the mean error.
SCALARS = (
    "mean_magnitude",
    "log_mean_error",
    "log_sd",
    "log_n",
    "skewness",
    "log_reduced_chi2",
    "log_range",
    "kurtosis",
    "von_neumann",
    "log_span",
    "faint_tail",
    "bright_tail",
    "log_signal",
)

#: Below these a logarithm says nothing: 0.1 mmag, and one second in days.
_LEAST_MAG = 1.0 / TENTH_MMAG
_LEAST_DAYS = 1.0 / 86_400


@njit(cache=True, nogil=True)
def _percentile(ordered: NDArray[np.int32], fraction: float) -> float:
    """Linear between the neighbours, as np.percentile."""
    place = fraction * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return float(ordered[below] + (place - below) * (ordered[above] - ordered[below]))


@njit(cache=True, nogil=True)
def measure(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    error: NDArray[np.float64],
    scalars: NDArray[np.float64],
) -> None:
    """Compute all SCALARS of one curve.

    Parameters
    ----------
    time : (point,) i8
        Microdays, in order; at least one.
    magnitude : (point,) i4
        0.1 mmag.
    error : (point,) f8
        Magnitudes; one that is not above 0 does not enter the mean error and chi2.
    scalars : (13,) f8
        Filled in place, always finite: what fewer than two points cannot say is 0, or a
        logarithm's floor.
    """
    n = len(time)
    total = 0
    for i in range(n):
        total += magnitude[i]
    mean = total / n / TENTH_MMAG
    m2 = m3 = m4 = steps = errors = weights = weighted = squares = 0.0
    with_error = 0
    last = 0.0
    for i in range(n):
        d = magnitude[i] / TENTH_MMAG - mean
        m2 += d * d
        m3 += d * d * d
        m4 += d * d * d * d
        if i > 0:
            steps += (d - last) ** 2
        last = d
        if error[i] > 0.0:
            w = 1.0 / max(error[i], _LEAST_MAG) ** 2
            with_error += 1
            errors += error[i]
            weights += w
            weighted += w * d
            squares += w * d * d
    scalars[:] = 0.0
    sd = np.sqrt(m2 / n)
    ordered = np.sort(magnitude)
    scalars[0] = mean
    scalars[1] = np.log(max(errors / max(with_error, 1), _LEAST_MAG))
    scalars[2] = np.log(max(sd, _LEAST_MAG))
    scalars[3] = np.log(n)
    if with_error > 1:
        chi2 = (squares - weighted * weighted / weights) / (with_error - 1)
        scalars[5] = np.log(max(chi2, 1e-3))
    else:
        scalars[5] = np.log(1e-3)
    scalars[12] = scalars[2] - scalars[1] if with_error > 0 else 0.0
    scalars[6] = np.log(max((ordered[-1] - ordered[0]) / TENTH_MMAG, _LEAST_MAG))
    scalars[9] = np.log(max((time[-1] - time[0]) / MICRODAYS, _LEAST_DAYS))
    if ordered[-1] > ordered[0]:
        median = _percentile(ordered, 0.5)
        scalars[4] = m3 / n / sd**3
        scalars[7] = m4 / n / sd**4 - 3.0
        scalars[8] = steps / (n - 1) / (sd * sd)
        scalars[10] = (_percentile(ordered, 0.95) - median) / TENTH_MMAG / sd
        scalars[11] = (median - _percentile(ordered, 0.05)) / TENTH_MMAG / sd


@njit(cache=True, nogil=True)
def measure_many(
    time: NDArray[np.int64],
    magnitude: NDArray[np.int32],
    error: NDArray[np.float64],
    first: NDArray[np.int64],
) -> NDArray[np.float64]:
    """`measure` for curves first[i]:first[i + 1]; (curve, 13) f8, zeros for one without points."""
    scalars = np.zeros((len(first) - 1, len(SCALARS)))
    for i in range(len(scalars)):
        part = slice(first[i], first[i + 1])
        if first[i + 1] > first[i]:
            measure(time[part], magnitude[part], error[part], scalars[i])
    return scalars
