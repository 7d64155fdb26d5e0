"""Detections of objects whose light curves have just so many points, without any packets."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from broker.records import ALERT, BANDS, DETECTION, POINT, SURVEYS, Detections

_START_MJD = 58_000.0
#: Rows that a packet repeats of what came before, as ZTF's of a star every second night.
_HISTORY = 15


def alerts(objects: int, number: int, held: int, seed: int, solitary: bool = False) -> Detections:
    """Alert `number` of each of `objects`, whose light curve has `held` points before alert 1.

    Alert 0 brings these at once. A later one brings one new point and, unless it is `solitary`,
    the rows before it again.

    Points come in two bands, two in half an hour every second night, with magnitudes that vary.
    """
    last = held + number - 1
    history = held - 1 if number == 0 else 0 if solitary else min(_HISTORY, last)
    index = last - np.arange(history + 1)  # the alert's own first
    points = np.zeros((objects, history + 1), POINT)
    of = np.arange(objects)[:, None]
    rows = _points(of, np.broadcast_to(index, (objects, history + 1)), seed)
    for name, column in rows.items():
        points[name] = column
    own = points[:, 0]
    out = np.zeros(objects, ALERT)
    out["alert_id"] = out["source_id"] = own["id"]
    out["object"] = [b"ZTF26%07d" % o for o in range(objects)]
    out["survey"] = SURVEYS.index("ztf")
    out["band"], out["mjd_tai"] = own["band"], own["mjd_tai"]
    out["ra"], out["dec"] = np.arange(objects) % 360, 20.0
    out["topic"] = b"bench"
    out["partition"], out["offset"] = np.arange(objects) % 4, number * objects + np.arange(objects)
    out["published_ms"] = out["decoded_ms"] = 1_780_000_000_000
    out["context"] = np.nan
    first = np.arange(objects + 1, dtype=np.int64) * (history + 1)
    return Detections(out, points.reshape(-1), first)


def several(
    objects: int, numbers: range, held: int, seed: int, solitary: bool = False
) -> Iterator[Detections]:
    """Alerts of each number in turn, all objects of one before the next."""
    for number in numbers:
        yield alerts(objects, number, held, seed, solitary)


def some(detections: Detections, begin: int, end: int) -> Detections:
    """Alerts begin to end of these."""
    first = detections.first[begin : end + 1]
    points = detections.points[first[0] : first[-1]]
    return Detections(detections.alerts[begin:end], points, first - first[0])


def _points(of: NDArray[np.int64], index: NDArray[np.int64], seed: int) -> dict[str, NDArray]:
    """Columns of point `index` of object `of`: the same whenever they are asked for."""
    noise = ((of * 7919 + index * 104729 + seed * 15485863) % 1009) / 1009
    night, visit = index // 2, index % 2
    mjd = _START_MJD + 2.0 * night + 0.02 * visit + 0.1 * noise
    magnitude = 18 + 0.5 * np.sin(mjd * (2 + of % 7)) + 0.1 * noise
    flux = 10 ** (0.4 * (31.4 - magnitude))
    return {
        "id": of * 1_000_000 + index + 1,
        "mjd_tai": mjd,
        "exposure": of * 1_000_000 + index + 1,
        "exposure_part": np.ones_like(index),
        "flux_njy": 0.1 * flux,
        "flux_err_njy": 0.01 * flux,
        "total_flux_njy": flux,
        "total_flux_err_njy": 0.01 * flux,
        "reliability": np.full(index.shape, 0.9),
        "kind": np.full(index.shape, DETECTION),
        "band": np.where(night % 2 == 0, BANDS.index("g"), BANDS.index("r")),
    }
