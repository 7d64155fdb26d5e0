"""The course of a transient as known at an alert: smoothed flux about its peak, and some numbers.

All comes from the points up to the alert: no redshift, no time of peak from a later fit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.asinh import magnitude
from broker.grids import MICRODAYS
from broker.smoothing import smooth

#: Where the peak is looked for, days since the first detection; and the days about the peak on
#: which the smoothed flux is given, the same for every band.
SEARCH = np.array(
    [0, 2, 4, 6, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40, 46, 52, 60, 70, 80, 95, 115, 140.0]
)
NODES = np.array(
    [
        *(-45, -30, -22, -17, -13, -10, -7, -5, -3),
        *(0, 3, 5, 7, 10, 13, 16, 20, 25, 30, 36, 42, 50, 60, 75, 95, 120.0),
    ]
)
#: Places in NODES of 5 days before the peak, the peak, and 16 and 30 days after it.
_EARLY, _PEAK, _LATER, _LATE = 7, 9, 15, 18

#: A point that many errors from 0 is a detection, of either sign; one of _SURE counts as bright.
DETECTION_SIGMA, _SURE = 5.0, 3.0
#: Scale of the smoothing kernel (days), and what no error is below: shares of the point's own flux
#: and of the brightest, since no survey calibrates better.
_SCALE, _OWN, _BRIGHTEST = 20.0, 0.02, 0.005
#: Points earlier than this before the first detection say nothing more; as long ago counts a last
#: limit where there is none.
_BEFORE = 60 * MICRODAYS
#: A node this much after the latest point is still told by it.
_BEYOND = 2.0

#: Numbers of the object. Days and counts as log(1 + x); magnitudes AB.
OBJECT_NUMBERS = (
    "log_days_since_first",
    "log_n",
    "log_n_detections",
    "log_days_to_peak",
    "log_days_since_peak",
    "peak_magnitude",
    "log_peak_over_error",
    "log_days_from_limit",
    "negative_share",
    "log_surprise",
)
#: Numbers of each band: asinh magnitudes, changes of them per days, days divided by 20; colours
#: are with the next redder band, 0 in the last.
BAND_NUMBERS = (
    "log_n",
    "log_n_detections",
    "brightest_magnitude",
    "brightest_days_after_peak",
    "magnitude_at_peak",
    "magnitude_now",
    "slope_now",
    "sign_now",
    "centre_days",
    "spread_days",
    "rise_5_days",
    "fall_16_days",
    "fall_30_days",
    "colour_early",
    "colour_at_peak",
    "colour_later",
    "colour_late",
    "colour_now",
)
_O, _B = len(OBJECT_NUMBERS), len(BAND_NUMBERS)


def names(bands: Sequence[str]) -> tuple[str, ...]:
    """Names of all numbers, in order: the object's, then each band's.

    >>> names("gr")[9:12]
    ('log_surprise', 'g_log_n', 'g_log_n_detections')
    """
    return OBJECT_NUMBERS + tuple(f"{band}_{name}" for band in bands for name in BAND_NUMBERS)


@njit(cache=True, nogil=True)
def how_many(bands: int) -> int:
    """How many numbers `describe` gives of so many bands."""
    return _O + bands * _B


@njit(cache=True, nogil=True)
def describe(
    time: NDArray[np.int64],
    band: NDArray[np.uint8],
    flux: NDArray[np.float32],
    error: NDArray[np.float32],
    slot: NDArray[np.int64],
    soft: NDArray[np.float64],
    course: NDArray[np.float32],
    numbers: NDArray[np.float32],
) -> None:
    """Compute course and numbers of one object from its points up to the alert.

    Parameters
    ----------
    time : (point,) i8
        Microdays, in order.
    band : (point,) u1
        Index into `broker.records.BANDS`.
    flux, error : (point,) f4
        Difference flux and its error above 0; one unit for all. A limit comes as 0 and its fifth.
    slot : (8,) i8
        Which of the network's bands each of BANDS is; -1: none, its points are left out.
    soft : (slot,) f8
        Softening fluxes of the network's bands, same unit (`broker.asinh`).
    course : (slot, node, 2) f4
        Filled in place: mean as a share of the peak, deviation as a share of the brightest point.
    numbers : (OBJECT_NUMBERS + slot * BAND_NUMBERS,) f4
        Filled in place; zeros, as the course, if no point is in one of the bands.
    """
    course[:] = 0.0
    numbers[:] = 0.0
    bands = len(soft)
    first, limit, negative, detections, used = -1, -1, 0, 0, 0
    brightest = faintest_error = 0.0
    for i in range(len(time)):
        if slot[band[i]] < 0:
            continue
        if abs(flux[i]) >= DETECTION_SIGMA * error[i]:
            detections += 1
            negative += flux[i] < 0.0
            if first < 0:
                first = time[i]
        elif first < 0:
            limit = time[i]
        if abs(flux[i]) >= _SURE * error[i]:
            brightest = max(brightest, abs(flux[i]))
        if used == 0 or error[i] < faintest_error:
            faintest_error = error[i]
        used += 1
        now = time[i]
    if used == 0:
        return
    if first < 0:
        first = now
    brightest = max(brightest, faintest_error)

    days, values, errors = np.empty(used), np.empty(used), np.empty(used)
    begin = np.zeros(bands + 1, np.int64)
    k = 0
    for b in range(bands):
        for i in range(len(time)):
            if slot[band[i]] == b and time[i] >= first - _BEFORE:
                days[k] = (time[i] - first) / MICRODAYS
                values[k] = flux[i]
                floor = (_OWN * flux[i]) ** 2 + (_BRIGHTEST * brightest) ** 2
                errors[k] = np.sqrt(error[i] ** 2 + floor)
                k += 1
        begin[b + 1] = k
    end = (now - first) / MICRODAYS

    peak = _find_peak(days, values, errors, begin, brightest, end)
    nodes = NODES + peak
    mean, deviation = np.empty((bands, len(nodes))), np.empty((bands, len(nodes)))
    top, surprise = 0.3 * brightest, 0.0
    for b in range(bands):
        part = slice(begin[b], begin[b + 1])
        surprise += smooth(
            days[part], values[part], errors[part], nodes, _SCALE, brightest, mean[b], deviation[b]
        )
        for n in range(len(nodes)):
            if nodes[n] <= end + _BEYOND:
                top = max(top, mean[b, n])
    course[:, :, 0] = mean / top
    course[:, :, 1] = deviation / brightest

    numbers[0] = np.log1p(end)
    numbers[1] = np.log1p(used)
    numbers[2] = np.log1p(detections)
    numbers[3] = np.log1p(peak)
    numbers[4] = np.log1p(end - peak)
    numbers[5] = magnitude(top, soft[0])
    numbers[6] = np.log(top / faintest_error)
    before = first - limit if limit >= 0 else _BEFORE
    numbers[7] = np.log1p(min(before, _BEFORE) / MICRODAYS)
    numbers[8] = negative / max(detections, 1)
    numbers[9] = np.log1p(surprise / used)
    for b in range(bands):
        part = slice(begin[b], begin[b + 1])
        own = numbers[_O + b * _B : _O + (b + 1) * _B]
        _of_band(days[part], values[part], errors[part], nodes, mean[b], soft[b], end, own)
        _slope(days[part], values[part], errors[part], brightest, soft[b], end, own)
    for b in range(bands - 1):
        own = numbers[_O + b * _B : _O + (b + 1) * _B]
        for n, place in ((13, _EARLY), (14, _PEAK), (15, _LATER), (16, _LATE)):
            if nodes[place] <= end + _BEYOND:
                own[n] = magnitude(mean[b, place], soft[b]) - magnitude(
                    mean[b + 1, place], soft[b + 1]
                )
        own[17] = own[5] - numbers[_O + (b + 1) * _B + 5]


@njit(cache=True, nogil=True)
def _find_peak(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    begin: NDArray[np.int64],
    brightest: float,
    end: float,
) -> float:
    """Days from the first detection to the greatest sum of the bands' smoothed fluxes, so far."""
    known = 1
    while known < len(SEARCH) and SEARCH[known] <= end + _BEYOND:
        known += 1
    total, mean, deviation = np.zeros(known), np.empty(known), np.empty(known)
    for b in range(len(begin) - 1):
        part = slice(begin[b], begin[b + 1])
        smooth(
            days[part],
            values[part],
            errors[part],
            SEARCH[:known],
            _SCALE,
            brightest,
            mean,
            deviation,
        )
        total += mean
    return min(float(SEARCH[np.argmax(total)]), end)


