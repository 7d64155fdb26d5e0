"""ZTF: one container per alert, magnitudes with a sign, times in UTC at the start of an exposure.

Sources: the alert packet's own documentation (zwickytransientfacility.github.io/ztf-avro-alert),
Masci et al. 2019 (PASP 131, 018003), and Patterson et al. 2019 (PASP 131, 018001).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.avro import Rows
from broker.avro_table import Table
from broker.records import ALERT, BAD_FLUX, CONTEXT_ROW, DETECTION, FORCED, LIMIT, SPAN, SURVEYS
from broker.surveys.survey import (
    BAD_TIME,
    GOOD,
    LN_10,
    MISSING_FIELD,
    NOT_PUBLIC,
    UNKNOWN_BAND,
    Alerts,
    Survey,
    ab_flux,
    alerts_of,
    behind_alert,
    blank,
    finite,
    for_kernel,
    good_time,
    is_named,
    mark_own,
    read_alerts,
    room_for,
    tai,
)

#: From `jd`, the start, to the middle of the usual 30 s. `exptime` stands only in the alert, not in
#: its history, so it cannot decide: the same exposure would get two times.
HALF_EXPOSURE = 15 / 86400
JD_OF_MJD = 2400000.5
#: A reference source this near (pixels) is the object itself (Fink and ALeRCE use the same).
SAME_SOURCE_PIXELS = 1.4
#: fp_hists gives `distnr` in arcsec, unlike the alert and its history; 1.01 arcsec to the pixel.
SAME_SOURCE_ARCSEC = 1.4 * 1.01
#: Nearer than this (arcsec) to a known body's predicted place, an alert is that body.
SOLAR_SYSTEM_ARCSEC = 5.0
SENTINEL = -99.0  #: -99, -999, -99999: at or below, a number is none
NO_FLUX = -99999.0  #: of forced photometry, where -999 may well be a flux
ERROR_OF_MAGNITUDE = 0.4 * LN_10  #: relative error of a flux per magnitude

SOURCE = np.dtype(
    [
        ("id", "i8"),
        ("jd", "f8"),
        ("pid", "i8"),
        ("fid", "i4"),
        ("programid", "i4"),
        ("magpsf", "f4"),
        ("sigmapsf", "f4"),
        ("diffmaglim", "f4"),
        ("magnr", "f4"),
        ("sigmagnr", "f4"),
        ("distnr", "f4"),
        ("rb", "f4"),
        ("isdiffpos", "S4"),
    ]
)
FORCED_SOURCE = np.dtype(
    [
        ("jd", "f8"),
        ("pid", "i8"),
        ("procstatus", SPAN),
        ("fid", "i4"),
        ("programid", "i4"),
        ("forcediffimflux", "f4"),
        ("forcediffimfluxunc", "f4"),
        ("magzpsci", "f4"),
        ("magnr", "f4"),
        ("sigmagnr", "f4"),
        ("distnr", "f4"),
    ]
)
_KERNEL_SOURCE = for_kernel(SOURCE, "isdiffpos")
TOP = np.dtype([("alert", ALERT), ("own", SOURCE)])
_KERNEL_TOP = behind_alert(("own", _KERNEL_SOURCE))
NUMBER = SURVEYS.index("ztf")
_SSDISTNR = (CONTEXT_ROW.names or ()).index("ssdistnr") - 2  # among the context's scalars

_ROW = {name: name for name in SOURCE.names or () if name != "id"} | {"id": "candid"}
_CONTEXT = (
    "rb",
    "drb",
    "distnr",
    "magnr",
    "sgscore1",
    "distpsnr1",
    "ssdistnr",
    "ndethist",
    "ncovhist",
    "jdstarthist",
    "programid",
)
_NEEDS = ("jd", "fid", "pid", "programid", "magpsf", "isdiffpos")


@njit(cache=True, nogil=True)
def _total(point: Any, magnr: float, sigmagnr: float) -> None:
    """Total flux: the reference source's plus the difference; their errors are independent."""
    reference = ab_flux(magnr, 31.4)
    point.total_flux_njy = finite(reference + point.flux_njy)
    if sigmagnr >= 0:
        error = reference * ERROR_OF_MAGNITUDE * sigmagnr
        point.total_flux_err_njy = finite(
            math.sqrt(error * error + point.flux_err_njy * point.flux_err_njy)
        )


@njit(cache=True, nogil=True)
def _exposure(point: Any, row: Any) -> None:
    point.mjd_tai = tai(row.jd - JD_OF_MJD + HALF_EXPOSURE)
    point.exposure = row.pid
    point.exposure_part = row.fid
    point.band = row.fid if 1 <= row.fid <= 3 else UNKNOWN_BAND


@njit(cache=True, nogil=True)
def _source(point: Any, row: Any, own: bool) -> bool:
    """Fill a point from an alert's own row or one of its history; False if it says nothing."""
    blank(point)
    _exposure(point, row)
    if not good_time(point.mjd_tai):
        return False
    if not own and (row.id <= 0 or not row.magpsf > 0):
        point.kind = LIMIT
        point.flux_err_njy = finite(ab_flux(row.diffmaglim, 31.4) / 5)
        return bool(row.diffmaglim > 0)
    point.kind = DETECTION
    point.id = row.id
    if row.rb >= 0:
        point.reliability = row.rb
    sign = np.nan
    if row.isdiffpos[1] == 0:
        if row.isdiffpos[0] == 116 or row.isdiffpos[0] == 49:  # t, 1
            sign = 1.0
        elif row.isdiffpos[0] == 102 or row.isdiffpos[0] == 48:  # f, 0
            sign = -1.0
    if row.magpsf > 0:
        point.flux_njy = finite(sign * ab_flux(row.magpsf, 31.4))
    if row.sigmapsf >= 0:
        point.flux_err_njy = finite(abs(point.flux_njy) * ERROR_OF_MAGNITUDE * row.sigmapsf)
    if 0 <= row.distnr < SAME_SOURCE_PIXELS and row.magnr > 0:
        _total(point, row.magnr, row.sigmagnr)
    return True


