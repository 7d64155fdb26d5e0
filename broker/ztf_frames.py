"""ZTF's images: what history rows copy from them, and the numbers that objects and finds bear."""

from __future__ import annotations

from typing import Any

import numpy as np

from broker.observed import Observed, rank

ARCHIVE = "/ztf/archive/sci/"


def frames(observed: Observed) -> list[dict[str, Any]]:
    """Fields of each exposure as history rows carry them: number of the image, depth, place.

    The processing number has the real digits: night since 2017, five of the fraction of the day,
    two of the readout channel, 15.
    """
    out = []
    exposures = observed.exposures
    dates = (exposures["jd_utc"] - 2440587.5).astype("M8[D]").astype(str).tolist()
    for row, date in zip(exposures, dates, strict=True):
        jd, channel = float(row["jd_utc"]), int(row["area"]) % 64
        night, fraction = divmod(jd - 2457754.5, 1)
        day, field = date.replace("-", ""), 300 + int(row["area"])
        place = f"{field:06d}_z{'ugr'[row['band']]}_c{channel // 4 + 1:02d}_o_q{channel % 4 + 1}"
        stamp = f"{round(fraction * 1e6) % 10**6:06d}"
        programme = 2 if row["private"] else 1
        out.append(
            {
                "jd": jd,
                "fid": int(row["band"]),  # u g r i ... from 0: g is 1 and r is 2, as ZTF counts
                "pid": (int(night) * 100000 + int(fraction * 1e5)) * 10000 + channel * 100 + 15,
                "diffmaglim": float(row["limit"]),
                "pdiffimfilename": f"{ARCHIVE}{day[:4]}/{day[4:]}/{stamp}/"
                f"ztf_{day}{stamp}_{place}_scimrefdiffimg.fits.fz",
                "programpi": "Kulkarni",
                "programid": programme,
                "nid": int(night),
                "rcid": channel,
                "field": field,
                "magzpsci": float(row["zero_point"]),
                "magzpsciunc": 5e-06,
                "magzpscirms": 0.025,
                "clrcoeff": -0.05 if row["band"] == 1 else 0.1,
                "clrcounc": 6e-06,
                "rbversion": "t17_f5_c3",
                "seeing": float(row["seeing"]),
            }
        )
    return out


def number(observed: Observed, seed: int) -> None:
    """Name objects (ZTF, year, seven letters) and number detections (pid, 01, row of its table)."""
    offset = seed * 7919
    for o in range(len(observed.sky)):
        rest = (o * 3141592653 + offset + 1234567) % 26**7  # 3141592653 and 26 share no factor
        letters = "".join(chr(97 + rest // 26**i % 26) for i in range(6, -1, -1))
        observed.names[o] = f"ZTF{18 + o % 7}{letters}"
    pid = np.array([frame["pid"] for frame in frames(observed)], np.int64)
    found = np.flatnonzero(observed.sightings["id"])
    exposure = observed.sightings["exposure"][found]
    observed.sightings["id"][found] = pid[exposure] * 1000000 + 10000 + rank(exposure)
