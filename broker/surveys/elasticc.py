"""ELAsTiCC: the simulated LSST of the DESC challenge, schema 0.9.1; fluxes of zero point 27.5.

Source: LSSTDESC/elasticc (alert_schema, README), zero point and bands as its taxonomy notes say.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from broker.avro import Rows
from broker.avro_table import Table
from broker.records import ALERT, DETECTION, FORCED, SURVEYS
from broker.surveys.survey import (
    BAD_TIME,
    GOOD,
    MISSING_FIELD,
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
)

#: From SNANA's flux units to nJy.
NJY = 10 ** (0.4 * (31.4 - 27.5))

ROW = np.dtype([("id", "i8"), ("mjd", "f8"), ("flux", "f4"), ("flux_err", "f4"), ("band", "S8")])
_KERNEL_ROW = for_kernel(ROW, "band")
TOP = np.dtype([("alert", ALERT), ("own", ROW), ("object", "i8")])
_KERNEL_TOP = behind_alert(("own", _KERNEL_ROW), ("object", "i8"))
NUMBER = SURVEYS.index("elasticc")

_FORCED_ROW = {
    "id": "diaForcedSourceId",
    "mjd": "midPointTai",
    "flux": "psFlux",
    "flux_err": "psFluxErr",
    "band": "filterName",
}
_SOURCE_ROW = _FORCED_ROW | {"id": "diaSourceId"}


@njit(cache=True, nogil=True)
def _fill_point(point: Any, row: Any, kind: int) -> bool:
    blank(point)
    if not good_time(row.mjd):
        return False
    point.kind = kind
    point.id = row.id
    point.mjd_tai = row.mjd
    point.band = band_number(row.band[0], row.band[1])
    point.exposure = np.int64(np.rint(row.mjd * 1e6))  # no ids of exposures: the time names them
    point.exposure_part = point.band
    point.flux_njy = finite(row.flux * NJY)
    point.flux_err_njy = finite(row.flux_err * NJY)
    return True


@njit(cache=True, nogil=True)
def _fill(
    top: NDArray[np.void],
    sources: NDArray[np.void],
    first_source: NDArray[np.int64],
    forced: NDArray[np.void],
    first_forced: NDArray[np.int64],
    alerts: NDArray[np.void],
    points: NDArray[np.void],
    first: NDArray[np.int64],
    fault: NDArray[np.uint8],
) -> None:
    k = 0
    for i in range(len(top)):
        alert = alerts[i]
        alert.survey = NUMBER
        name_by_number(alert, top[i].object)
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
        first[i + 1] = k


def _read(rows: Rows, public_only: bool) -> Alerts:
    del public_only  # simulated: nothing is private
    top, sources, forced = (rows.rows[t] for t in ("", "prvDiaSources", "prvDiaForcedSources"))
    alerts, points = alerts_of(top), room_for(top, sources, forced)
    first, fault = np.zeros(len(top) + 1, np.int64), np.empty(len(top), np.uint8)
    _fill(
        top.view(_KERNEL_TOP),
        sources.view(_KERNEL_ROW),
        rows.first["prvDiaSources"],
        forced.view(_KERNEL_ROW),
        rows.first["prvDiaForcedSources"],
        alerts,
        points,
        first,
        fault,
    )
    return read_alerts(alerts, points, first, fault)


ELASTICC = Survey(
    "elasticc",
    {
        "": Table(
            TOP,
            {
                "alert.alert_id": "alertId",
                "alert.source_id": "diaSource.diaSourceId",
                "alert.ra": "diaSource.ra",
                "alert.dec": "diaSource.decl",
                "alert.context.z_final": "diaObject.z_final",
                "alert.context.mwebv": "diaObject.mwebv",
                "object": "diaSource.diaObjectId",
            }
            | {f"own.{name}": f"diaSource.{path}" for name, path in _SOURCE_ROW.items()},
        ),
        "prvDiaSources": Table(ROW, _SOURCE_ROW),
        "prvDiaForcedSources": Table(ROW, _FORCED_ROW),
    },
    {
        "": ("alert.alert_id", "object", *(f"own.{name}" for name in _SOURCE_ROW)),
        "prvDiaSources": tuple(_SOURCE_ROW),
        "prvDiaForcedSources": tuple(_FORCED_ROW),
    },
    _read,
)