@njit(cache=True, nogil=True)
def _forced(point: Any, row: Any, heap: NDArray[np.uint8]) -> bool:
    """Fill a point from a row of fp_hists; False if it says nothing."""
    blank(point)
    _exposure(point, row)
    known = row.forcediffimflux != NO_FLUX and not np.isnan(row.forcediffimflux)
    if not (good_time(point.mjd_tai) and known and row.magzpsci > 0):
        return False
    point.kind = FORCED
    njy_per_dn = ab_flux(row.magzpsci, 31.4)
    point.flux_njy = finite(row.forcediffimflux * njy_per_dn)
    if row.forcediffimfluxunc >= 0:
        point.flux_err_njy = finite(row.forcediffimfluxunc * njy_per_dn)
    if 0 <= row.distnr < SAME_SOURCE_ARCSEC and row.magnr > 0:
        _total(point, row.magnr, row.sigmagnr)
    clean = row.procstatus.length == 1 and heap[row.procstatus.start] == 48  # "0"
    if not clean:
        point.flags = BAD_FLUX
    return True


@njit(cache=True, nogil=True)
def _public(row: Any) -> bool:
    """Whether a row is of a programme that anybody may see."""
    return bool(row.programid != 2 and row.programid != 3)


@njit(cache=True, nogil=True)
def _clean(alert: Any) -> None:
    """Take the sentinels out of an alert's context, and see whether it is a known body."""
    for i in range(len(alert.days)):
        if alert.days[i] <= SENTINEL:
            alert.days[i] = np.nan
    for i in range(len(alert.scalars)):
        if alert.scalars[i] <= SENTINEL:
            alert.scalars[i] = np.nan
    alert.solar_system = 0 <= alert.scalars[_SSDISTNR] < SOLAR_SYSTEM_ARCSEC


@njit(cache=True, nogil=True)
def _fill(
    top: NDArray[np.void],
    history: NDArray[np.void],
    first_history: NDArray[np.int64],
    forced: NDArray[np.void],
    first_forced: NDArray[np.int64],
    heap: NDArray[np.uint8],
    public_only: bool,
    alerts: NDArray[np.void],
    points: NDArray[np.void],
    first: NDArray[np.int64],
    fault: NDArray[np.uint8],
) -> None:
    k = 0
    for i in range(len(top)):
        alert, own = alerts[i], top[i].own
        alert.survey = NUMBER
        _clean(alert)
        fault[i] = GOOD
        if public_only and not _public(own):
            fault[i] = NOT_PUBLIC
        elif not is_named(alert):
            fault[i] = MISSING_FIELD
        elif not _source(points[k], own, True):
            fault[i] = BAD_TIME
        else:
            mark_own(alert, points[k])
            k += 1
            for j in range(first_history[i], first_history[i + 1]):
                if _public(history[j]) or not public_only:
                    k += _source(points[k], history[j], False)
            for j in range(first_forced[i], first_forced[i + 1]):
                if _public(forced[j]) or not public_only:
                    k += _forced(points[k], forced[j], heap)
        first[i + 1] = k


def _read(rows: Rows, public_only: bool) -> Alerts:
    top, history, forced = (rows.rows[t] for t in ("", "prv_candidates", "fp_hists"))
    alerts, points = alerts_of(top), room_for(top, history, forced)
    first, fault = np.zeros(len(top) + 1, np.int64), np.empty(len(top), np.uint8)
    _fill(
        top.view(_KERNEL_TOP),
        history.view(_KERNEL_SOURCE),
        rows.first["prv_candidates"],
        forced,
        rows.first["fp_hists"],
        rows.heap,
        public_only,
        alerts,
        points,
        first,
        fault,
    )
    return read_alerts(alerts, points, first, fault)


ZTF = Survey(
    "ztf",
    {
        "": Table(
            TOP,
            {
                "alert.object": "objectId",
                "alert.alert_id": "candid",
                "alert.source_id": "candidate.candid",
                "alert.ra": "candidate.ra",
                "alert.dec": "candidate.dec",
            }
            | {f"alert.context.{name}": f"candidate.{name}" for name in _CONTEXT}
            | {f"own.{name}": f"candidate.{path}" for name, path in _ROW.items()},
        ),
        "prv_candidates": Table(SOURCE, _ROW),
        "fp_hists": Table(FORCED_SOURCE, {n: n for n in FORCED_SOURCE.names or ()}),
    },
    {
        "": ("alert.object", "alert.alert_id", *(f"own.{name}" for name in _NEEDS)),
        "prv_candidates": (*_NEEDS, "id", "diffmaglim"),
        "fp_hists": ("jd", "fid", "pid", "programid", "forcediffimflux", "magzpsci"),
    },
    _read,
)
