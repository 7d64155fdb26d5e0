"""When and how deep a survey looks: the exposures of each area of the sky, night by night."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: One exposure of one area. `mjd_tai` is mid-exposure; `limit` the 5-sigma depth (AB);
#: `read_time` (ms, Unix) when the survey publishes the alerts of this exposure; `private` says
#: that it belongs to a partner's programme: no public alert, but a row in later histories.
EXPOSURE = np.dtype(
    [
        ("mjd_tai", "f8"),
        ("jd_utc", "f8"),
        ("published_ms", "i8"),
        ("limit", "f8"),
        ("zero_point", "f8"),
        ("seeing", "f8"),
        ("area", "i4"),
        ("band", "u1"),
        ("private", "u1"),
    ]
)

LOST = 0.14  #: share of exposures that show no object: gaps between chips, bad images
TAI_MINUS_UTC_S = 37.0  # since 2017
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Survey:
    """What the simulation knows of a survey. Magnitudes AB, times in the units of their names.

    ``depth`` is the 5-sigma limit of one exposure per band ugrizy (0: band not used) in good
    conditions; ``electrons_per_njy`` sets the photon noise, ``floor`` the relative error that no
    brightness beats; histories reach back ``history_days``; an exposure enters them ``lag_days``
    (shortest, longest) after it was taken.
    """

    name: str
    depth: tuple[float, float, float, float, float, float]
    midnight_mjd: float
    visited: float
    exposure_s: float
    latency_s: tuple[float, float]
    history_days: float
    lag_days: tuple[float, float]
    electrons_per_njy: float
    floor: float
    fainter: float
    double: float
    private: float


#: ZTF: 20.6 g, 20.4 r in 30 s (Bellm et al. 2019); 1 DN = 110 nJy, gain 6.2. Doubles and private
#: shares are those of the real packets in histories.
ZTF = Survey(
    "ztf",
    depth=(0, 20.75, 20.55, 0, 0, 0),
    midnight_mjd=0.33,
    visited=0.54,
    exposure_s=30.0,
    latency_s=(480.0, 900.0),
    history_days=30.0,
    lag_days=(0.007, 0.04),
    electrons_per_njy=0.0565,
    floor=0.012,
    fainter=0.0,
    double=0.008,
    private=0.01,
)
#: LSST: single-visit depths of LSE-30; a visit may be missing from the packet of its pair.
LSST = Survey(
    "lsst",
    depth=(23.8, 24.5, 24.0, 23.4, 22.7, 22.0),
    midnight_mjd=0.20,
    visited=0.5,
    exposure_s=30.0,
    latency_s=(60.0, 120.0),
    history_days=365.0,
    lag_days=(0.005, 0.04),
    electrons_per_njy=1.9,
    floor=0.004,
    fainter=3.2,
    double=0.0,
    private=0.0,
)
SURVEYS = {"ztf": ZTF, "lsst": LSST}
#: How often LSST uses each filter (Ivezic et al. 2019).
LSST_FILTERS = (0.07, 0.09, 0.22, 0.22, 0.20, 0.20)


def unix_ms(mjd_utc: float) -> int:
    """Unix time in ms of an MJD (UTC)."""
    return round((mjd_utc - 40587.0) * DAY_S * 1000)


def observe(
    survey: Survey,
    areas: int,
    nights: int,
    start_mjd: float,
    visits: int,
    rng: np.random.Generator,
) -> NDArray[np.void]:
    """Plan and expose: returns (n,) EXPOSURE in order of time.

    Each area is visited in ``survey.visited`` of the nights (a tenth of the nights is lost to
    weather for all). A visited night has `visits` rounds of two exposures, a third of an hour or
    more apart: ZTF in one filter, LSST in one or two.
    """
    exposures: list[NDArray[np.void]] = []
    clear = rng.random(nights) > 0.1
    transit = np.linspace(-0.1, 0.1, areas + 2)[1:-1]
    for night in range(nights):
        seeing = rng.lognormal(0.0, 0.15)
        moon = 0.5 - 0.5 * np.cos(2 * np.pi * (start_mjd + night - 59580.77) / 29.53)  # 0 new
        for area in range(areas):
            if not clear[night] or rng.random() > survey.visited / 0.9:
                continue
            middle = start_mjd + night + survey.midnight_mjd + transit[area]
            bands = _filters(survey, visits, moon, rng)
            gaps = rng.uniform(0.012, 0.03, len(bands))  # 17 to 43 minutes
            starts = np.round(middle + np.cumsum(gaps) - gaps.sum() / 2 + 2400000.5, 7)
            rows = np.zeros(len(bands), EXPOSURE)
            rows["jd_utc"], rows["band"], rows["area"] = starts, bands, area
            rows["seeing"] = 2.0 * seeing * rng.lognormal(0, 0.05, len(bands))
            rows["limit"] = _depths(survey, bands, moon, rows["seeing"], rng)
            rows["zero_point"] = 26.2 + rng.normal(0, 0.05, len(bands))
            rows["private"] = rng.random(len(bands)) < survey.private
            exposures.append(rows[rng.random(len(rows)) > LOST])
    out = np.sort(np.concatenate([np.zeros(0, EXPOSURE), *exposures]), order="jd_utc")
    out["mjd_tai"] = out["jd_utc"] - 2400000.5 + (survey.exposure_s / 2 + TAI_MINUS_UTC_S) / DAY_S
    # Latency differs from exposure to exposure, by less than two exposures of an area lie apart:
    # so alerts of one object come in order, but for those that a share makes late.
    ready = rng.uniform(*survey.latency_s, len(out)) + survey.exposure_s
    utc = (out["jd_utc"] - 2440587.5) * DAY_S + ready
    out["published_ms"] = np.rint(utc * 1000).astype(np.int64)
    return out


def _filters(
    survey: Survey, visits: int, moon: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Bands of one area's exposures in one night, in order of time."""
    if survey.name == "ztf":
        # One filter a night, so that pairs within a night exist in each: by these the network
        # knows a fast star (measured: 0.66 of stars named right, with g and r each night 0.51).
        return np.repeat(rng.integers(1, 3), 2 * visits).astype(np.uint8)
    weights = np.array(LSST_FILTERS)
    weights[0 if moon > 0.5 else 5] = 0  # u in dark nights only, y in bright ones
    pair = rng.choice(6, 2, p=weights / weights.sum())
    return np.repeat(pair if rng.random() < 0.7 else pair[:1].repeat(2), visits).astype(np.uint8)


def _depths(
    survey: Survey,
    bands: NDArray[np.uint8],
    moon: float,
    seeing: NDArray[np.float64],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """5-sigma depths: less with the Moon (most in the blue) and in bad seeing, and scatter."""
    depth = np.array(survey.depth)[bands]
    glow = np.array([1.2, 0.9, 0.6, 0.4, 0.25, 0.15])[bands]
    return depth - glow * moon**2 - 2.5 * np.log10(seeing / 2.0) + rng.normal(0, 0.1, len(bands))
