"""LSST: nJy and TAI already, so little to convert; versions 7.0 to 11.1 differ in what they carry.

Source: the alert packet schemas (github.com/lsst/alert_packet) and what real packets do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.avro import Rows
from broker.avro_table import Table
from broker.records import (
    ALERT,
    BAD_FLUX,
    BAD_POSITION,
    DETECTION,
    FORCED,
    LIMIT,
    SURVEYS,
    WITHDRAWN,
)
from broker.surveys.survey import (
    BAD_TIME,
    GOOD,
    MISSING_FIELD,
    UNIX_MJD,
    Alerts,
    Survey,
    alerts_of,
    band_number,
    behind_alert,
    blank,
    finite,
    for_kernel,
    good_time,
    is_named,
    mark_own,
    name_by_number,
    read_alerts,
    room_for,
    tai,
)

#: A row of any table: a source, a forced source, or (before 8.0) a limit.
ROW = np.dtype(
    [
        ("id", "i8"),
        ("visit", "i8"),
        ("mjd", "f8"),
        ("processed", "f8"),
        ("processed_us", "i8"),
        ("withdrawn", "f8"),
        ("detector", "i4"),
        ("flux", "f4"),
        ("flux_err", "f4"),
        ("total", "f4"),
        ("total_err", "f4"),
        ("reliability", "f4"),
        ("bad_flux", "u1"),
        ("bad_position", "u1"),
        ("", "V6"),
        ("band", "S8"),
        ("", "V8"),  # to 96 bytes, as rows of a multiple of 32 begin from their default faster
    ]
)
_KERNEL_ROW = for_kernel(ROW, "band")
#: The places that name the object: of the sky first, then of the solar system. 0 is never an id.
_OBJECTS = ("diaSource.diaObjectId", "diaObject.diaObjectId")
_BODIES = ("diaSource.ssObjectId", "ssSource.ssObjectId", "ssObject.ssObjectId")
_IDS = {path.replace(".", "_"): path for path in _OBJECTS + _BODIES}
_TOP: list[Any] = [("alert", ALERT), ("own", ROW), *((name, "i8") for name in _IDS)]
TOP = np.dtype(_TOP)
_KERNEL_TOP = behind_alert(
    ("own", _KERNEL_ROW), ("objects", "i8", len(_OBJECTS)), ("bodies", "i8", len(_BODIES))
)
NUMBER = SURVEYS.index("lsst")

_FORCED_ROW = {
    "id": "diaForcedSourceId",
    "visit": "visit",
    "mjd": "midpointMjdTai",
    "processed": "timeProcessedMjdTai",
    "processed_us": "time_processed",
    "withdrawn": "timeWithdrawnMjdTai",
    "detector": "detector",
    "flux": "psfFlux",
    "flux_err": "psfFluxErr",
    "total": "scienceFlux",
    "total_err": "scienceFluxErr",
    "band": "band",
}
_SOURCE_ROW = _FORCED_ROW | {
    "id": "diaSourceId",
    "reliability": "reliability",
    "bad_flux": "psfFlux_flag",
    "bad_position": "centroid_flag",
}
_LIMIT_ROW = {"mjd": "midpointMjdTai", "flux_err": "diaNoise", "band": "band"}
_CONTEXT = ("reliability", "extendedness", "isDipole", "templateFlux", "templateFluxErr")
_OBJECT_CONTEXT = ("nDiaSources", "firstDiaSourceMjdTai")
_NEEDS = ("id", "visit", "detector", "mjd", "band", "flux", "flux_err")


@njit(cache=True, nogil=True)
def _fill_point(point: Any, row: Any, kind: int) -> bool:
    blank(point)
    if not good_time(row.mjd):
        return False
    point.kind = kind
    point.mjd_tai = row.mjd
    point.band = band_number(row.band[0], row.band[1])
    point.flux_err_njy = finite(row.flux_err)
    if kind == LIMIT:
        return bool(row.flux_err > 0)
    point.id = row.id
    point.exposure = row.visit
    point.exposure_part = row.detector
    point.processed_mjd_tai = row.processed
    if row.processed_us > 0:  # 8.0 alone: microseconds of Unix time
        point.processed_mjd_tai = tai(UNIX_MJD + row.processed_us / 86400e6)
    point.flux_njy = finite(row.flux)
    point.total_flux_njy = finite(row.total)
    point.total_flux_err_njy = finite(row.total_err)
    point.reliability = row.reliability
    if row.bad_flux:
        point.flags |= BAD_FLUX
    if row.bad_position:
        point.flags |= BAD_POSITION
    if not np.isnan(row.withdrawn):
        point.flags |= WITHDRAWN
    return True


@njit(cache=True, nogil=True)
def _name(alert: Any, top: Any) -> None:
    """Name the object: of the sky if there is one, else of the solar system."""
    for place in range(len(_OBJECTS)):
        if top.objects[place] != 0:
            name_by_number(alert, top.objects[place])
            return
    for place in range(len(_BODIES)):
        if top.bodies[place] != 0:
            name_by_number(alert, top.bodies[place])
            alert.solar_system = 1
            return


@njit(cache=True, nogil=True)
def _fill(
    top: NDArray[np.void],
    sources: NDArray[np.void],
    first_source: NDArray[np.int64],
    forced: NDArray[np.void],
    first_forced: NDArray[np.int64],
    limits: NDArray[np.void],
    first_limit: NDArray[np.int64],
    alerts: NDArray[np.void],
    points: NDArray[np.void],
    first: NDArray[np.int64],
    fault: NDArray[np.uint8],
) -> None:
    k = 0
    for i in range(len(top)):
        alert = alerts[i]
        alert.survey = NUMBER
        if alert.alert_id == 0:
            alert.alert_id = alert.source_id
        _name(alert, top[i])
        fault[i] = GOOD
        if not is_named(alert):
            fault[i] = MISSING_FIELD
        elif not _fill_point(points[k], top[i].own, DETECTION):
            fault[i] = BAD_TIME
        else:
            mark_own(alert, points[k])
            k += 1
            for j in range(first_source[i], first_source[i + 1]):
                k += _fill_point(points[k], sources[j], DETECTION)
            for j in range(first_forced[i], first_forced[i + 1]):
                k += _fill_point(points[k], forced[j], FORCED)
            for j in range(first_limit[i], first_limit[i + 1]):
                k += _fill_point(points[k], limits[j], LIMIT)
        first[i + 1] = k


def _read(rows: Rows, public_only: bool) -> Alerts:
    del public_only  # every alert of LSST's stream is for its brokers to use
    names = ("prvDiaSources", "prvDiaForcedSources", "prvDiaNondetectionLimits")
    top, (sources, forced, limits) = rows.rows[""], (rows.rows[name] for name in names)
    alerts, points = alerts_of(top), room_for(top, sources, forced, limits)
    first, fault = np.zeros(len(top) + 1, np.int64), np.empty(len(top), np.uint8)
    _fill(
        top.view(_KERNEL_TOP),
        sources.view(_KERNEL_ROW),
        rows.first[names[0]],
        forced.view(_KERNEL_ROW),
        rows.first[names[1]],
        limits.view(_KERNEL_ROW),
        rows.first[names[2]],
        alerts,
        points,
        first,
        fault,
    )
    return read_alerts(alerts, points, first, fault)


LSST = Survey(
    "lsst",
    {
        "": Table(
            TOP,
            {
                "alert.alert_id": "alertId",  # before 8.0; then the source's id serves
                "alert.source_id": "diaSource.diaSourceId",
                "alert.ra": "diaSource.ra",
                "alert.dec": "diaSource.dec",
            }
            | {f"alert.context.{name}": f"diaSource.{name}" for name in _CONTEXT}
            | {f"alert.context.{name}": f"diaObject.{name}" for name in _OBJECT_CONTEXT}
            | _IDS
            | {f"own.{name}": f"diaSource.{path}" for name, path in _SOURCE_ROW.items()},
        ),
        "prvDiaSources": Table(ROW, _SOURCE_ROW),
        "prvDiaForcedSources": Table(ROW, _FORCED_ROW),
        "prvDiaNondetectionLimits": Table(ROW, _LIMIT_ROW),
    },
    {
        "": ("alert.source_id", *(f"own.{name}" for name in _NEEDS)),
        "prvDiaSources": _NEEDS,
        "prvDiaForcedSources": _NEEDS,
        "prvDiaNondetectionLimits": ("mjd", "flux_err", "band"),
    },
    _read,
)
