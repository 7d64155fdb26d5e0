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
    KERNEL_POINT,
    Alerts,
    Survey,
    band_number,
    blank,
    finish,
    finite,
    for_kernel,
    good_time,
    no_identity,
)

#: From SNANA's flux units to nJy.
NJY = 10 ** (0.4 * (31.4 - 27.5))

ROW = np.dtype([("id", "i8"), ("mjd", "f8"), ("flux", "f4"), ("flux_err", "f4"), ("band", "S8")])
_KERNEL_ROW = for_kernel(ROW, "band")
TOP = np.dtype([("alert", ALERT), ("own", ROW), ("object", "i8")])

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
    own: NDArray[np.void],
    sources: NDArray[np.void],
    first_source: NDArray[np.int64],
    forced: NDArray[np.void],
    first_forced: NDArray[np.int64],
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
        count[i] = k - begin


def _read(rows: Rows, public_only: bool) -> Alerts:
    del public_only  # simulated: nothing is private
    top, sources, forced = (rows.rows[t] for t in ("", "prvDiaSources", "prvDiaForcedSources"))
    alerts = np.ascontiguousarray(top["alert"])
    alerts["survey"] = SURVEYS.index("elasticc")
    alerts["object"] = np.where(top["object"] == 0, b"", top["object"].astype("S32"))
    points = np.zeros(len(top) + len(sources) + len(forced), KERNEL_POINT)
    count = np.zeros(len(top), np.int64)
    fault = no_identity(alerts)
    _fill(
        np.ascontiguousarray(top["own"]).view(_KERNEL_ROW),
        sources.view(_KERNEL_ROW),
        rows.first["prvDiaSources"],
        forced.view(_KERNEL_ROW),
        rows.first["prvDiaForcedSources"],
        points,
        count,
        fault,
    )
    return finish(alerts, points, count, fault)


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