@njit(cache=True, nogil=True)
def _of_band(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    nodes: NDArray[np.float64],
    mean: NDArray[np.float64],
    soft: float,
    end: float,
    own: NDArray[np.float32],
) -> None:
    """Fill a band's numbers 0 to 4 and 8 to 12."""
    detections = 0
    weight = first_moment = second_moment = 0.0
    for i in range(len(days)):
        detections += abs(values[i]) >= DETECTION_SIGMA * errors[i]
        if values[i] > _SURE * errors[i]:
            weight += values[i]
            first_moment += values[i] * days[i]
            second_moment += values[i] * days[i] ** 2
    own[0] = np.log1p(len(days))
    own[1] = np.log1p(detections)
    best = 0
    for n in range(len(nodes)):
        if nodes[n] <= end + _BEYOND and mean[n] > mean[best]:
            best = n
    at_peak = magnitude(mean[_PEAK], soft)
    own[2] = magnitude(mean[best], soft)
    own[3] = NODES[best] / 20.0
    own[4] = at_peak
    if weight > 0.0:
        centre = first_moment / weight
        own[8] = centre / 20.0
        own[9] = np.sqrt(max(second_moment / weight - centre * centre, 0.0)) / 20.0
    own[10] = magnitude(mean[_EARLY], soft) - at_peak
    if nodes[_LATER] <= end + _BEYOND:
        own[11] = magnitude(mean[_LATER], soft) - at_peak
    if nodes[_LATE] <= end + _BEYOND:
        own[12] = magnitude(mean[_LATE], soft) - at_peak


@njit(cache=True, nogil=True)
def _slope(
    days: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    brightest: float,
    soft: float,
    end: float,
    own: NDArray[np.float32],
) -> None:
    """Fill a band's numbers 5 to 7: where it stands, where it goes, the latest point's sign."""
    mean, deviation = np.empty(2), np.empty(2)
    recent = np.array([end - 3.0, end])
    smooth(days, values, errors, recent, _SCALE, brightest, mean, deviation)
    own[5] = magnitude(mean[1], soft)
    own[6] = own[5] - magnitude(mean[0], soft)
    if len(days):
        own[7] = np.sign(values[-1])


@njit(cache=True, nogil=True)
def describe_many(
    time: NDArray[np.int64],
    band: NDArray[np.uint8],
    flux: NDArray[np.float32],
    error: NDArray[np.float32],
    first: NDArray[np.int64],
    slot: NDArray[np.int64],
    soft: NDArray[np.float64],
    course: NDArray[np.float32],
    numbers: NDArray[np.float32],
) -> None:
    """`describe` for points first[i]:first[i + 1] of each object, one row of the outputs each."""
    for i in range(len(first) - 1):
        part = slice(first[i], first[i + 1])
        describe(time[part], band[part], flux[part], error[part], slot, soft, course[i], numbers[i])
