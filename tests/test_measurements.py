"""Who is the same point, and which of an exposure is its measurement: one rule, one test."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from twin import point

from broker.inputs import Channel
from broker.measurements import (
    channel_rows,
    exposure_hash,
    identity_hash,
    kernel_rows,
    magnitude,
    measurement_hash,
    microdays,
    precedes,
    rivals,
    same_point,
    usable,
)
from broker.records import (
    BAD_FLUX,
    BAD_POSITION,
    DETECTION,
    FORCED,
    LIMIT,
    POINT,
    SOLAR_SYSTEM,
    WITHDRAWN,
)

CHANNEL = Channel("fiducial", "total", ("detection", "forced"))


def row(**columns: Any) -> Any:
    return kernel_rows(np.array([point(**columns)], POINT))[0]


def enters(channel: Channel, **columns: Any) -> bool:
    return bool(usable(row(**columns), channel_rows([channel])[0]))


def test_detections_are_known_by_their_id_alone() -> None:
    a = row(id=5, exposure=1, mjd_tai=60000.0)
    assert same_point(a, row(id=5, exposure=2, mjd_tai=60001.0, band=2))
    assert not same_point(a, row(id=6, exposure=1, mjd_tai=60000.0))
    assert not same_point(a, row(id=5, kind=FORCED))


def test_forced_points_are_known_by_id_or_else_by_exposure() -> None:
    with_id = row(kind=FORCED, id=5, exposure=1)
    assert same_point(with_id, row(kind=FORCED, id=5, exposure=2))
    assert not same_point(with_id, row(kind=FORCED, id=6, exposure=1))
    without = row(kind=FORCED, exposure=7, exposure_part=2)
    assert same_point(without, row(kind=FORCED, exposure=7, exposure_part=2, mjd_tai=1.0))
    assert not same_point(without, row(kind=FORCED, exposure=7, exposure_part=1))
    assert not same_point(without, row(kind=FORCED, id=7, exposure=7, exposure_part=2))


def test_limits_are_known_by_exposure_whatever_their_id() -> None:
    a = row(kind=LIMIT, id=1, exposure=7, exposure_part=2)
    assert same_point(a, row(kind=LIMIT, id=0, exposure=7, exposure_part=2))
    assert not same_point(a, row(kind=LIMIT, id=1, exposure=8, exposure_part=2))
    assert not same_point(a, row(kind=FORCED, id=0, exposure=7, exposure_part=2))


def test_equal_names_have_equal_hashes() -> None:
    rows = [
        row(kind=kind, id=pid, exposure=exposure, exposure_part=part)
        for kind in (DETECTION, FORCED, LIMIT)
        for pid in (0, 1, 2)
        for exposure in (1, 2)
        for part in (1, 2)
    ]
    for a in rows:
        for b in rows:
            assert not same_point(a, b) or identity_hash(a) == identity_hash(b)
            assert not rivals(a, b, False) or exposure_hash(a) == exposure_hash(b)


def test_ztf_keeps_forced_photometry_apart_and_lsst_does_not() -> None:
    source, forced = row(id=5, exposure=1), row(id=9, exposure=1, kind=FORCED)
    assert rivals(source, forced, False)
    assert not rivals(source, forced, True)
    assert rivals(source, row(id=6, exposure=1), True)
    assert not rivals(source, row(id=6, exposure=2), True)
    assert not rivals(source, row(id=6, exposure=1, exposure_part=3), True)


def test_forced_goes_before_the_source_and_small_ids_before_large() -> None:
    assert precedes(row(id=9, kind=FORCED), row(id=5))
    assert not precedes(row(id=5), row(id=9, kind=FORCED))
    assert precedes(row(id=5), row(id=6))
    assert not precedes(row(id=5), row(id=5))


@pytest.mark.parametrize("flag", [WITHDRAWN, SOLAR_SYSTEM])
def test_withdrawn_and_solar_system_points_never_enter(flag: int) -> None:
    assert not enters(replace(CHANNEL, refuse_flags=0), flags=flag)


def test_a_card_sets_the_quality() -> None:
    assert enters(CHANNEL)
    assert not enters(CHANNEL, flags=BAD_FLUX)
    assert enters(replace(CHANNEL, refuse_flags=0), flags=BAD_FLUX)
    assert enters(CHANNEL, flags=BAD_POSITION)
    picky = replace(CHANNEL, min_reliability=0.65)
    assert enters(picky, reliability=np.float32(0.65))  # float32 is a little below 0.65
    assert not enters(picky, reliability=0.64)
    assert not enters(picky, reliability=math.nan)
    assert enters(picky, reliability=math.nan, kind=FORCED)  # forced rows carry none
    assert enters(CHANNEL, reliability=math.nan)


def test_kinds_bands_and_fluxes() -> None:
    assert not enters(CHANNEL, kind=LIMIT)
    assert not enters(replace(CHANNEL, kinds=("forced",)))
    assert not enters(CHANNEL, band=7)  # unknown: a pair could cross bands
    assert enters(CHANNEL, band=6)
    difference = replace(CHANNEL, photometry="difference")
    for flux in (0.0, -1.0, math.nan, math.inf):
        assert not enters(CHANNEL, total_flux_njy=flux)
        assert enters(difference, total_flux_njy=flux)
        assert not enters(difference, flux_njy=flux)


def test_units() -> None:
    assert microdays(60000.0000005) == 60_000_000_000  # to even: half a microday
    assert microdays(60000.1234567) == 60_000_123_457
    assert magnitude(np.float32(1.0)) == 314_000
    assert magnitude(np.float32(3.6307805e12)) == 0  # 0 mag is 3631 Jy
    assert magnitude(np.float32(1e-45)) > 1_400_000  # the faintest float32 still has one


def test_a_measurements_hash_covers_what_an_image_is_made_of() -> None:
    a = {"id": 5, "exposure": 1, "exposure_part": 2, "kind": DETECTION, "band": 1}
    rows = [a, *({**a, key: value + 1} for key, value in a.items())]
    hashes = {int(measurement_hash(row(**r), 60, 180)) for r in rows}
    hashes |= {int(measurement_hash(row(**a), t, m)) for t, m in ((61, 180), (60, 181), (60, -1))}
    assert len(hashes) == len(rows) + 3
    assert measurement_hash(row(**a), 60, 180) == measurement_hash(row(**a, flags=1), 60, 180)
