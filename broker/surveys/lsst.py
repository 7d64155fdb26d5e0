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
    KERNEL_POINT,
    UNIX_MJD,
    Alerts,
    Survey,
    band_number,
    blank,
    finish,
    finite,
    for_kernel,
    good_time,
    no_identity,
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
    ]
)
_KERNEL_ROW = for_kernel(ROW, "band")
#: The places that name the object: of the sky first, then of the solar system. 0 is never an id.
_OBJECTS = ("diaSource.diaObjectId", "diaObject.diaObjectId")
_BODIES = ("diaSource.ssObjectId", "ssSource.ssObjectId", "ssObject.ssObjectId")
_IDS = {path.replace(".", "_"): path for path in _OBJECTS + _BODIES}
_TOP: list[Any] = [("alert", ALERT), ("own", ROW), *((name, "i8") for name in _IDS)]
TOP = np.dtype(_TOP)

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
def _fill(
    own: NDArray[np.void],
    sources: NDArray[np.void],
    first_source: NDArray[np.int64],
    forced: NDArray[np.void],
    first_forced: NDArray[np.int64],
    limits: NDArray[np.void],
    first_limit: NDArray[np.int64],
    points: NDArray[np.void],
    count: NDArray[np.int64],
    fault: NDArray[np.uint8],
) -> None:
    k = 0
    for i in range(len(own)):
        if fault[i] != GOOD:
            continue
        begin = k
        if not _fill_point(points[k], own[i], DETECTION):
            fault[i] = BAD_TIME
            continue
        k += 1
        for j in range(first_source[i], first_source[i + 1]):
            k += _fill_point(points[k], sources[j], DETECTION)
        for j in range(first_forced[i], first_forced[i + 1]):
            k += _fill_point(points[k], forced[j], FORCED)
        for j in range(first_limit[i], first_limit[i + 1]):
            k += _fill_point(points[k], limits[j], LIMIT)
        count[i] = k - begin


def _first_id(top: NDArray[np.void], places: tuple[str, ...]) -> NDArray[np.int64]:
    found = np.zeros(len(top), np.int64)
    for place in places:
        found = np.where(found == 0, top[place.replace(".", "_")], found)
    return found


def _read(rows: Rows, public_only: bool) -> Alerts:
    del public_only  # every alert of LSST's stream is for its brokers to use
    names = ("prvDiaSources", "prvDiaForcedSources", "prvDiaNondetectionLimits")
    top, tables = rows.rows[""], [rows.rows[name] for name in names]
    alerts = np.ascontiguousarray(top["alert"])
    alerts["survey"] = SURVEYS.index("lsst")
    alerts["alert_id"] = np.where(alerts["alert_id"] == 0, alerts["source_id"], alerts["alert_id"])
    sky, body = _first_id(top, _OBJECTS), _first_id(top, _BODIES)
    named = np.where(sky == 0, body, sky)
    alerts["object"] = np.where(named == 0, b"", named.astype("S32"))
    alerts["solar_system"] = (sky == 0) & (body != 0)
    points = np.zeros(len(top) + sum(map(len, tables)), KERNEL_POINT)
    count = np.zeros(len(top), np.int64)
    fault = no_identity(alerts)
    _fill(
        np.ascontiguousarray(top["own"]).view(_KERNEL_ROW),
        tables[0].view(_KERNEL_ROW),
        rows.first[names[0]],
        tables[1].view(_KERNEL_ROW),
        rows.first[names[1]],
        tables[2].view(_KERNEL_ROW),
        rows.first[names[2]],
        points,
        count,
        fault,
    )
    return finish(alerts, points, count, fault)


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
